"""The command line as ``python -m pkgen_hf.cli``."""

from .main import main

main()
