"""The Space: the app of the package, with the bundled checkpoint."""

from pkgen_hf.app.page import LOOK, build_app

build_app().launch(**LOOK)
