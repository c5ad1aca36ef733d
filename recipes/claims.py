"""Claims: what results say in one line each, with the number, how many samples are distinct, and the command."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from result_tables import NOT_RECORDED, Record, over_trainings, table, trainings

CELLS_201 = "NAS-Bench-201 (CIFAR-10 / CIFAR-100 / ImageNet16-120)"
ALIKE = ("class_scene", "class_object", "jigsaw", "segmentsemantic")  # the tasks of classes and patches


@dataclass(frozen=True)
class Claim:
    """A line of the table of claims.

    Attributes
    ----------
    text
        What is claimed: space, data sets, labels read, split, and what is averaged.
    number
        With its standard deviation over seeds, runs or trainings, where there is one.
    distinct
        How many samples are distinct.
    command
        What makes the number again.
    is_in_front
        Whether the README shows it.
    """

    text: str
    number: str
    distinct: str
    command: str
    is_in_front: bool = False


def claims_table(claims: Iterable[Claim]) -> list[str]:
    """The Markdown table of some claims."""
    lines = [[claim.text, claim.number, claim.distinct, claim.command] for claim in claims]
    return [*table(lines, ["claim", "number", "how many distinct", "command"]), ""]


# ---------------------------------------------------------------------- numbers


def tasks_of(records: list[Record]) -> list[str]:
    """The data sets of some records."""
    return list(dict.fromkeys(row["task"] for record in records for row in record["rows"]))


def means(records: list[Record], column: str) -> str:
    """PKGen's mean ± standard deviation on each data set."""
    found = [over_trainings(records, task, "pkgen", column)[:2] for task in tasks_of(records)]
    return " / ".join(f"{mean:.2f} ± {spread:.2f}" for mean, spread in found)


def mean_rank(records: list[Record], tasks: Iterable[str] = ()) -> str:
    """PKGen's median rank, averaged over data sets."""
    ranks = [over_trainings(records, task, "pkgen", "median_rank")[0] for task in tasks or tasks_of(records)]
    return f"{statistics.mean(ranks):.1f} %"


def distinct_samples(records: list[Record], tasks: Iterable[str] = ()) -> str:
    """How many of PKGen's samples are distinct on each data set; from least to most, where there are many."""
    n = records[0]["rows"][0]["n"]
    chosen = list(tasks or tasks_of(records))
    counts = [n * over_trainings(records, task, "pkgen", "unique")[0] for task in chosen]
    shown = [f"{count:,.0f}" for count in (counts if len(counts) <= 3 else sorted(counts))]
    if len(counts) > 3:
        shown = [shown[0]] if shown[0] == shown[-1] else [f"{shown[0]} to {shown[-1]}"]
    return f"{' / '.join(shown)} of {n:,}"


# ---------------------------------------------------------------------- claims of each protocol


def claims(records: list[Record]) -> list[Claim]:
    """All claims that the records at hand support, in the order of protocols."""
    return [
        *same_benchmark(records),
        *new_data_set(records),
        *new_space(records),
        *trained_here(records),
        *few_labels(records),
        *under_limits(records),
    ]


def groups_of(records: list[Record], protocol: str, space: str, alone: bool | None = None) -> list[Record]:
    """Records of a protocol and a space; if `alone` is given, those that hold one data set out, or several."""
    groups = trainings(records, protocol, space)
    if alone is not None:
        groups = [group for group in groups if (len(tasks_of(group)) == 1) == alone]
    return [record for group in groups for record in group]


def command_of(records: list[Record]) -> str:
    """The command that made a record; of several that differ in one option, with the option left open."""
    commands = list(dict.fromkeys(record["command"] for record in records))
    if len(commands) == 1:
        return f"`{commands[0]}`"
    if records[0]["protocol"] == "new-data-set":
        return f"`{commands[0].split(' --task')[0]} --task TASK`, each by itself"
    return f"`{commands[0].split(' --train_seed')[0]} --train_seed S`, S = 0 to {len(commands) - 1}"


def claim_of(
    records: list[Record], text: str, number: Callable[[list[Record]], str], tasks: Iterable[str] = (),
    is_in_front: bool = False,
) -> list[Claim]:  # fmt: skip
    """One claim about PKGen's samples, or none without records."""
    if not records:
        return []
    return [Claim(text, number(records), distinct_samples(records, tasks), command_of(records), is_in_front)]


def same_benchmark(records: list[Record]) -> list[Claim]:
    """Claims about spaces and data sets whose labels were trained on."""
    cells = groups_of(records, "same-benchmark", "nas-bench-201")
    first = groups_of(records, "same-benchmark", "nas-bench-101")
    five = "best of the five first-ranked"
    return [
        *claim_of(cells, f"{CELLS_201}, its own labels: test accuracy, mean of 1,000", lambda r: means(r, "test"),
                  is_in_front=True),
        *claim_of(cells, f"{five}, by validation: validation accuracy", lambda r: means(r, "best_of_5")),
        *claim_of(first, "NAS-Bench-101, its own labels: test accuracy, mean of 1,000",
                  lambda r: means(r, "validation")),
        *claim_of(first, f"{five}, **by test**: test accuracy", lambda r: means(r, "best_of_5")),
    ]  # fmt: skip


def new_data_set(records: list[Record]) -> list[Claim]:
    """Claims about data sets of which no label was read."""
    found = claim_of(
        groups_of(records, "new-data-set", "nas-bench-201"),
        "NAS-Bench-201 (CIFAR-100 / ImageNet16-120), no label of these two: validation accuracy, mean of 1,000",
        lambda r: means(r, "validation"),
        is_in_front=True,
    )
    for kind in ("micro", "macro"):
        one_by_one = groups_of(records, "new-data-set", f"transnas-bench-101-{kind}", alone=True)
        text = f"TransNAS-Bench-101 {kind}, each data set held out by itself: median rank, averaged over the seven"
        found += claim_of(one_by_one, text, mean_rank)
    for alone, which in (
        (False, "all data sets but the first held out"),
        (True, "one data set held out at a time (those that were run)"),
    ):
        here = groups_of(records, "new-data-set", "nas-bench-graph", alone)
        found += claim_of(here, f"NAS-Bench-Graph, {which}: median rank, averaged", mean_rank)
    return found


