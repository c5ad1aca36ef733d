"""What errors say of what was given and of what is allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pkgen_hf import PKGenPipeline, Proposer
from pkgen_hf.errors import shortened, unknown, warn


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a" * 78,
        "a" * 79,
        "a" * 10**6,
        "\0" * 500,
        "'\"" * 99,
        "é\n" * 99,
        ["a" * 50] * 50,
        {"a": "b" * 99},
        10**99,
    ],
)
def test_what_is_quoted_has_at_most_80_characters(value: object) -> None:
    assert len(shortened(value)) <= 80
    assert shortened(value) == repr(value) or "..." in shortened(value)
    assert (shortened(value) == repr(value)) == (len(repr(value)) <= 80)


def test_beginning_and_end_of_a_long_text_are_quoted() -> None:
    quoted = shortened("first" + "x" * 500 + "last")
    assert quoted.startswith("'firstx") and quoted.endswith("xlast'")


def test_few_names_are_listed_in_full() -> None:
    error = str(unknown("task of toy", "thing", ["things", "others"], "thing|1"))
    assert error == (
        "unknown task of toy: 'thing'. Did you mean 'things'? Allowed: things, others. It is in 'thing|1'."
    )
    assert str(unknown("task", "a", [])) == "unknown task: 'a'. Allowed: nothing."


def test_of_many_names_the_nearest_are_listed() -> None:
    names = [f"column_{k}" for k in range(10_000)] + ["accuracy"]
    error = str(unknown("column", "acuracy", names))
    assert "Did you mean 'accuracy'? Allowed: accuracy, " in error and error.endswith("9,996 more.")
    assert len(error) < 300


@pytest.mark.parametrize("size", [10, 10**6])
def test_an_error_stays_short_whatever_is_long(size: int) -> None:
    error = str(unknown("choice in slot 'a' of toy", "x" * size, ["y" * size] * 50, "z" * size))
    assert error.startswith("unknown choice in slot 'a' of toy: 'xxxxxxxxxx") and len(error) < 1000


def test_warnings_name_the_line_of_the_user(pipe: PKGenPipeline) -> None:
    """Through decorators and calls within the package."""
    without = PKGenPipeline(pipe.denoiser, pipe.scheduler, [])
    without.set_progress_bar_config(disable=True)
    calls: list[Callable[[], object]] = [
        lambda: without("nas-bench-201", num_architectures=1),
        lambda: without.rank("nas-bench-201", [[0, 1, 2, 3, 4, 0]]),
        lambda: Proposer(without, "nas-bench-201", "cifar10"),
        lambda: warn("from here"),
    ]
    for call in calls:
        with pytest.warns(UserWarning) as found:
            call()
        assert {warning.filename for warning in found} == {__file__}
