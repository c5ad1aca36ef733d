"""Folders of images of any shape: what is read is read in full, and what is refused is refused as documented."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from images import BadImage, load_images

LEVELS = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
COLOURED = Image.fromarray(LEVELS)
TURNED = Image.Exif()
TURNED[0x112] = 6


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PNG, JPEG = encoded(COLOURED, "png"), encoded(COLOURED, "jpeg")
WHOLE = [
    PNG, JPEG, encoded(COLOURED, "jpeg", exif=TURNED), encoded(COLOURED.convert("P"), "png", transparency=3),
    encoded(COLOURED.convert("LA"), "png"), encoded(COLOURED.convert("1"), "png"), encoded(COLOURED, "gif"),
    encoded(COLOURED.convert("CMYK"), "jpeg"), encoded(COLOURED, "tiff"), encoded(COLOURED, "webp"),
    encoded(Image.fromarray(LEVELS[..., 0].astype(np.uint16) * 257), "png"),
    encoded(Image.fromarray(LEVELS[..., 0].astype(np.int32)), "tiff"),
]  # fmt: skip
BROKEN = [
    b"", b"some text\n", b"\x89PNG\r\n\x1a\n",
    encoded(COLOURED, "jpeg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"),
    encoded(Image.fromarray(LEVELS[..., 0] / np.float32(255)), "tiff"),
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An image cut off, or with one byte changed."""
    whole = draw(st.sampled_from(WHOLE))
    place = draw(st.integers(0, len(whole) - 1))
    return draw(st.sampled_from([whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]]))


CONTENTS = st.one_of(st.sampled_from(WHOLE), st.sampled_from(BROKEN), damaged())
ODD = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=6)
RAW = st.binary(min_size=1, max_size=4).map(os.fsdecode).filter(lambda name: "/" not in name and "\0" not in name)
USUAL = st.sampled_from(["cat", "dog", "fox", "more", "x.png"])
UNUSUAL = st.sampled_from(["train", "val", "test", "train2017", ".hidden", "__MACOSX", "metadata"])
NAMES = st.one_of(USUAL, USUAL, UNUSUAL, ODD, RAW).filter(lambda name: name not in (".", ".."))
IMAGES = st.sampled_from([".png", ".PNG", ".jpg", ".jpeg", ".tif", ".gif"])
SUFFIXES = st.one_of(IMAGES, IMAGES, st.sampled_from([".txt", ".parquet", "", ".jpg.gz", ".mpg", ".csv"]))
# Of a class, most often, with its folder and those below; of anything else anywhere.
OF_CLASS = st.tuples(
    st.lists(st.one_of(USUAL, ODD, RAW), min_size=1, max_size=3), st.one_of(USUAL, ODD), IMAGES, CONTENTS
)
FILES = st.one_of(OF_CLASS, OF_CLASS, st.tuples(st.lists(NAMES, min_size=1, max_size=3), NAMES, SUFFIXES, CONTENTS))
ANYWHERE = st.tuples(st.lists(NAMES, max_size=3), NAMES, SUFFIXES, CONTENTS)
TREES = st.one_of(
    st.lists(OF_CLASS, min_size=1, max_size=5),
    st.lists(FILES, min_size=1, max_size=5),
    st.lists(ANYWHERE, min_size=1, max_size=5),
)
LINKS = st.tuples(st.lists(NAMES, max_size=2), NAMES, st.sampled_from([".", "..", "nowhere", "../cat", "cat", "me"]))


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    """In memory where the system has such a folder: the examples make tens of thousands of files."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


def make(root: Path, files: list[tuple], links: list[tuple]) -> None:
    """The files and links that can be made, as some are in the way of others."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for parents, name, suffix, content in files:
        path = root.joinpath(*parents, name + suffix)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        except OSError:
            continue
    for parents, name, target in links:
        path = root.joinpath(*parents, name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(name if target == "me" else target)
        except OSError:
            continue


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=1000, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    files=TREES,
    links=st.one_of(st.just([]), st.lists(LINKS, max_size=2)),
    split=st.sampled_from(["train", "train", "validation", "cat"]),
)
def test_any_folder_is_read_or_refused(root: Path, files: list[tuple], links: list[tuple], split: str) -> None:
    folder = root / "images"
    make(folder, files, links)
    try:
        images = load_images(str(folder), split)
    except (ValueError, FileNotFoundError) as refused:
        assert str(refused).splitlines() == [str(refused)]
        return
    assert len(set(images.classes)) == len(images.classes)
    assert {images.label(index) for index in range(len(images))} == set(range(len(images.classes)))
    for index in range(len(images)):
        try:
            image = images.image(index)
        except BadImage as refused:
            assert str(refused).startswith(images.where(index)) and len(str(refused).splitlines()) == 1
            continue
        assert image.mode == "RGB" and min(image.size) > 0


@settings(max_examples=150, deadline=None, database=None)
@given(
    tree=st.dictionaries(
        st.sampled_from(["cat", "dog", "fox", "train", "a b", "Ünïcödé", "\n"]),
        st.lists(
            st.tuples(st.lists(st.sampled_from(["2023", "more", "x.png"]), max_size=2), SUFFIXES),
            min_size=1,
            max_size=5,
        ),
        min_size=2,
        max_size=4,
    ),
    hidden=st.booleans(),
)
def test_every_image_of_a_class_is_read(root: Path, tree: dict[str, list[tuple]], hidden: bool) -> None:
    """By a count of our own: all files with the suffix of an image, at whatever depth below the class."""
    folder = root / "classes"
    expected: dict[str, set[str]] = {}
    others = 0
    shutil.rmtree(folder, ignore_errors=True)
    for name, files in tree.items():
        # An image of its own in each class, directly in it, so that none is empty and `train` is a class.
        for number, (parents, suffix) in enumerate([*files, ([], ".jpeg")]):
            path = folder.joinpath(name, *parents, f"{number}{suffix}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PNG)
            if suffix == ".parquet":
                path.unlink()
            elif suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".gif"):
                expected.setdefault(name, set()).add(str(path))
            else:
                others += 1
        if hidden:
            (folder / name / "._0.png").write_bytes(b"resource fork")
            (folder / ".cache").mkdir(exist_ok=True)
            (folder / ".cache/x.png").write_bytes(PNG)
    images = load_images(str(folder))
    assert images.classes == sorted(tree) and images.split is None and len(images.passed_over) == others
    found: dict[str, set[str]] = {}
    for index in range(len(images)):
        found.setdefault(images.classes[images.label(index)], set()).add(images.source.paths[index])
    assert found == expected and len(images) == sum(map(len, expected.values()))


def test_names_of_splits_stand_on_one_line(tmp_path: Path) -> None:
    picture = tmp_path / "\r" / "train" / "a.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(picture)
    with pytest.raises(ValueError, match="holds splits in its classes") as refused:
        load_images(str(tmp_path), "train")
    assert str(refused.value).splitlines() == [str(refused.value)] and repr("\r/train") in str(refused.value)
