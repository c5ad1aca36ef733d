"""One Python file with the network of one architecture, which needs torch and nothing else.

It is the source of the modules that define the network: the classes, functions and constants that it needs, and a
function ``build`` with the architecture written out. Branches of this package that building it does not take are left
out. Of a space that a user registered, modules are copied from the package in which the network stands; what these
import from elsewhere is imported.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import torch

WIDTH = 119
PACKAGE = __name__.split(".")[0]
_IMPORTED = (ast.Import, ast.ImportFrom)


def source_of(plan: partial[Any], header: str, inputs: str) -> str:
    """Source text of a module that builds a network.

    Parameters
    ----------
    plan
        As from `pkgen_hf.networks.plan`.
    header
        Docstring of the module.
    inputs
        Source of the arguments with which its ``main`` calls the network, such as ``"torch.randn(1, 3, 32, 32)"``.
    """
    returns = inspect.signature(plan.func).return_annotation
    name = plan.func.__name__ if isinstance(plan.func, type) else str(returns)
    build = f'def build() -> {name}:\n    """The network, with fresh weights."""\n'
    build += f"    return {_call(plan.func.__name__, plan.keywords, 4, len('    return '))}\n"
    collection = _Collection(_lines_run(plan), {PACKAGE, plan.func.__module__.split(".")[0]})
    for needed in _names(ast.parse(build)):
        collection.add(sys.modules[plan.func.__module__], needed)
    if plan.func.__name__ not in collection.owner:
        raise ValueError(
            f"the source of {plan.func.__name__} is not found in {plan.func.__module__}, so that it cannot be written"
        )
    main = _MAIN.replace("INPUTS", inputs)
    for module, alias in [("torch", None), ("torch", "nn")]:
        collection.imports.add((module, alias, None))
    parts = [f'"""{header}"""\n', "from __future__ import annotations\n", collection.import_text()]
    return "\n".join(parts) + collection.text() + f"\n\n{build}\n\n{main}"


_MAIN = '''def main() -> None:
    """Run the network once and say what it puts out."""
    network = build().eval()
    with torch.no_grad():
        outputs = network(INPUTS)
    first = outputs[0] if isinstance(outputs, tuple) else outputs
    parameters = sum(weight.numel() for weight in network.parameters())
    print(f"output of shape {tuple(first.shape)}, {parameters:,} parameters")


if __name__ == "__main__":
    main()
'''


# ---------------------------------------------------------------------- arguments


def _call(name: str, arguments: dict[str, Any], indent: int, column: int) -> str:
    return _bracketed(f"{name}(", [f"{key}=" for key in arguments], list(arguments.values()), ")", indent, column)


def _bracketed(start: str, names: list[str], values: list[Any], end: str, indent: int, column: int) -> str:
    """Items in brackets, on one line if it is short enough, else each on its own; as formatters write them.

    `indent` is that of the line, `column` where on it the bracket stands.
    """
    short = [name + literal(value, 0, -WIDTH * WIDTH) for name, value in zip(names, values, strict=True)]
    line = start + ", ".join(short) + ("," if start == "(" and len(short) == 1 else "") + end
    if column + len(line) + len(",") <= WIDTH:
        return line
    inner = indent + 4
    items = [name + literal(value, inner, inner + len(name)) for name, value in zip(names, values, strict=True)]
    return start + "".join(f"\n{' ' * inner}{item}," for item in items) + f"\n{' ' * indent}{end}"


def literal(value: Any, indent: int = 0, column: int = 0) -> str:
    """Python source of plain values and dataclasses of them, which stands in a `column` of a line of some `indent`."""
    if is_dataclass(value):
        arguments = {field.name: getattr(value, field.name) for field in fields(value)}
        return _call(type(value).__name__, arguments, indent, column)
    if isinstance(value, list | tuple):
        start, end = "[]" if isinstance(value, list) else "()"
        return _bracketed(start, [""] * len(value), list(value), end, indent, column)
    if isinstance(value, str):
        text = repr(value)
        return text if '"' in text or "\\" in text else f'"{text[1:-1]}"'
    return repr(value)


# ---------------------------------------------------------------------- what building takes


def _lines_run(plan: partial[Any]) -> dict[str, set[int]]:
    """Lines of this package that run while the network is built, by file."""
    lines: dict[str, set[int]] = {}
    root = str(Path(__file__).parents[1])

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        code: CodeType = frame.f_code
        if not code.co_filename.startswith(root):
            return None
        if event == "line":
            lines.setdefault(code.co_filename, set()).add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with torch.device("meta"):
            plan()
    finally:
        sys.settrace(before)
    return lines


class _Pruning:
    """Takes out of a function's source what did not run.

    Building always takes the same way, so what it did not take is not needed; this holds for functions that only
    building calls. One that is called by ``forward`` as well must not have branches.

    Parameters
    ----------
    source
        Lines of the module.
    run
        Numbers of the lines that ran.
    """

    def __init__(self, source: list[str], run: set[int]) -> None:
        self.source, self.run = source, run
        self.lines: dict[int, str | None] = {}  # what stands in place of a line; None where nothing does

    def _has_run(self, nodes: list[Any]) -> bool:
        return any(self.run & set(range(node.lineno, node.end_lineno + 1)) for node in nodes)

    def _drop(self, first: int, last: int) -> None:
        self.lines.update(dict.fromkeys(range(first, last + 1)))

    def function(self, node: ast.FunctionDef) -> None:
        """Prune a function that ran; others, such as ``forward``, stay whole."""
        if self._has_run(node.body):
            self.block(node.body)

    def block(self, nodes: list[Any]) -> None:
        """Prune statements of which at least one ran."""
        for node in nodes:
            if isinstance(node, ast.If):
                self.branch(node)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                continue  # a docstring
            elif not self._has_run([node]):
                self._drop(node.lineno, node.end_lineno)
            elif isinstance(node, ast.For | ast.With) and self._has_run(node.body):
                self.block(node.body)

    def branch(self, node: ast.If) -> None:
        """Prune an ``if`` that was reached, or not."""
        body, other = self._has_run(node.body), self._has_run(node.orelse)
        if not body and not other:
            self._drop(node.lineno, node.end_lineno or 0)
        elif not other:
            self.block(node.body)
            if node.orelse:
                self._keep_inside(node.lineno, node.body)
                self._drop(node.body[-1].end_lineno + 1, node.end_lineno)  # type: ignore[operator, arg-type]
        elif not body:
            self.block(node.orelse)
            self._drop(node.lineno, node.orelse[0].lineno - 1)
            if isinstance(node.orelse[0], ast.If) and self.source[node.orelse[0].lineno - 1].lstrip()[:4] == "elif":
                line = node.orelse[0].lineno
                self.lines[line] = self.source[line - 1].replace("elif", "if", 1)
            else:
                self._keep_inside(node.lineno, node.orelse)
        else:
            self.block(node.body)
            self.block(node.orelse)

    def _keep_inside(self, header: int, nodes: list[Any]) -> None:
        """Put the statements of a block where its header was."""
        self._drop(header, nodes[0].lineno - 1)
        for line in range(nodes[0].lineno, nodes[-1].end_lineno + 1):
            text = self.lines.get(line, self.source[line - 1])
            if text is not None:
                self.lines[line] = text.removeprefix("    ")

    def text(self, first: int, last: int) -> str:
        lines = [self.lines.get(line, self.source[line - 1]) for line in range(first, last + 1)]
        return "\n".join(line for line in lines if line is not None)


# ---------------------------------------------------------------------- what the network needs


def _names(tree: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


class _Module:
    """Source of one module of this package: its top-level definitions by name.

    Parameters
    ----------
    module
        The module.
    run
        Lines of it that ran while the network was built.
    """

    def __init__(self, module: ModuleType, run: set[int]) -> None:
        self.name = module.__name__
        try:
            text = inspect.getsource(module)
        except (OSError, TypeError) as error:
            raise ValueError(f"the source of {self.name}, where the network is defined, is in no file") from error
        self.source = text.splitlines()
        self.pruning = _Pruning(self.source, run)
        self.definitions: dict[str, Any] = {}
        for node in ast.parse(text).body:
            for name in _defined(node):
                self.definitions[name] = node
            for inner in [node, *(node.body if isinstance(node, ast.ClassDef) else [])]:
                if isinstance(inner, ast.FunctionDef):
                    self.pruning.function(inner)

    def text(self, node: Any) -> str:
        """Source of a definition, with the comment above it."""
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        while self.source[first - 2].startswith("# ") and "----" not in self.source[first - 2]:
            first -= 1
        return self.pruning.text(first, node.end_lineno)


def _defined(node: ast.AST) -> list[str]:
    """Names that a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [name for target in node.targets for name in _names(target)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, _IMPORTED):
        return [alias.asname or alias.name for alias in node.names]
    return []


