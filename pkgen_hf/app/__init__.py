"""The web page of ``pkgen app``, and what it does."""

from .page import LOOK, build_app

__all__ = ["LOOK", "build_app"]
