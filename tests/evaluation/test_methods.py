"""Results name methods and protocols that are defined, and say them once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pkgen_hf.evaluation.measures import mean_and_std
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS
from pkgen_hf.publishing import cards

RESULTS = Path(__file__).parents[2] / "results"


def test_ids_and_names_are_unique() -> None:
    for defined in (METHODS, PROTOCOLS):
        assert all(key == item.id for key, item in defined.items())
    assert len({method.name for method in METHODS.values()}) == len(METHODS)
    assert len({protocol.title for protocol in PROTOCOLS.values()}) == len(PROTOCOLS)
    assert not METHODS["pkgen"].is_baseline and METHODS["uniform"].is_baseline


@pytest.mark.parametrize("path", sorted(RESULTS.glob("[!.]*.json")), ids=lambda path: path.stem)
def test_results_name_what_is_defined(path: Path) -> None:
    record = json.loads(path.read_text())
    assert record["protocol"] in PROTOCOLS
    assert {row["method"] for row in record["rows"]} <= METHODS.keys()
    assert {row["setting"] for row in record["rows"] if "setting" in row} <= {*PROTOCOLS, ""}


def test_cards_name_what_is_defined() -> None:
    assert {cards.PKGEN, cards.PRIOR, cards.SHARP_PRIOR, cards.UNIFORM} <= METHODS.keys()
    assert cards.PROTOCOLS.keys() <= PROTOCOLS.keys()


def test_results_without_the_method_of_the_card_are_refused(tmp_path: Path) -> None:
    record = json.loads((RESULTS / "new-space-darts.json").read_text())
    for row in record["rows"]:
        row["method"] = METHODS[row["method"]].name
    (tmp_path / "old.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="old.json has no row of the method 'pkgen': make it again"):
        cards.read_results(tmp_path)


def test_mean_and_std_by_hand() -> None:
    found = mean_and_std([{"score": 1.0, "seconds": 2.0}, {"score": 3.0, "seconds": 4.0}])
    assert found == {"score": 2.0, "seconds": 3.0, "score_std": pytest.approx(2**0.5)}
