"""One search space of each class, for tests that take long and run the same code on all spaces of a class."""

from __future__ import annotations

from pkgen_hf import get_space, list_spaces

REPRESENTATIVES = list({type(get_space(name)): name for name in reversed(list_spaces())}.values())[::-1]