def new_space(records: list[Record]) -> list[Claim]:
    """Claims about spaces of which no label was read."""
    cells = groups_of(records, "new-space", "nas-bench-201")
    unseen = f"{CELLS_201}, no label of the space"
    found = [
        *claim_of(cells, f"{unseen}: validation accuracy, mean of 1,000", lambda r: means(r, "validation"),
                  is_in_front=True),
        *claim_of(cells, f"{unseen}: validation accuracy of the first-ranked (an order that was selected on these "
                  "data sets)", lambda r: means(r, "best_of_1")),
        *claim_of(cells, "best of the five first-ranked, by validation: validation accuracy",
                  lambda r: means(r, "best_of_5")),
        *claim_of(groups_of(records, "new-space", "nas-bench-101"),
                  "NAS-Bench-101, no label of it: test accuracy, mean of 1,000", lambda r: means(r, "validation"),
                  is_in_front=True),
    ]  # fmt: skip
    for kind in ("micro", "macro"):
        here = groups_of(records, "new-space", f"transnas-bench-101-{kind}")
        text = f"TransNAS-Bench-101 {kind}, no label of it: median rank (50 % is chance), averaged over"
        found += claim_of(here, f"{text} all seven data sets", mean_rank, is_in_front=kind == "micro")
        found += claim_of(here, f"{text} scene, object, jigsaw, segmentation", lambda r: mean_rank(r, ALIKE), ALIKE)
    found += claim_of(groups_of(records, "new-space", "darts"),
                      "DARTS cells, no label of them: median rank by a surrogate", mean_rank,
                      is_in_front=True)  # fmt: skip
    found += claim_of(groups_of(records, "new-space", "nas-bench-graph"),
                      "NAS-Bench-Graph, no label of it: median rank, averaged over nine data sets; **worse than "
                      "chance**", mean_rank, is_in_front=True)  # fmt: skip
    return found


def trained_here(records: list[Record]) -> list[Claim]:
    """The claim about networks that were trained from scratch."""
    found = []
    for record in (record for record in records if record["protocol"] == "rank-by-training"):
        number = " / ".join(f"{g['accuracy']:.1f} ± {g['accuracy_std']:.1f}" for g in record["groups"])
        counts = " / ".join(str(group["cells"]) for group in record["groups"])
        text = (
            "NAS-Bench-201 cells trained here, small, no label of the space: accuracy of first-ranked / uniform "
            "random / first-ranked with the prior of the worst"
        )
        found.append(Claim(text, number, counts, f"`{record['command']}`", is_in_front=True))
    return found


def few_labels(records: list[Record]) -> list[Claim]:
    """Claims about the best of a few labels that were read; a search reads no architecture twice."""
    found = []

    def add(space: str, budget: int, text: str, column: str, digits: int, is_in_front: bool = False) -> None:
        for record in groups_of(records, "few-labels", space):
            rows = [row for row in record["rows"] if (row["method"], row["n"]) == ("pkgen", budget)]
            number = " / ".join(f"{row[column]:.{digits}f} ± {row[f'{column}_std']:.{digits}f}" for row in rows)
            found.append(Claim(text, number, f"{budget} read", f"`{record['command']}`", is_in_front))

    for budget in (20, 50, 100, 192):
        text = f"{CELLS_201}, {budget} labels: validation accuracy of the best by validation"
        add("nas-bench-201", budget, text, "validation", 2, is_in_front=budget == 20)
    for budget in (20, 192):
        text = f"NAS-Bench-101, {budget} labels: test accuracy of the best **by test**"
        add("nas-bench-101", budget, text, "validation", 2)
    for kind in ("micro", "macro"):
        text = f"TransNAS-Bench-101 {kind}, 50 labels: rank in % of the best by validation, on each data set"
        add(f"transnas-bench-101-{kind}", 50, text, "median_rank", 2)
    return found


def under_limits(records: list[Record]) -> list[Claim]:
    """Claims about generation under limits, with labels of other data sets of the space."""
    found = []
    for record in groups_of(records, "limits", "nas-bench-201"):
        rows = [row for row in record["rows"] if (row["method"], row["setting"]) == ("pkgen", "new-data-set")]
        command = f"`{record['command']}`"
        if "hypervolume" in rows[0]:
            number = " / ".join(f"{row['hypervolume']:.3f} ± {row['hypervolume_std']:.3f}" for row in rows)
            text = f"{CELLS_201}, no label of the data set: hypervolume of accuracy and edge-GPU latency of 100 "
            found.append(Claim(f"{text}generated, as a share of the true front's", number, NOT_RECORDED, command))
            continue
        for most in sorted({row["max_parameters"] for row in rows}):
            here = [row for row in rows if row["max_parameters"] == most]
            number = " / ".join(
                f"{row['best_of_5']:.2f} ± {row['best_of_5_std']:.2f} ({row['optimum']:.2f})" for row in here
            )
            text = (
                f"{CELLS_201}, no label of the data set, at most {most / 1e6} M parameters: validation accuracy of "
                "the best of 5 by validation (the best there is)"
            )
            counts = " / ".join(f"{row['n'] * row['unique']:.0f}" for row in here)
            tightest = most == min(row["max_parameters"] for row in rows)
            found.append(Claim(text, number, counts, command, is_in_front=tightest))
    return found
