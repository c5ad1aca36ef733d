"""Classes of images and of networks: by name where both have names, else by number, never by chance."""

from __future__ import annotations

import pytest

from classes import NAME, NUMBER, classes_of, match, name_classes
from pkgen_hf.modeling_network import PKGenNetworkConfig

ANIMALS = ["cat", "dog", "fox"]
LABELS = ["LABEL_0", "LABEL_1", "LABEL_2"]


@pytest.mark.parametrize(
    ("classes", "named", "network", "indices", "by"),
    [
        (ANIMALS, True, ANIMALS, [0, 1, 2], NAME),
        (["fox", "cat", "dog"], True, ANIMALS, [2, 0, 1], NAME),
        (["fox"], True, ANIMALS, [2], NAME),
        (["fox", "wolf"], True, ANIMALS, [2, None], NAME),
        (["10", "2"], True, ["0", "1", "10", "2"], [2, 3], NAME),  # folders called by numbers
        (ANIMALS, True, LABELS, [0, 1, 2], NUMBER),
        (ANIMALS, True, ["0", "1", "2"], [0, 1, 2], NUMBER),
        (["2", "0"], False, LABELS, [2, 0], NUMBER),
        (["2", "7"], False, ANIMALS, [2, None], NUMBER),
        (["2", "0"], False, ["1", "2", "3"], [1, None], NAME),  # the network was trained on the labels 1 to 3
        (["1", "3"], False, ["1", "2", "3"], [0, 2], NAME),
    ],
)
def test_classes_are_matched(
    classes: list[str], named: bool, network: list[str], indices: list[int | None], by: str
) -> None:
    found = match("images", classes, named, network)
    assert (found.indices, found.by) == (indices, by)
    # Other images of the same training find the same classes by what these call them.
    if named and None not in indices:
        again = match("others", classes[::-1], named, found.names)
        assert again.indices == indices[::-1] and again.by == NAME


def test_by_number_only_where_no_name_coincides() -> None:
    ids, words = ["n01440764", "n01443537", "n01484850"], ["tench", "goldfish", "great white shark"]
    with pytest.raises(
        ValueError, match="no class of images is .* by its name: .*'n01440764'.* and 'tench' .*by_number"
    ):
        match("images", ids, True, words)
    assert match("images", ids, True, words, by_number=True) == ([0, 1, 2], ids, NUMBER)
    assert match("images", ["fox", "cat", "dog"], True, ANIMALS, by_number=True).indices == [2, 0, 1]
    with pytest.raises(ValueError, match="unknown class of images: 'n01440764'. Allowed: tench, goldfish, great"):
        match("images", ids[:2], True, words)
    with pytest.raises(ValueError, match="unknown class of images: '1'. Allowed: 4, 5, 6"):
        match("images", ["1", "2", "3"], True, ["4", "5", "6"])


def test_a_name_that_the_network_has_twice() -> None:
    """As readable names of ImageNet have it: a bird and a machine."""
    names = ["crane", "tench", "crane"]
    assert match("images", ["tench"], True, names).indices == [1]
    with pytest.raises(ValueError, match="several classes 'crane'"):
        match("images", ["crane", "tench"], True, names)


def test_names_of_a_network() -> None:
    config = PKGenNetworkConfig(num_labels=3)
    assert classes_of(config) == LABELS
    name_classes(config, ANIMALS)
    assert classes_of(PKGenNetworkConfig.from_dict(config.to_dict())) == ANIMALS
    config.id2label = {0: "cat", 2: "fox"}
    with pytest.raises(ValueError, match="id2label of the network names no class 1; its classes are 0 to 1"):
        classes_of(config)


def test_an_error_names_few_of_many_classes_and_the_nearest() -> None:
    with pytest.raises(ValueError, match="'cat 900x'. Did you mean 'cat 900'") as refused:
        match("images", ["cat 900x"], True, [f"cat {number}" for number in range(1000)])
    assert len(str(refused.value)) < 250
