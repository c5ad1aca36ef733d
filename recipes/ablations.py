"""What each part is good for: one part changed at a time."""

from __future__ import annotations

import argparse


def ablations(options: argparse.Namespace) -> None:
    """One part changed at a time."""
    raise NotImplementedError
