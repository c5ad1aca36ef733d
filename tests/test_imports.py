"""Importing the package is quick: public names are imported when used, networks registered when they can be."""

from __future__ import annotations

import ast
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path

import pytest
from fresh import run_fresh

import pkgen_hf
from pkgen_hf.hub.after_import import AfterImport

HEAVY = ("torch", "diffusers", "transformers", "datasets", "matplotlib", "sklearn", "scipy", "pandas")


def fresh(code: str) -> str:
    """What a new Python process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    "arguments", [None, ["--help"], ["generate", "--help"], ["export", "--help"], ["spaces"], ["spaces", "--json"]]
)
def test_light_commands_import_nothing_heavy(arguments: list[str] | None) -> None:
    call = "" if arguments is None else f"from pkgen_hf.cli.main import app; app({arguments!r}, standalone_mode=False)"
    printed = fresh(f"import sys, pkgen_hf\n{call}\nprint('heavy:', sorted(set(sys.modules) & set({HEAVY!r})))")
    assert "heavy: []" in printed


def test_public_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse(Path(pkgen_hf.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert sorted(seen) == sorted(pkgen_hf.__all__)
    for name, module in seen.items():
        assert getattr(pkgen_hf, name) is getattr(sys.modules[f"pkgen_hf.{module}"], name)
    assert set(pkgen_hf.__all__) | {"__version__"} <= set(dir(pkgen_hf))


def test_version_and_modules_are_attributes_too() -> None:
    import tomllib
    from importlib.metadata import version

    project = tomllib.loads((Path(pkgen_hf.__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert pkgen_hf.__version__ == project["version"] == version("pkgen-hf")
    assert run_fresh("import pkgen_hf; print(pkgen_hf.spaces.get_space('darts').name)").stdout == "darts\n"


def test_a_typo_is_an_attribute_error_with_the_nearest_name() -> None:
    with pytest.raises(AttributeError, match="unknown name in pkgen_hf: 'Architectur'. Did you mean 'Architecture'"):
        _ = pkgen_hf.Architectur
    assert not hasattr(pkgen_hf, "__wrapped__")
    with pytest.raises(ImportError, match="cannot import name 'Prio'"):
        exec("from pkgen_hf import Prio")


@pytest.mark.parametrize(
    "imports",
    ["import pkgen_hf\nfrom transformers import Trainer", "from transformers import AutoConfig\nimport pkgen_hf"],
)
def test_networks_are_known_to_transformers_in_either_order(imports: str) -> None:
    """`Trainer` imports the Auto classes while it is not complete itself."""
    code = f"{imports}\nfrom transformers import AutoConfig\nprint(AutoConfig.for_model('pkgen-network').space)"
    assert fresh(code) == "nas-bench-201\n"


# ---------------------------------------------------------------------- actions after an import


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package whose module `outer` imports `inner` before it is complete, and `broken` after it."""
    name = f"toy_{tmp_path.name.replace('-', '_')}"
    (tmp_path / name).mkdir()
    for file, text in {
        "__init__.py": "",
        "inner.py": "VALUE = 1\n",
        "outer.py": f"from {name}.inner import VALUE\nCOMPLETE = True\n",
        "broken.py": f"import {name}.inner\nraise RuntimeError('broken')\n",
    }.items():
        (tmp_path / name / file).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    return name


def waiting(package: str, seen: list[bool]) -> AfterImport:
    """Notes whether `outer` was complete each time that the action ran."""
    outer = f"{package}.outer"
    finder = AfterImport(
        f"{package}.inner", [package], lambda: seen.append(hasattr(sys.modules.get(outer), "COMPLETE"))
    )
    finder.install()
    return finder


def test_an_action_runs_once_when_the_outermost_import_ends(package: str) -> None:
    seen: list[bool] = []
    finder = waiting(package, seen)
    module = __import__(package)
    assert seen == [] and finder in sys.meta_path
    outer = __import__(f"{package}.outer", fromlist=["outer"])
    assert seen == [True] and finder not in sys.meta_path
    for one in (module, outer):  # a module does not show that it was waited for
        assert one.__spec__.loader is one.__loader__ and type(one.__loader__).__module__.startswith("_frozen")
    waiting(package, seen)  # imported already
    assert seen == [True, True]


def test_an_import_that_fails_is_as_it_was_and_the_next_one_counts(package: str) -> None:
    seen: list[bool] = []
    waiting(package, seen)
    with pytest.raises(RuntimeError, match="broken"):
        __import__(f"{package}.broken")
    assert seen == []
    __import__(f"{package}.outer")
    assert seen == [True]


def test_threads_may_import_at_once(package: str) -> None:
    seen: list[bool] = []
    waiting(package, seen)
    threads = [threading.Thread(target=__import__, args=[f"{package}.outer"]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen and all(seen)


def test_attributes_are_public_names_and_modules() -> None:
    assert not hasattr(pkgen_hf, "a.b")
    names = set(dir(pkgen_hf))
    assert set(pkgen_hf.__all__) <= names and not {"Any", "annotations", "AfterImport"} & names


def test_command_line_as_a_module() -> None:
    command = [sys.executable, "-m", "pkgen_hf.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == version("pkgen-hf")
