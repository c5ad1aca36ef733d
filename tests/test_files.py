"""Files and folders are written whole or not at all, wherever they are: nothing of a write that failed is left."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pkgen_hf import Architecture, Prior, files
from pkgen_hf.files import atomic_write, read_json, replace_folder, write_json
from pkgen_hf.priors.files import save_priors

OLD = {"model_index.json": "old", "a/weights": "old", "a/gone": "old", "README.md": "old"}
NEW = {"model_index.json": "new", "a/weights": "new", "b/more": "new", "README.md": "new"}


def write(folder: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content_of(folder: Path) -> dict[str, str]:
    """Of all files, hidden ones included; empty folders stand for themselves."""
    found = {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}
    return found | {p.name: "empty" for p in folder.rglob("*") if p.is_dir() and not any(p.iterdir())}


def at_call(number: int, function: Callable[..., None], act: Callable[[], None]) -> Callable[..., None]:
    """The function, but for one call, at which something else happens."""
    calls = iter(range(1, sys.maxsize))
    return lambda *arguments: act() if next(calls) == number else function(*arguments)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    write(folder, OLD)
    return folder


# ---------------------------------------------------------------------- folders


def test_a_folder_gets_the_new_files_and_no_others(old: Path) -> None:
    with replace_folder(old) as new:
        write(new, NEW)
        assert content_of(old).items() >= OLD.items()  # nothing moves before all is there
    assert content_of(old) == NEW
    with replace_folder(old.with_name("other")) as new:
        write(new, OLD)
    assert content_of(old.with_name("other")) == OLD
    assert {path.name for path in old.parent.iterdir()} == {"folder", "other"}


def test_files_that_are_not_owned_stay(old: Path) -> None:
    write(old, {"notes/mine.txt": "mine", "a/c": "mine"})
    with replace_folder(old, ["a/g*"]) as new:
        write(new, NEW)
    assert content_of(old) == NEW | {"notes/mine.txt": "mine", "a/c": "mine"}


@pytest.mark.parametrize("target", ["there", "new", "deep/er/new"])
def test_an_exception_leaves_everything_as_it_was(old: Path, target: str) -> None:
    target_path = old if target == "there" else old.parent / target
    for error in (OSError("No space left on device"), KeyboardInterrupt()):
        with pytest.raises(type(error)), replace_folder(target_path) as new:
            write(new, NEW)
            raise error
        assert [path.name for path in old.parent.iterdir()] == ["folder"] and content_of(old) == OLD


def test_interrupted_at_any_step_the_old_files_are_put_back(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    for step in range(1, len(OLD) + len(NEW) + 1):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt), replace_folder(old) as new:
            write(new, NEW)
            patch.setattr(os, "replace", at_call(step, os.replace, interrupt))
        assert content_of(old) == OLD, step
    with replace_folder(old) as new:
        write(new, NEW)
    assert content_of(old) == NEW


def test_killed_at_any_step_no_mixture_has_an_index(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for step in range(1, len(OLD) + len(NEW) + 1):
        shutil.rmtree(old)
        write(old, OLD)
        child = os.fork()
        if child == 0:
            monkeypatch.setattr(os, "replace", at_call(step, os.replace, lambda: os._exit(9)))
            with replace_folder(old) as new:
                write(new, NEW)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        left = {name: text for name, text in content_of(old).items() if not name.startswith(".")}
        assert "model_index.json" not in left or left == OLD
        everything = content_of(old)  # and what was there is still somewhere
        assert sum(text == "old" for text in everything.values()) >= len(OLD)
        seen.add("model_index.json" in left)
    assert seen == {True, False}


def test_a_folder_in_the_place_of_a_file_is_refused_and_everything_put_back(old: Path) -> None:
    write(old, {"b/more/inner": "mine"})
    before = content_of(old)
    with pytest.raises(OSError, match=f"cannot write {old}: Is a directory"), replace_folder(old, []) as new:
        write(new, NEW)
    assert content_of(old) == before


def test_the_current_folder_stays_under_ones_feet(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old)
    for name in (".", "../folder", old):
        shutil.rmtree(old / "a", ignore_errors=True)
        write(old, OLD)
        with replace_folder(name) as new:
            write(new, NEW)
        assert Path.cwd() == old and content_of(Path(".")) == NEW
    assert [path.name for path in old.parent.iterdir()] == ["folder"]


def test_a_link_stays_a_link(old: Path) -> None:
    link = old.with_name("link")
    link.symlink_to(old.name)
    with replace_folder(link) as new:
        write(new, NEW)
    assert link.is_symlink() and content_of(old) == NEW
    later = old.with_name("later")
    later.symlink_to("not-yet")
    with replace_folder(later) as new:
        write(new, NEW)
    assert later.is_symlink() and content_of(old.with_name("not-yet")) == NEW


def test_a_folder_that_others_have_open_stays_the_same(old: Path) -> None:
    """One process has it as its current folder, another reads a file of it: neither loses what it has."""
    other = subprocess.Popen(
        [sys.executable, "-c", "import os; input(); print(open('model_index.json').read())"],
        cwd=old, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with (old / "a/weights").open() as reading:
        os.chmod(old, 0o2770)
        number = old.stat().st_ino
        with replace_folder(old) as new:
            write(new, NEW)
        assert reading.read() == "old"
    assert other.communicate("\n")[0] == "new\n"
    assert old.stat().st_ino == number and stat.S_IMODE(old.stat().st_mode) == 0o2770


def test_home_relative_paths_and_missing_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("~/x/y", "rel/y"):
        with replace_folder(name) as new:
            write(new, NEW)
    with atomic_write("~/z/file.txt") as unfinished:
        unfinished.write_text("z")
    assert content_of(tmp_path / "x/y") == content_of(tmp_path / "rel/y") == NEW
    assert (tmp_path / "z/file.txt").read_text() == "z" and not (tmp_path / "~").exists()


def test_files_have_the_permissions_that_new_files_have(tmp_path: Path) -> None:
    """Whoever may read the folder may read the weights, which safetensors writes for their owner alone."""
    before = os.umask(0o027)
    try:
        for _ in range(2):
            with replace_folder(tmp_path / "folder") as new:
                write(new, NEW)
                os.chmod(new / "a/weights", 0o600)
            modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "folder").rglob("*") if path.is_file()}
            assert modes == {0o640} and stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o750
        with atomic_write(tmp_path / "file") as unfinished:
            os.chmod(unfinished, 0o600)
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
        os.chmod(tmp_path / "file", 0o604)
        write_json({}, tmp_path / "file")
        assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o604
    finally:
        os.umask(before)


def test_a_file_is_no_folder_and_a_folder_no_file(old: Path) -> None:
    with (
        pytest.raises(NotADirectoryError, match="README.md is a file; name a folder"),
        replace_folder(old / "README.md"),
    ):
        pass
    with pytest.raises(IsADirectoryError, match="folder is a folder; name a file"), atomic_write(old):
        pass
    os.mkfifo(old / "pipe")
    with pytest.raises(OSError, match="pipe is not a plain file"), atomic_write(old / "pipe"):
        pass
    (old / "pipe").unlink()
    assert content_of(old) == OLD


# ---------------------------------------------------------------------- mount points

MOUNTED = """
import json, os, subprocess, sys
from pathlib import Path

