"""The front of scores against costs, and its picture."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from pkgen_hf.drawing.front import draw_front, pareto_front


def test_the_front_is_what_nothing_cheaper_equals() -> None:
    rng = np.random.default_rng(0)
    costs, scores = rng.integers(0, 20, 200).astype(float), rng.integers(0, 20, 200).astype(float)
    found = pareto_front(costs, scores)
    for k in range(200):
        beaten = ((costs <= costs[k]) & (scores >= scores[k]) & ((costs < costs[k]) | (scores > scores[k]))).any()
        equals = {(costs[j], scores[j]) for j in found}
        assert beaten != ((costs[k], scores[k]) in equals)
    assert (np.diff(costs[found]) > 0).all() and (np.diff(scores[found]) > 0).all()
    assert not len(pareto_front(np.empty(0), np.empty(0)))


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_picture_says_what_is_drawn(tmp_path: Path, suffix: str) -> None:
    others = np.array([[1.0, 2.0], [2.0, np.nan], [3.0, 5.0]])
    generated = np.array([[2.0, 6.0], [np.nan, 1.0]])
    path = draw_front(others, generated, tmp_path / f"front{suffix}", "parameters, millions", "accuracy, %", [2.5])
    if suffix == ".png":
        assert Image.open(path).size[0] > 500
        return
    texts = [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    assert {"parameters, millions", "accuracy, %", "generated, by rank", "best up to a cost"} <= {*texts}
    assert "1" in texts
