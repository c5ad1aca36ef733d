"""Run an action once a module of another package is imported, without importing that package first."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class AfterImport:
    """A finder of modules that waits for one to be imported; `install` puts it in ``sys.meta_path``.

    While a package imports, its modules are incomplete, and an action that imports from it would fail. So the action
    runs when the outermost import of any of `packages` ends in a thread, if the module is there by then.

    Parameters
    ----------
    name
        Full name of the module to wait for.
    packages
        Names of the packages whose imports have to end first: that of the module, and those that may import it.
    action
        May run in several threads at once, as an import may.
    """

    def __init__(self, name: str, packages: Sequence[str], action: Callable[[], Any]) -> None:
        self.name = name
        self.packages = tuple(packages)
        self.action = action
        self.thread = threading.local()  # has the attribute `outermost` while such an import is under way

    def install(self) -> None:
        """Run the action at once if the module is imported already, else when it is."""
        if self.name in sys.modules:
            self.action()
        else:
            sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders say, with another loader for the outermost import."""
        if hasattr(self.thread, "outermost") or fullname.partition(".")[0] not in self.packages:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((found for found in specs if found is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
        return spec

    def finish(self) -> None:
        """Run the action if its time has come, and leave ``sys.meta_path``."""
        if self in sys.meta_path and self.name in sys.modules:
            self.action()
            if self in sys.meta_path:
                sys.meta_path.remove(self)


class _Loader:
    """The loader of an outermost import: as the module's own, which it puts in its place before the module runs."""

    def __init__(self, loader: Any, finder: AfterImport) -> None:
        self._loader = loader
        self._finder = finder

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._finder.thread.outermost = module.__name__
        try:
            self._loader.exec_module(module)
        finally:
            del self._finder.thread.outermost
        self._finder.finish()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)