class _Collection:
    """Definitions that a network needs, over all modules.

    Parameters
    ----------
    run
        Lines that ran, by file.
    packages
        Of which modules are copied; others are imported.
    """

    def __init__(self, run: dict[str, set[int]], packages: set[str]) -> None:
        self.run, self.packages = run, packages
        self.modules: dict[str, _Module] = {}
        self.taken: dict[str, dict[int, Any]] = {}  # of each module, its definitions by line; modules in order of need
        self.owner: dict[str, str] = {}
        self.imports: set[tuple[str, str | None, str | None]] = set()  # module, name in it, other name

    def add(self, module: ModuleType, name: str) -> None:
        """Take a name of a module and all that it needs; local names and those of Python itself are passed over."""
        known = self.modules.get(module.__name__)
        if known is None:
            known = self.modules[module.__name__] = _Module(
                module, self.run.get(str(getattr(module, "__file__", None)), set())
            )
        node = known.definitions.get(name)
        if node is None:
            return
        if isinstance(node, _IMPORTED):
            self._add_imported(module, node, name)
            return
        taken = self.taken.setdefault(module.__name__, {})
        if node.lineno in taken:
            return
        if self.owner.setdefault(name, module.__name__) != module.__name__:
            raise ValueError(f"both {self.owner[name]} and {module.__name__} define {name}")
        taken[node.lineno] = node
        # What is pruned away is not needed: names are those of the text that stays.
        for needed in sorted(set(_names(ast.parse(known.text(node))))):  # the same in every process
            self.add(module, needed)

    def _add_imported(self, module: ModuleType, node: Any, name: str) -> None:
        alias = next(alias for alias in node.names if (alias.asname or alias.name) == name)
        if isinstance(node, ast.Import):
            self.imports.add((alias.name, None, alias.asname))
            return
        package = module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]
        origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        if origin.split(".")[0] in self.packages:
            self.add(importlib.import_module(origin), alias.name)
        else:
            self.imports.add((origin, alias.name, alias.asname))

    def import_text(self) -> str:
        """Import statements in the order that import sorters want."""
        parts = []
        for is_other in (False, True):
            chosen = {i for i in self.imports if (i[0].split(".")[0] not in sys.stdlib_module_names) == is_other}
            plain = sorted(f"import {m}" + (f" as {a}" if a else "") for m, name, a in chosen if name is None)
            froms: dict[str, list[str]] = {}
            for m, name, a in chosen:
                if name is not None:
                    froms.setdefault(m, []).append(name + (f" as {a}" if a else ""))
            lines = [f"from {m} import {', '.join(sorted(names, key=_import_order))}" for m, names in froms.items()]
            parts.append("\n".join([*plain, *sorted(lines)]) + "\n" if chosen else "")
        return "\n".join(part for part in parts if part)

    def text(self) -> str:
        """The definitions: each module after those it takes from, and in a module as they stand there."""
        blocks = []
        for name in sorted(self.taken, key=lambda name: (self._depth(name), name)):
            for _, node in sorted(self.taken[name].items()):
                blocks.append((isinstance(node, ast.FunctionDef | ast.ClassDef), self.modules[name].text(node)))
        text, was_large = "", False
        for is_large, block in blocks:
            gap = "\n\n" if is_large or was_large else "" if text else "\n"
            text += gap + block + "\n"
            was_large = is_large
        return text

    def _depth(self, name: str) -> int:
        """How many modules of this package there are below a module."""
        below = {
            importlib.util.resolve_name("." * node.level + (node.module or ""), name.rpartition(".")[0])
            for node in self.modules[name].definitions.values()
            if isinstance(node, ast.ImportFrom) and node.level
        }
        return 1 + max((self._depth(other) for other in below if other in self.taken), default=0)


def _import_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name
