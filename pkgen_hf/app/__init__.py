"""The Gradio app behind ``pkgen app``: page (layout, texts), callbacks, views (HTML), backend."""

from .page import LOOK, build_app

__all__ = ["LOOK", "build_app"]
