"""Evaluations as people write them."""

from __future__ import annotations

import csv
import io
import json

import pytest
import torch

from pkgen_hf import Architecture, get_space, list_spaces
from pkgen_hf.own_evaluations import read_evaluations

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"


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
        (f"{CELL}, 90\n{CELL}, ", "line 2: expected 'architecture, score', got"),
        (f"{CELL}, 90\n{CELL}, good", "line 2: the score 'good' is not a finite number"),
        (f"{CELL}, nan", "line 1: the score 'nan' is not a finite number"),
        (f"{CELL}, 90\n{CELL.replace('none', 'nine')}, 91", "line 2: .*nine"),
        (f"architecture,accuracy\n{CELL},90", "line 1: the header lacks the column 'score'"),
        (f"score,architecture\n90,{CELL}\n91,{CELL},3", "line 3: 3 fields where the header names 2"),
        (f"epochs,architecture,score\n\n12,{CELL},x", "line 3: the score 'x' is not a finite number"),
        (json.dumps([{"architecture": CELL, "score": 1}, {"architecture": CELL}]), "entry 2: expected {"),
        (json.dumps([{"architecture": CELL, "score": None}]), "entry 1: the score null is not a finite number"),
        ('[\n{"architecture": "a",\n "score" 1}]', "line 3: this is not JSON: .*column 10"),
        ("[]", "there are no evaluations in the text"),
        ("architecture,score\n", "there are no evaluations in the text"),
        (" \n", "there are no evaluations in the text"),
    ],
)
def test_the_first_bad_line_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_evaluations("nas-bench-201", text)
