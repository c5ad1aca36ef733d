"""Run an action once a module of another package is imported, without importing that package first."""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class AfterImport:
    """A finder of modules that changes nothing but when an action runs; `install` puts it in ``sys.meta_path``.

    The action runs as soon as `name` is imported. While a package imports, its modules are incomplete, and an action
    that imports from it would fail. So it waits until no import of `packages` is under way in the thread.

    Parameters
    ----------
    name
        Full name of the module to wait for.
    packages
        Names of the packages whose imports have to end first: that of the module, and those that may import it.
    action
        May run more than once, also in several threads, as an import does.
    """

    def __init__(self, name: str, packages: Sequence[str], action: Callable[[], Any]) -> None:
        self.name = name
        self.packages = tuple(packages)
        self.action = action
        self._thread = threading.local()  # .depth: imports of the packages under way in the thread

    def install(self) -> None:
        """Run the action at once if the module is imported already, else when it is."""
        if self.name in sys.modules:
            self.action()
        else:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders say, with a loader that tells when the module is executed."""
        if fullname.partition(".")[0] not in self.packages:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((found for found in specs if found is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
        return spec

    def execute(self, load: Callable[[], None]) -> None:
        """Execute a module; afterwards run the action if its time has come, and leave ``sys.meta_path``."""
        depth = getattr(self._thread, "depth", 0)
        self._thread.depth = depth + 1
        try:
            load()
        finally:
            self._thread.depth = depth
        if depth == 0 and self in sys.meta_path and self.name in sys.modules:
            self.action()
            if self in sys.meta_path:
                sys.meta_path.remove(self)


class _Loader:
    """The loader of one module, which it gives back to the module before it is executed."""

    def __init__(self, loader: Any, finder: AfterImport) -> None:
        self._loader = loader
        self._finder = finder

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._finder.execute(lambda: self._loader.exec_module(module))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
