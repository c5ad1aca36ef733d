"""The Space: the app of the package, with the bundled checkpoint."""

from pkgen_hf.app import LOOK, build_app

build_app().launch(**LOOK)