root = Path(sys.argv[1])

def mount(*command):
    subprocess.run(["mount", *map(str, command)], check=True)

def listing(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))
"""


def in_a_mount_namespace(code: str, folder: Path) -> str:
    """Run code in a process that may mount, without being root; skip where the system does not let it."""
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this system gives no mount namespaces (unshare --user --mount)")
    command = [*unshare, sys.executable, "-c", MOUNTED + code, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_mount_points_are_filled(tmp_path: Path) -> None:
    """A file system of its own, the same file system mounted once more, a mounted file, and one that is read-only."""
    in_a_mount_namespace(
        """
from pkgen_hf.files import atomic_write, replace_folder
new = {"model_index.json": "new", "a/weights": "new"}

def fill(target):
    with replace_folder(target) as folder:
        for name, text in new.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)

for kind in ("tmpfs", "bind"):
    target = root / kind
    target.mkdir()
    (root / "source").mkdir(exist_ok=True)
    mount("-t", "tmpfs", "none", target) if kind == "tmpfs" else mount("--bind", root / "source", target)
    for _ in range(2):
        (target / "stale").write_text("old")
        fill(target)
        assert listing(target) == ["a", "a/weights", "model_index.json"], listing(target)
before = sorted(os.listdir(root))
assert before == ["bind", "source", "tmpfs"], before

