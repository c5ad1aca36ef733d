"""The command line, ``pkgen``."""

from .main import app

__all__ = ["app"]
