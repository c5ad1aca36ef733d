"""Texts that language models are trained on: found, read, divided, and turned into blocks of tokens."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import texts as texts_module
from text_tokens import END, IGNORED, Blocks, Tokens, checksum_of, end_token, load_tokenizer, train_tokenizer
from texts import Texts, UnknownSplit, load_texts

PROSE = (Path(__file__).parents[2] / "docs" / "how-it-works.md").read_text()


def write_rows(path: Path, rows: list[str | None], column: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({column: pa.array(rows, pa.string())}), path)
    return path


# ---------------------------------------------------------------------- sources


def test_files_folders_and_tables(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/2.txt").write_text("second\n")
    (tmp_path / "a/1.md").write_bytes(b"\xef\xbb\xbffirst \xc3\xa9\r\n")
    (tmp_path / "a/notes.csv").write_text("no text")
    (tmp_path / "a/.hidden.txt").write_text("hidden")
    assert list(load_texts(str(tmp_path / "a")).documents) == ["first é\n", "second\n"]
    single = load_texts(str(tmp_path / "a/2.txt"))
    assert list(single.documents) == ["second\n"] and single.split is None
    table = write_rows(tmp_path / "x.parquet", ["one", "", "two", "three"])
    found = load_texts(str(table))
    assert list(found.documents) == ["one", "", "two", "three"] and found.split is None
    assert list(found.documents[2:]) == ["two", "three"]
    other = write_rows(tmp_path / "y.parquet", ["one"], "content")
    assert list(load_texts(str(other), text_column="content").documents) == ["one"]


def test_splits_are_folders_or_files_with_their_names(tmp_path: Path) -> None:
    for name in ("train/a.txt", "train/b.txt", "valid/a.txt", "test.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list(load_texts(str(tmp_path)).documents) == ["train/a.txt", "train/b.txt"]
    held = load_texts(str(tmp_path), "validation")
    assert held.split == "valid" and list(held.documents) == ["valid/a.txt"]
    with pytest.raises(UnknownSplit, match="'tset'. Did you mean 'test'"):
        load_texts(str(tmp_path), "tset")
    (tmp_path / "test.txt").rename(tmp_path / "chapter.txt")  # one file without a split: all are documents
    (tmp_path / "valid/a.txt").rename(tmp_path / "test of strength.txt")
    assert len(load_texts(str(tmp_path)).documents) == 4
    write_rows(tmp_path / "tables/train-0.parquet", ["a", "b"])
    write_rows(tmp_path / "tables/validation-0.parquet", ["c"])
    assert list(load_texts(str(tmp_path / "tables"), "validation").documents) == ["c"]


def test_what_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9 ")
    (tmp_path / "null.txt").write_bytes(b"a\0b")
    (tmp_path / "x.jsonl").write_text("{}")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "folder").mkdir()
    write_rows(tmp_path / "x.parquet", ["one", None])
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    for name, message in [
        ("latin.txt", "latin.txt is not text in UTF-8: .* at byte 3"),
        ("null.txt", "null.txt is not text: it has a null character at 1"),
        ("x.jsonl", "x.jsonl is not a text file; unpack it, or write its text to a Parquet file"),
        ("empty.txt", "empty.txt holds no text"),
        ("folder", "holds neither Parquet files nor text files"),
        ("numbers.parquet", "column 'text' holds Value.*, not text"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_texts(str(tmp_path / name))
    with pytest.raises(ValueError, match="row 1: the text is missing"):
        list(load_texts(str(tmp_path / "x.parquet")).documents)
    with pytest.raises(ValueError, match="unknown column of .*: 'txt'. Did you mean 'text'"):
        load_texts(str(tmp_path / "x.parquet"), text_column="txt")
    with pytest.raises(FileNotFoundError, match="none.txt is neither a file, a folder nor the id"):
        load_texts(str(tmp_path / "none.txt"))


def test_a_share_at_the_end_is_held_out() -> None:
    one = Texts("x", ["line one\nline two\nline three\nline four\n"])
    first, second = one.hold_out(0.4)
    assert [*first.documents, *second.documents] == ["line one\nline two\nline three\n", "line four\n"]
    assert not first.ends and second.ends and second.held_out == 0.4
    words = Texts("x", ["one two three four"]).hold_out(0.5)
    assert [list(part.documents) for part in words] == [["one two three"], [" four"]]
    many = Texts("x", [str(number) for number in range(10)]).hold_out(0.25)
    assert [len(part.documents) for part in many] == [8, 2] and many[0].ends
    assert list(many[1].documents) == ["8", "9"]
    for documents, share, message in [(["a"], 0.5, "too short"), (["a b"], 1.0, "must be between 0 and 1")]:
        with pytest.raises(ValueError, match=message):
            Texts("x", documents).hold_out(share)


# ---------------------------------------------------------------------- tokens


def test_a_trained_tokenizer_writes_any_text(tmp_path: Path) -> None:
    texts = Texts("x", [PROSE])
    tokenizer = train_tokenizer(texts, 400, 64)
    assert len(tokenizer) == 400 and end_token(tokenizer) == tokenizer.convert_tokens_to_ids(END) == 0
    assert checksum_of(tokenizer) == checksum_of(train_tokenizer(texts, 400, 64))
    assert checksum_of(tokenizer) != checksum_of(train_tokenizer(texts, 401, 64))
    tokenizer.save_pretrained(tmp_path)
    for loaded in (AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(str(tmp_path))):
        assert checksum_of(loaded) == checksum_of(tokenizer)
        for text in (PROSE, "naïve 日本 \n\n\ttab  .", " begins with a space"):
            ids = loaded(text, add_special_tokens=False)["input_ids"]
            assert loaded.decode(ids) == text
    assert len(tokenizer(PROSE)["input_ids"]) < 0.7 * len(PROSE)
    with pytest.raises(ValueError, match="at least 257.*, got 256"):
        train_tokenizer(texts, 256, 64)


def test_tokenizers_that_cannot_be_used(tmp_path: Path) -> None:
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no end token"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(ValueError, match="none cannot be loaded as a tokenizer: "):
        load_tokenizer(str(tmp_path / "none"))


def test_documents_are_divided_by_end_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = ["first\nof two lines\n", "", "second", "ü"]
    texts = Texts("x", documents)
    tokenizer = train_tokenizer(texts, 257, 64)  # bytes alone
    tokens = Tokens(texts, tokenizer)
    assert tokenizer.decode(tokens.ids[1:]) == f"first\nof two lines\n{END}second{END}ü{END}"
    assert tokens.ids[0] == 0 and len(tokens) == sum(len(text.encode()) for text in documents) + 3
    assert tokens.bytes == sum(len(text.encode()) for text in documents) and tokens.ids.dtype == np.uint16
    monkeypatch.setattr(texts_module, "PIECE", 4)  # in pieces, which are no documents
    assert [text for _, text in texts.pieces()] == ["firs", "t\n", "of t", "wo l", "ines", "\n", "seco", "nd", "ü"]
    assert np.array_equal(Tokens(texts, tokenizer).ids, tokens.ids)
    assert Tokens(Texts("x", ["cut"], ends=False), tokenizer).ids[-1] != 0


@pytest.mark.parametrize("context", [1, 7, 64, 5000])
def test_every_token_is_the_target_of_one_place(context: int) -> None:
    texts = Texts("x", [PROSE[:1500], PROSE[1500:2200]])
    tokens = Tokens(texts, train_tokenizer(texts, 300, context))
    blocks = Blocks(tokens, context, whole=False)
    inputs, targets = blocks.batch(range(len(blocks)))
    real = targets != IGNORED
    assert inputs.shape == targets.shape == (len(blocks), context)
    assert targets[real].tolist() == tokens.ids[1:].tolist()
    assert inputs[real].tolist() == tokens.ids[:-1].tolist()
    assert real.sum() == len(tokens) and real[:-1].all()
    if context < len(tokens):
        whole = Blocks(tokens, context, whole=True)
        assert len(whole) == len(tokens) // context and (whole.batch(range(len(whole)))[1] != IGNORED).all()
    else:
        with pytest.raises(ValueError, match="fewer than the 5000 of a block; set --context"):
            Blocks(tokens, context, whole=True)
    assert Counter(tokens.ids.tolist())[0] == 3