inner = root / "tmpfs" / "b"     # a mount point in the folder, and a mounted file
inner.mkdir()
mount("-t", "tmpfs", "none", inner)
(inner / "stale").write_text("old")
mount("--bind", root / "source" / "model_index.json", root / "tmpfs" / "model_index.json")
new["b/more"] = "more"
fill(root / "tmpfs")
assert listing(root / "tmpfs") == ["a", "a/weights", "b", "b/more", "model_index.json"], listing(root / "tmpfs")
with atomic_write(root / "tmpfs" / "model_index.json") as file:
    file.write_text("written")
found = (root / "source" / "model_index.json").read_text()
assert found == "written", found

mount("-o", "remount,ro", inner)
for act in (lambda: fill(root / "tmpfs" / "b"), lambda: fill(inner / "c"), lambda: fill(root / "tmpfs")):
    kept = listing(root)
    try:
        act()
    except OSError as error:
        assert "cannot write" in str(error) and "Read-only file system" in str(error), error
    else:
        raise AssertionError("it was written")
    assert listing(root) == kept
assert (root / "tmpfs" / "a" / "weights").read_text() == "new"
""",
        tmp_path,
    )


# ---------------------------------------------------------------------- files


def writers() -> dict[str, Callable[[Path], object]]:
    """Everything that writes one file for a user."""
    prior = Prior.absent("nas-bench-201")
    cell = Architecture("nas-bench-201", (3, 0, 1, 4, 0, 2))
    return {
        "prior.parquet": prior.save,
        "priors.parquet": lambda path: save_priors([prior], path),
        "plot.png": prior.plot,
        "cell.svg": cell.draw,
        "cell.py": lambda path: cell.export(path),
        "cell.safetensors": lambda path: cell.export(path, channels=4, cells=1),
        "result.json": lambda path: write_json({"a": 1}, path),
    }


@pytest.mark.parametrize("name", writers())
def test_every_writer_of_a_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links stay links, ``~`` is the home folder, a folder is refused, and nothing is left of what failed."""
    save = writers()[name]
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "real").mkdir()
    (tmp_path / name).symlink_to(Path("real") / name)
    save(tmp_path / name)
    assert (tmp_path / name).is_symlink() and (tmp_path / "real" / name).stat().st_size > 0
    assert stat.S_IMODE((tmp_path / "real" / name).stat().st_mode) == 0o666 & ~umask()
    save(Path("~/new/deep") / name)
    assert (tmp_path / "home/new/deep" / name).is_file()
    (tmp_path / "folder" / name).mkdir(parents=True)
    with pytest.raises(IsADirectoryError, match="is a folder; name a file"):
        save(tmp_path / "folder" / name)
    before = (tmp_path / "real" / name).read_bytes()

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(files, "_put", full)
    for path in (tmp_path / "real" / name, tmp_path / "none/yet" / name):
        with pytest.raises(OSError, match="No space left"):
            save(path)
    assert (tmp_path / "real" / name).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"real", "home", "folder", name}
    assert [path.name for path in (tmp_path / "real").iterdir()] == [name]


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("text", ["", "{", "[1]", "\udcff", "3", '{"a": ' * 100_000])
def test_what_is_no_json_object_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=r"x\.json (is not readable JSON|should hold a JSON object)") as error:
        read_json(tmp_path / "x.json")
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
