"""Evaluations as people write them."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
import torch

from pkgen_hf import Architecture, SearchSpace, get_space, list_spaces
from pkgen_hf.requests.evaluations import read_evaluations
from pkgen_hf.spaces import Choice, Slot

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
OTHER = CELL.replace("none", "avg_pool_3x3")


@pytest.mark.parametrize("name", list_spaces())
def test_every_form_gives_the_same_of_every_space(name: str) -> None:
    space = get_space(name)
    rows = space.sample(64, torch.Generator().manual_seed(0))
    cells = Architecture.from_batch(space, rows[space.is_valid(rows)][:6])
    scores = [90.25, 1e-3, -5.5, 100.0, 12.0, 7.0][: len(cells)]
    assert len(cells) >= 3
    strings = [str(cell) for cell in cells]
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["epochs", "Score", "architecture"])
    writer.writerows([12, score, string] for string, score in zip(strings, scores, strict=True))
    records = [{"architecture": a, "score": s} for a, s in zip(strings, scores, strict=True)]
    quoted = [a.replace('"', '""') for a in strings]
    nested = [
        {"architecture": json.loads(a) if a[0] in "[{" else a, "score": s}
        for a, s in zip(strings, scores, strict=True)
    ]
    for text in (
        "\n".join(f"{a}, {s}" for a, s in zip(strings, scores, strict=True)),
        "\n\n".join(f"  {a}\t{s} % " for a, s in zip(strings, scores, strict=True)) + "\n",
        "\r\n".join(["architecture,score", *(f'"{a}",{s}' for a, s in zip(quoted, scores, strict=True))]),
        table.getvalue(),
        json.dumps(records),
        json.dumps(records, indent=2),
        json.dumps(nested),  # strings that are JSON, not put into a string once more
    ):
        found, numbers = read_evaluations(space, text)
        assert found == cells
        assert numbers == pytest.approx(scores)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{CELL}, 90\n\n{CELL}", "line 3: expected 'architecture, score', got"),
        (f"{CELL}, 90\n{CELL}, good", "line 2: the score 'good' is not a finite number"),
        (f"{CELL}, inf", "line 1: the score 'inf' is not a finite number"),
        (f"{CELL}, 1e999", "line 1: the score '1e999' is not a finite number"),
        (f"{CELL}, 90\n{CELL}, %", "line 2: the score '%' is not a finite number"),
        (f"{CELL}, 90\n{CELL}, 9{'0' * 500}x", "line 2: the score '90*[.]{3}0*x' is not a finite number"),
        (f'{CELL},"1,234"', "line 1: the score '1,234' may be 1234 or 1.234: write it without a comma"),
        (f"{CELL}, 90\n{CELL.replace('none', 'nine')}, 91", "line 2: .*nine"),
        (f"{CELL}, 93,1", "line 1: more follows on the same line"),  # not a score of 1
        (f"{CELL} 93,1", "line 1: more follows on the same line"),
        (f"93.1, {CELL}, 200", "line 1: another field stands before it on the same line"),
        (f"{CELL}, 90\nabc, 91\n{CELL}, x", "line 2: six operations are written"),  # not line 3
        (
            f"architecture,accuracy\n{CELL},90",
            "line 1: the header lacks the column 'score', it has 'architecture, acc",
        ),
        (f"score,architecture,Score\n90,{CELL},91", "line 1: the header has twice the column 'score'"),
        (
            f"arch,val_acc\n{CELL},90",
            "line 1: .*header, it must name the columns architecture and score.*'arch,val_acc'",
        ),
        (f"score,architecture\n90,{CELL}\n91,{CELL},3", "line 3: 3 fields where the header names 2"),
        (f"epochs,architecture,score\n\n12,{CELL},x", "line 3: the score 'x' is not a finite number"),
        (json.dumps([{"architecture": CELL, "score": 1}, {"architecture": CELL}]), "entry 2: expected {"),
        (json.dumps([{"architecture": CELL, "score": True}]), "entry 1: the score True is not a finite number"),
        (json.dumps([{"architecture": CELL, "score": [1]}]), r"entry 1: the score \[1\] is not a finite number"),
        (json.dumps([{"architecture": CELL, "score": 10**400}]), "entry 1: the score 10*[.]{3}0* is not a finite"),
        (json.dumps([{"architecture": CELL, "score": "high"}]), "entry 1: the score 'high' is not a finite number"),
        ('[{"architecture": ' + "[" * 10_000, "this JSON cannot be read: maximum recursion depth|this is not JSON"),
        ('[\n{"architecture": "a",\n "score" 1}]', "line 3: this is not JSON: .*column 10"),
        ('{"architecture": "a", "score": 9', "line 1: this is not JSON"),
        (json.dumps({"architecture": CELL, "score": 9}) + '\n\n{"architecture": 1', "line 3: this is not JSON"),
        (json.dumps({"architecture": CELL, "score": 9}) + '\n{"score": 9}', "line 2: expected .*got {'score': 9}"),
        ('{\n"architecture": "a",\n"score": 9}', "line 1: expected 'architecture, score'"),
        ("[]", "there are no evaluations in it"),
        ("architecture,score\n", "there are no evaluations in it"),
        (" \n", "there are no evaluations in it"),
    ],
)
def test_the_first_bad_line_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_evaluations("nas-bench-201", text)


# ---------------------------------------------------------------------- as spreadsheets and people write them


@pytest.mark.parametrize(
    "text",
    [
        "{a};93,1\n{b};7,25\n",
        "architecture;score\n{a};93,1\n{b};7,25\n",
        "sep=;\r\nArchitecture;Score;Epochs\r\n{a};93,1;200\r\n{b};7,25 %;200\r\n;;\r\n",
        "Score;architecture\n93,1;{a}\n7,25;{b}",
        "{a}\t93,1\n{b}\t7,25",
        "\tarchitecture\tscore\n0\t{a}\t93,1\n1\t{b}\t7,25\n",
        '"{a}","93,1"\n"{b}","7,25"',
        'epoch,architecture,score\n1,"{a}","93,1%"\n2,"{b}","7,25%"\n',
        '{a},"93,1"\n{b},"7,25"',
        "\ufeffarchitecture,score\n{a},93.1\n{b},7.25",
        "\ufeff{a}, 93.1\n{b}, 7.25",
        "architecture,score,\r\n{a},93.1,\r\n,,\r\n{b},7.25,\r\n",
        "# measured in May\n{a}, 93.1\n\n  # again: {a}, 90\n{b}, 7.25",
        "# architecture, score\n{a}, 93.1\n{b}, 7.25",
        "#,architecture,score\n0,{a},93.1\n1,{b},7.25",
        "{a}, 93.1%\n{b}, 7.25 %  \n",
        "{a}, 9.31e1\n{b}, +7.25",
        "{a},93.1\t\n{b},7.25\t \n",
        '[{{"architecture": "{a}", "score": "93,1 %"}}, {{"architecture": "{b}", "score": 7.25}}]',
    ],
)
def test_scores_of_spreadsheets_are_read(text: str) -> None:
    filled = text.format(a=CELL, b=OTHER)
    for given in (filled, filled.encode(), filled.replace("\r\n", "\n").replace("\n", "\r\n")):
        found, scores = read_evaluations("nas-bench-201", given)
        assert [str(one) for one in found] == [CELL, OTHER] and scores == [93.1, 7.25]


@pytest.mark.parametrize(
    ("written", "score"),
    [
        ("1,234.5", 1234.5),
        ("1,234,567", 1234567.0),
        ("1.234,5", 1234.5),
        ("1 234,5", 1234.5),
        ("1\u202f234,5", 1234.5),
        ("1'234.5", 1234.5),
        ("-0,125", -0.125),
        ("\u22125,5", -5.5),  # a minus sign as papers have it
        ("93,1234", 93.1234),
    ],
)
def test_separators_of_thousands_are_read(written: str, score: float) -> None:
    for text in (f'"{CELL}","{written}"', f"{CELL};{written}", f"architecture\tscore\n{CELL}\t{written}"):
        assert read_evaluations("nas-bench-201", text)[1] == [score]


@pytest.mark.parametrize("failed", ["", "nan", "NaN", " failed ", "-", "N/A", "#N/A", "OOM", "None", "diverged"])
@pytest.mark.parametrize(
    "text",
    [
        "{a}, 93.1\n{b},{failed}\n{a}, 90",
        "{a};93,1\n{b};{failed}\n{a};90",
        "{a}\t93.1\n{b}\t{failed}\n{a}\t90",
        "architecture,score\n{a},93.1\n{b},{failed}\n{a},90",
        "score,architecture\n93.1,{a}\n{failed},{b}\n90,{a}",
        '"{a}","93.1"\n"{b}","{failed}"\n"{a}","90"',
    ],
)
def test_a_failed_run_is_a_score_that_is_not_a_number(text: str, failed: str) -> None:
    """It neither loses the others nor counts as a score; architectures that are there twice stay."""
    found, scores = read_evaluations("nas-bench-201", text.format(a=CELL, b=OTHER, failed=failed))
    assert [str(one) for one in found] == [CELL, OTHER, CELL]
    assert scores[::2] == [93.1, 90.0] and math.isnan(scores[1])


@pytest.mark.parametrize("name", list_spaces())
def test_a_failed_run_is_read_in_every_space(name: str) -> None:
    example = get_space(name).example
    for score in ("", "failed", "nan"):
        assert math.isnan(read_evaluations(name, f"{example},{score}")[1][0])
        assert math.isnan(read_evaluations(name, f"{example}\t{score}")[1][0])
    for score in ("null", "NaN"):
        text = f'[{{"architecture": {json.dumps(example)}, "score": {score}}}]'
        assert math.isnan(read_evaluations(name, text)[1][0])


def test_a_genotype_over_several_lines_is_one_field() -> None:
    space = get_space("darts")
    rows = space.sample(2, torch.Generator().manual_seed(0))
    first, second = space.to_strings(rows)
    broken = first.replace("), (", "),\n  (")
    for text in (
        f'"{broken}",93.1\n{second},90',
        f'architecture,score\r\n"{broken}","93,1"\r\n{second},90',
        f'epochs;score;architecture\n5;93,1;"{broken}"\n6;90;{second}',
    ):
        found, scores = read_evaluations(space, text)
        assert [one.indices for one in found] == [tuple(row) for row in rows.tolist()] and scores == [93.1, 90.0]
    with pytest.raises(ValueError, match=f"^line {broken.count(chr(10)) + 3}: the score 'x'"):  # as an editor counts
        read_evaluations(space, f'"{broken}",93.1\n\n{second},x')


def test_names_with_a_hash_are_no_comments() -> None:
    choices = (Choice("#1", "zero"), Choice("2", "zero"))
    space = SearchSpace("own", [Slot(s, "operation", choices, (0,), 1) for s in "xy"], {}, "2")
    found, scores = read_evaluations(space, "#1|2, 5\n2|#1, 6\n")
    assert [one.indices for one in found] == [(0, 1), (1, 0)] and scores == [5.0, 6.0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{CELL}, 90".encode("utf-16"), "^the text is UTF-16, not UTF-8: save it as UTF-8"),
        (f"{CELL}, 90".encode("utf-16-le"), "^the text has NUL characters, as UTF-16 .* save it as UTF-8"),
        (f"# größer\n{CELL}, 90".encode("latin-1"), "^the text is of another encoding, not UTF-8: .* .byte 4"),
        (f"{CELL}\0, 90", "^the text has NUL characters"),
        (None, "^evaluations are text, got None"),
        (93.1, "^evaluations are text, got 93.1"),
    ],
)
def test_text_of_another_encoding_is_refused_in_one_line(content: object, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read_evaluations("nas-bench-201", content)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", list_spaces())
@pytest.mark.parametrize("line", ["{a},93,1", "{a}, 93,1", "{a} 93,1", "93.1,{a},200", "93.1\t{a}\t200", "{a};93.1;7"])
def test_no_field_is_taken_for_the_score_where_there_are_more(name: str, line: str) -> None:
    """In strings of some spaces there may be text around: just not what can be another column."""
    space = get_space(name)
    for text in space.to_strings(space.sample(3, torch.Generator().manual_seed(0))):
        with pytest.raises(ValueError, match="^line 1: "):
            read_evaluations(name, line.format(a=text))


def test_quotes_that_are_never_closed_lose_nothing() -> None:
    cells = get_space("nas-bench-macro").to_strings(torch.arange(3)[:, None].expand(3, 8))
    rows = [f'{cells[0]},90,"5 epochs', f"{cells[1]},91,ok", f"{cells[2]},92,ok"]
    with pytest.raises(ValueError, match="^line 2: the double quotes that a field of this row begins with are never"):
        read_evaluations("nas-bench-macro", "\n".join(["architecture,score,note", *rows]))


def test_what_looks_like_a_comment_within_quotes_is_none() -> None:
    cells = get_space("nas-bench-macro").to_strings(torch.arange(3)[:, None].expand(3, 8))
    rows = [f'{cells[0]},90,"log:\n# OOM twice\n\nend"', "# a comment", "", f"{cells[1]},91,ok", f"{cells[2]},92,ok"]
    found, scores = read_evaluations("nas-bench-macro", "\n".join(["architecture,score,note", *rows]))
    assert [str(cell) for cell in found] == cells and scores == [90, 91, 92]


@pytest.mark.parametrize("scores", [("93.1%", "0.88"), ("0.5", "92 %"), ("0", "1", "50%")])
def test_percent_and_fractions_are_not_mixed(scores: tuple[str, ...]) -> None:
    cells = get_space("nas-bench-macro").to_strings(torch.arange(3)[:, None].expand(3, 8))
    lines = [f"{cell},{score}" for cell, score in zip(cells, scores, strict=False)]
    with pytest.raises(ValueError, match="^line . has a score in percent, line . one that seems to be a fraction"):
        read_evaluations("nas-bench-macro", "\n".join(lines))
    assert read_evaluations("nas-bench-macro", f"{cells[0]},93.1%\n{cells[1]},88\n{cells[2]},")[1][:2] == [93.1, 88]


def test_json_lines() -> None:
    cells = get_space("nas-bench-macro").to_strings(torch.arange(3)[:, None].expand(3, 8))
    text = "\n".join(json.dumps({"score": 90 + k, "architecture": cell, "seed": 0}) for k, cell in enumerate(cells))
    found, scores = read_evaluations("nas-bench-macro", text)
    assert [str(cell) for cell in found] == cells and scores == [90, 91, 92]
    with pytest.raises(ValueError, match="^line 3: "):
        read_evaluations("nas-bench-macro", text.replace("92", '"good"'))
