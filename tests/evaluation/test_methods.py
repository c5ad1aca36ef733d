"""Results name methods and protocols that are defined, and say them once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import result_files
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS, SETTINGS
from pkgen_hf.publishing import cards

RESULTS = Path(__file__).parents[2] / "results"


def test_ids_and_names_are_unique() -> None:
    for defined in (METHODS, PROTOCOLS):
        assert all(key == item.id for key, item in defined.items())
    assert len({method.name for method in METHODS.values()}) == len(METHODS)
    assert len({protocol.title for protocol in PROTOCOLS.values()}) == len(PROTOCOLS)
    assert not METHODS["pkgen"].is_baseline and METHODS["uniform"].is_baseline


def test_methods_say_whose_labels_they_use() -> None:
    sources = {source for method in METHODS.values() for source in method.reads}
    assert sources == {"pipeline", "given", "others", "prior"}
    assert all(method.is_baseline or "pipeline" in method.reads for method in METHODS.values())


def test_conditions_are_those_of_settings_labels_and_quantiles() -> None:
    for protocol in PROTOCOLS.values():
        conditions = list(protocol.conditions())
        assert {condition.setting for condition in conditions} == set(protocol.settings) <= SETTINGS.keys()
        assert len(set(conditions)) == len(conditions)
        assert len(conditions) == len(protocol.settings) * len(protocol.num_labels) * len(protocol.quantiles)
    assert not PROTOCOLS["ask-tell"].quantiles[0] and PROTOCOLS["under-a-budget"].num_labels == (0,)


def test_results_name_what_is_defined() -> None:
    for name, record in result_files.read_records(RESULTS).items():
        assert record["protocol"] in (*PROTOCOLS, "ablations"), name
        assert {row["method"] for row in record["rows"]} <= METHODS.keys(), name
        assert {row["setting"] for row in record["rows"]} <= SETTINGS.keys(), name


def test_cards_name_what_is_defined() -> None:
    assert {cards.PKGEN, cards.PRIOR, cards.SHARP_PRIOR, cards.UNIFORM} <= METHODS.keys()
    assert cards.PROTOCOLS.keys() <= PROTOCOLS.keys()


def test_results_without_the_method_of_the_card_are_refused(tmp_path: Path) -> None:
    record = {"protocol": "new-space", "space": "darts", "rows": [{"method": "PKGen"}], "training": {},
              "trainings": {}, "command": "", "schema": result_files.VERSION}  # fmt: skip
    (tmp_path / "old.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="old.json has no row of the method 'pkgen': make it again"):
        cards.read_results(tmp_path)
