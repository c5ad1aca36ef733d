"""Write the results: all tables to results/README.md, a summary into README.md: python recipes/report.py [--check]"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
START, END = "<!-- results: written by recipes/report.py -->", "<!-- end of results -->"
TITLES = {
    "same-benchmark": "Same benchmark: the bundled checkpoint on spaces and data sets it was trained on",
    "new-data-set": "New data set: no label of the target data sets was read",
    "new-space": "New space: no label of the target space, nor of one measured with it, was read",
    "few-labels": "Few labels: as new space, and the best of a few that were read",
    "prior-matters": "The prior matters: one checkpoint, several priors",
    "limits": "Under limits, no label of the target data set or space: parameters, and latency",
    "rank-by-training": "Trained here: what is generated, what chance gives and what a bad prior gives, all alike",
    "quality": "Quality of generation: validity, uniqueness, novelty, coverage of the best hundredth",
    "ablations": "Ablations: one part changed at a time",
}
Record = dict[str, Any]

# Numbers that others published, test accuracy in percent on CIFAR-10, CIFAR-100 and ImageNet16-120 of NAS-Bench-201.
PEERS_201 = [
    ("DiNAS", "192", "94.37", "73.51", "45.41", "its paper"),
    ("AG-Net", "192", "94.37", "73.51", "", "its paper"),
    ("DiffusionNAG", "1 and 2, and a whole benchmark's meta-data", "94.37", "73.51", "", "as EDNAG quotes it"),
    ("EDNAG", "at least 3,000 look-ups of test accuracy", "94.37", "73.51", "47.31", "its paper and code"),
    ("CoLLM-NAS", "100", "94.37±0.01", "73.44±0.15", "46.79±0.28", "its paper"),
    ("GraphPNAS", "100", "94.34±0.05", "73.35±0.21", "46.50±0.20", "its logs"),
    ("regularized evolution", "more than 500", "93.92±0.30", "71.84±0.99", "46.49±0.60", "EDNAG, CoLLM-NAS"),
    ("random search", "more than 500", "93.70±0.36", "71.04±1.07", "45.37±0.54", "EDNAG, CoLLM-NAS"),
]
PEERS_101 = [
    ("DiNAS", "192", "94.27±0.20", "its paper"),
    ("AG-Net", "192", "94.18±0.07", "its paper"),
    ("EDNAG", "", "94.46±0.01 (by its own averaging)", "its paper"),
    ("random search", "192", "93.59±0.42", "as AG-Net reports it"),
]
PEERS_COST = [
    ("DiffusionNAG", "3.43 GPU-hours", "8 (GPU), 0.55 (2 CPU cores)", "4.0 M"),
    ("DiNAS", "0.25 GPU-hours", "below 0.2 (GPU), 2.6 (2 CPU cores)", "42 M"),
    ("MetaD2A", "20 to 50 GPU-hours", "", ""),
    ("AG-Net", "", "0.0005 (2 CPU cores)", "42 thousand"),
    ("PNAG (CVPR 2026)", "", "0.006 (GPU)", ""),
    ("PG-NAG (the paper this follows)", "0.004 GPU-days, by its own account", "", ""),
]


def number(row: Record, column: str, digits: int = 2) -> str:
    """Mean and standard deviation of one column."""
    return f"{row[column]:.{digits}f} ± {row[f'{column}_std']:.{digits}f}"


def table(lines: list[list[str]], header: list[str]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines)]


def few_labels(record: Record) -> list[str]:
    """The rows of a file of few labels: what was found with how many."""
    header = ["data set", "method", "labels of it", "scores", "best read", "rank, %"]
    header += ["test of the same", "seconds a run"]
    return table(
        [
            [
                row["task"],
                row["method"],
                str(row["n"]),
                row["scores"],
                number(row, "validation"),
                number(row, "median_rank", 3),
                number(row, "test") if "test" in row else "",
                f"{row['seconds']:.1f}",
            ]
            for row in record["rows"]
        ],
        header,
    )


def under_limits(record: Record) -> list[str]:
    """The rows of a file of limits: the best of five beside the best there is, or the front of score and latency."""
    rows = record["rows"]
    if "hypervolume" in rows[0]:
        header = [
            "data set",
            "setting",
            f"hypervolume of score and latency on {record['device']}, share of the true one",
        ]
        header += ["the same, measured from the ends of the true front", "labels read"]
        lines: list[list[str]] = [
            [row["task"], row["setting"], number(row, "hypervolume", 3), number(row, "hypervolume_of_front", 3)]
            + [f"{sum(row['labels_read'].values()):,}"]
            for row in rows
        ]
        return table(lines, header)
    header = ["data set", "limit", "setting", "method", "first-ranked", "best of 5", "best there is"]
    header += ["test of selected", "seconds", "labels read"]
    lines = [
        [
            row["task"],
            row["variant"],
            row["setting"],
            row["method"],
            number(row, "best_of_1"),
            number(row, "best_of_5"),
            f"{row['optimum']:.2f}",
            number(row, "test_of_selected") if "test" in row else "",
            f"{row['seconds']:.2f}",
            f"{sum(row['labels_read'].values()):,}",
        ]
        for row in rows
    ]
    return table(lines, header)


def figures() -> list[str]:
    """The pictures that `recipes/figures.py` has drawn."""
    lines = []
    for path in sorted((ROOT / "results" / "figures").glob("*.png")):
        lines += [f"![{path.stem.replace('-', ' ')}](figures/{path.name})", ""]
    return lines


def by_training(record: Record) -> str:
    """The Markdown of a file of cells that were trained: groups, and how their order agrees with the benchmark's."""
    images = record["images"]
    lines = [
        [
            group["method"],
            str(group["cells"]),
            f"{group['accuracy']:.2f} ± {group['accuracy_std']:.2f}",
            f"{group['std_over_seeds']:.2f}",
            f"{group['benchmark']:.2f}",
            f"{sum(record['labels_read'].get(group['method'], {}).values()):,}",
        ]
        for group in record["groups"]
    ]
    header = ["group", "cells", "accuracy here", "deviation over seeds", "the benchmark's mean", "labels read"]
    taus = ", ".join(
        f"{record[name]['tau']:.2f} over {record[name]['cells']} cells {text} (p = {record[name]['p_value']:.3g})"
        for name, text in (("all", "of all groups"), ("without_the_worst", "without the worst prior's"))
    )
    text = [
        f"### {record['space']} on {record['task']}",
        "",
        f"`{record['command']}`: {record['seeds']} trainings of each cell, {record['epochs']} epochs on "
        f"{images['train']:,} images of {record['image_size']} pixels, accuracy on {images['validation']:,} others, "
        f"at the scale {record['scale']}; {sum(row['seconds'] for row in record['rows']) / 60:.0f} minutes in all. "
        f"Kendall's tau between accuracy here and the benchmark's: {taus}.",
    ]
    return "\n".join([*text, "", *table(lines, header), ""])


def section(record: Record) -> str:
    """The Markdown of one results file."""
    if record["protocol"] == "rank-by-training":
        return by_training(record)
    first, training = record["rows"][0], record["training"]
    few = record["protocol"] == "few-labels"
    size = f"{first['seeds']} runs" if few else f"n = {first['n']:,}, {first['seeds']} seeds"
    seed = f", training seed {training['seed']}" if training.get("seed") else ""
    text = [
        f"### {record['space']}{seed}",
        "",
        f"`{record['command']}`: {size}; denoiser of "
        f"{training['parameters']:,} parameters, trained in {training['seconds']:,.0f} s on {training['device']}.",
    ]
    if record.get("held_out"):
        text[-1] += f" Held out: {', '.join(record['held_out'])}."
    for task, error in {row["task"]: row.get("surrogate_error") for row in record["rows"]}.items():
        if error:
            text[-1] += (
                f" {task} is scored by a surrogate fitted to {error['n']:,} networks (5-fold cross-validation: mean "
                f"absolute error {error['mean_absolute_error']:.2f}, R² {error['r2']:.3f}, Kendall's tau "
                f"{error['kendall_tau']:.3f}); ranks are among 20,000 uniform random architectures."
            )
    if few or record["protocol"] == "limits":
        own = few_labels(record) if few else under_limits(record)
        return "\n".join([*text, "", *own, ""])
    parts = [column for column in ("variant", "setting") if column in first]
    header = [*parts, "data set", "scores", "method", "mean of all", "median rank, %", "first-ranked", "best of 5"]
    header += ["test, mean of all", "test of selected", "valid, %", "unique, %", "novel, %", "of the best 1 %, %"]
    header += ["seconds", "labels read"]
    lines = [
        [
            *(row[column] for column in parts),
            row["task"],
            row["scores"],
            row["method"],
            number(row, "validation"),
            number(row, "median_rank", 3),
            number(row, "best_of_1"),
            number(row, "best_of_5"),
            number(row, "test") if "test" in row else "",
            number(row, "test_of_selected") if "test" in row else "",
            f"{100 * row['validity']:.1f}",
            f"{100 * row['unique']:.1f}",
            f"{100 * row['novelty']:.1f}",
            f"{100 * row['coverage']:.1f}" if "coverage" in row else "",
            f"{row['seconds']:.2f}",
            f"{sum(row['labels_read'].values()):,}",
        ]
        for row in record["rows"]
    ]
    return "\n".join([*text, "", *table(lines, header), ""])


def few_labels_summary(records: list[Record]) -> list[str]:
    """What was found with each number of labels, beside other searches."""
    here = [record for record in records if record["protocol"] == "few-labels"]
    if not here:
        return []
    budgets = sorted({budget for record in here for budget in record["labels"]})
    lines: list[list[str]] = []
    for record in here:
        by = {(row["task"], row["method"], row["n"]): number(row, "validation") for row in record["rows"]}
        for task, method in dict.fromkeys((task, method) for task, method, _ in by):
            lines.append([record["space"], task, method, *(by.get((task, method, n), "") for n in budgets)])
    header = ["space", "data set", "", *(f"{budget} labels" for budget in budgets)]
    return [f"**{TITLES['few-labels']}**", "", *table(lines, header), ""]


def trainings(records: list[Record], protocol: str) -> list[tuple[str, list[Record]]]:
    """Records of a protocol by space, those that differ in the seed of training together."""
    spaces: dict[str, list[Record]] = {}
    for record in records:
        if record["protocol"] == protocol:
            key = record["space"] + str(sorted({row["task"] for row in record["rows"]}))
            spaces.setdefault(key, []).append(record)
    return [(here[0]["space"], here) for here in spaces.values()]


def over(records: list[Record], task: str, method: str, column: str) -> tuple[float, float, int]:
    """Mean and standard deviation over trainings, and their number; of one training, deviation over its seeds."""
    rows = [row for record in records for row in record["rows"] if (row["task"], row["method"]) == (task, method)]
    values = [row[column] for row in rows]
    spread = statistics.stdev(values) if len(values) > 1 else rows[0].get(f"{column}_std", 0.0)
    return statistics.mean(values), spread, len(values)


def summary(records: list[Record]) -> str:
    """PKGen beside its own prior at two temperatures, and chance: means of all, and median ranks in %."""
    header = ["space", "data set", "PKGen", "rank", "first-ranked", "best of 5", "prior alone", "rank", "sharp prior"]
    header += ["rank", "uniform", "rank"]
    parts = []
    for protocol in ("same-benchmark", "new-data-set", "new-space"):
        lines = []
        for space, here in trainings(records, protocol):
            for row in here[0]["rows"]:
                if row["method"] != "PKGen":
                    continue
                task = row["task"]
                note = {"validation": "", "test": " (test)", "surrogate": " (surrogate)"}[row["scores"]]
                name = space + (f" ({len(here)} trainings)" if len(here) > 1 else "")
                cells = [name, task + note]
                for column in ("validation", "median_rank", "best_of_1", "best_of_5"):
                    mean, spread, _ = over(here, task, "PKGen", column)
                    cells.append(f"{mean:.2f}" + (f" ± {spread:.2f}" if column != "median_rank" else ""))
                for method in ("prior alone, temperature 0.5", "prior alone, temperature 0.125", "uniform random"):
                    cells += [f"{over(here, task, method, column)[0]:.2f}" for column in ("validation", "median_rank")]
                lines.append(cells)
        if lines:
            parts += [f"**{TITLES[protocol]}**", "", *table(lines, header), ""]
    parts += few_labels_summary(records)
    return "\n".join(parts)


# ---------------------------------------------------------------------- claims


def claims(records: list[Record]) -> list[str]:
    """The table of claims: what, the command, the number that it prints."""
    lines = []

    def of(
        protocol: str, space: str, text: str, cell: Callable[[list[Record]], str], alone: bool | None = None
    ) -> None:
        here = [group for name, group in trainings(records, protocol) if name == space]
        if alone is not None:  # one data set held out at a time, or several together
            here = [group for group in here if (len({row["task"] for row in group[0]["rows"]}) == 1) == alone]
        if here:
            records_of = [record for group in here for record in group]
            commands = "; ".join(dict.fromkeys(f"`{record['command']}`" for record in records_of))
            if len(records_of) > 1 and protocol == "new-space":
                commands = f"`{here[0][0]['command'].split(' --train_seed')[0]} --train_seed S`, S = 0 to 4"
            elif alone:
                commands = f"`{here[0][0]['command'].split(' --task')[0]} --task TASK`, each by itself"
            lines.append([text, commands, cell(records_of)])

    def means(column: str, digits: int = 2) -> Callable[[list[Record]], str]:
        def cell(here: list[Record]) -> str:
            tasks = dict.fromkeys(row["task"] for record in here for row in record["rows"])
            return " / ".join(f"{over(here, task, 'PKGen', column)[0]:.{digits}f}" for task in tasks)

        return cell

    def with_labels(budget: int, column: str = "validation") -> Callable[[list[Record]], str]:
        def cell(here: list[Record]) -> str:
            rows = [row for row in here[0]["rows"] if (row["method"], row["n"]) == ("PKGen", budget)]
            return " / ".join(f"{row[column]:.2f}" for row in rows)

        return cell

    def unseen(here: list[Record], column: str, **of: str) -> list[Record]:
        rows = [row for record in here for row in record["rows"] if column in row]
        wanted = {"method": "PKGen", "setting": "new data set"} | of
        return [row for row in rows if all(row[name] == value for name, value in wanted.items())]

    def best_within(limit: str) -> Callable[[list[Record]], str]:
        def cell(here: list[Record]) -> str:
            rows = unseen(here, "optimum", variant=limit)
            return " / ".join(f"{row['best_of_5']:.2f} ({row['optimum']:.2f})" for row in rows)

        return cell

    def front(here: list[Record]) -> str:
        return " / ".join(f"{row['hypervolume']:.3f}" for row in unseen(here, "hypervolume"))

    def trained_here(here: list[Record]) -> str:
        return " / ".join(f"{group['accuracy']:.1f}" for group in here[0]["groups"])

    def mean_rank(tasks: tuple[str, ...]) -> Callable[[list[Record]], str]:
        def cell(here: list[Record]) -> str:
            known = {row["task"] for record in here for row in record["rows"]}
            ranks = [over(here, task, "PKGen", "median_rank")[0] for task in tasks or sorted(known)]
            return f"{statistics.mean(ranks):.1f} %"

        return cell

    cell_201 = "NAS-Bench-201 (CIFAR-10 / CIFAR-100 / ImageNet16-120)"
    alike = ("class_scene", "class_object", "jigsaw", "segmentsemantic")
    of("same-benchmark", "nas-bench-201", f"{cell_201}, its own labels: mean test accuracy", means("test"))
    of("same-benchmark", "nas-bench-201", "of the five first-ranked the best by validation", means("best_of_5"))
    of("same-benchmark", "nas-bench-101", "NAS-Bench-101, its own labels: mean test accuracy", means("validation"))
    of("same-benchmark", "nas-bench-101", "best of the five first-ranked", means("best_of_5"))
    of(
        "new-data-set",
        "nas-bench-201",
        "NAS-Bench-201, no label of CIFAR-100, ImageNet16-120: mean",
        means("validation"),
    )
    of("new-data-set", "transnas-bench-101-micro", "TransNAS-Bench-101 micro, each data set held out: median rank, "
       "averaged over the seven", mean_rank(()), alone=True)  # fmt: skip
    of("new-data-set", "transnas-bench-101-macro", "TransNAS-Bench-101 macro, likewise", mean_rank(()), alone=True)
    of("new-data-set", "nas-bench-graph", "NAS-Bench-Graph, all data sets but the first held out: median "
       "rank, averaged", mean_rank(()), alone=False)  # fmt: skip
    of("new-data-set", "nas-bench-graph", "NAS-Bench-Graph, one data set held out at a time (those that have a row "
       "of their own): median rank, averaged", mean_rank(()), alone=True)  # fmt: skip
    of("new-space", "nas-bench-201", f"{cell_201}, no label of the space: mean", means("validation"))
    of("new-space", "nas-bench-201", "first-ranked", means("best_of_1"))
    of("new-space", "nas-bench-201", "best of the five first-ranked", means("best_of_5"))
    for kind in ("micro", "macro"):
        text = f"TransNAS-Bench-101 {kind}, no label of it: median rank over scene, object, jigsaw, segmentation"
        of("new-space", f"transnas-bench-101-{kind}", text, mean_rank(alike))
    of("new-space", "nas-bench-101", "NAS-Bench-101, no label of it: mean", means("validation"))
    of("new-space", "darts", "DARTS cells, no label of them: median rank by a surrogate", mean_rank(()))
    of("rank-by-training", "nas-bench-201", "NAS-Bench-201 cells trained here: accuracy of first-ranked / uniform "
       "random / first-ranked with a bad prior", trained_here)  # fmt: skip
    for budget in (20, 50, 100, 192):
        text = f"{cell_201}, {budget} labels: best by validation"
        of("few-labels", "nas-bench-201", text, with_labels(budget))
    for budget in (20, 192):
        of(
            "few-labels",
            "nas-bench-101",
            f"NAS-Bench-101, {budget} labels: best by test, of which alone it has scores",
            with_labels(budget),
        )
    for limit in sorted({row["variant"] for record in records if record["protocol"] == "limits"
                         for row in record["rows"] if "variant" in row}):  # fmt: skip
        text = f"{cell_201}, no label of the data set, {limit}: best of 5 (best there is)"
        of("limits", "nas-bench-201", text, best_within(limit))
    of("limits", "nas-bench-201", "hypervolume of accuracy and edge-GPU latency of 100 generated, share of the true "
       "front's", front)  # fmt: skip
    for kind in ("micro", "macro"):
        text = f"TransNAS-Bench-101 {kind}, 50 labels: rank of the best found, in %, of each data set"
        of("few-labels", f"transnas-bench-101-{kind}", text, with_labels(50, "median_rank"))
    return [*table(lines, ["claim", "command", "expected number"]), ""]


def peers(records: list[Record]) -> list[str]:
    """What others published, beside ours."""
    text = ["## Beside what others published", ""]
    few = {record["space"]: record for record in records if record["protocol"] == "few-labels"}
    if "nas-bench-201" in few:
        rows = [row for row in few["nas-bench-201"]["rows"] if row["method"] == "PKGen"]
        lines = []
        for budget in few["nas-bench-201"]["labels"]:
            tests = [number(row, "test") if "test" in row else "" for row in rows if row["n"] == budget]
            lines.append(["PKGen, new space", str(budget), *tests, "this run"])
        lines += [list(peer) for peer in PEERS_201]
        header = ["NAS-Bench-201", "labels read", "CIFAR-10", "CIFAR-100", "ImageNet16-120", "source"]
        text += ["Test accuracy of what validation selects, for PKGen; of what each source says, for the others.", ""]
        text += [*table(lines, header), ""]
    if "nas-bench-101" in few:
        rows = [row for row in few["nas-bench-101"]["rows"] if row["method"] == "PKGen"]
        lines = [["PKGen, new space", str(row["n"]), number(row, "validation"), "this run"] for row in rows]
        lines += [list(peer) for peer in PEERS_101]
        text += [*table(lines, ["NAS-Bench-101", "labels read", "test accuracy", "source"]), ""]
    return text


def cost(records: list[Record]) -> list[str]:
    """What training and generation take."""
    text = [
        "## Cost",
        "",
        "Training includes measuring the priors of all episodes, not what a benchmark's authors measured; "
        "seconds an architecture are those of a batch of 1,000, ranking included, divided by 1,000, in the run that "
        "made the tables. A CPU-hour is not a GPU-hour.",
        "",
    ]
    lines = []
    for record in records:
        training = record["training"]
        own = [row for row in record["rows"] if row["method"] == "PKGen"]
        if record["protocol"] not in ("same-benchmark", "new-space", "new-data-set") or not own:
            continue
        seed = f", training seed {training['seed']}" if training.get("seed") else ""
        hours = f"{training['seconds'] / 3600:.2f} hours on {training['device']}"
        seconds = statistics.mean(row["seconds"] / row["n"] for row in own)
        cells = [f"PKGen, {record['protocol']} {record['space']}{seed}", hours]
        lines.append([*cells, f"{seconds:.5f} ({record['threads']} CPU threads)", f"{training['parameters']:,}"])
    lines += [list(peer) for peer in PEERS_COST]
    return [*text, *table(lines, ["", "training", "seconds an architecture", "parameters"]), ""]


def whole_runs(records: list[Record]) -> list[str]:
    """What reproducing everything took."""
    lines = []
    for record in records:
        what = ", ".join(record["space"]) if record["space"] else "everything"
        hours, minutes = divmod(round(record["seconds"] / 60), 60)
        taken = f"{hours} h {minutes} min" if hours else f"{minutes} min"
        lines.append([what, f"`{record['command']}`", str(len(record["rows"])), str(record["trained_before"])])
        lines[-1] += [str(record["cores"]), taken]
    header = ["reproduced in one run", "command", "commands in it", "trainings found done before", "CPU cores", "took"]
    return [*table(lines, header), ""] if lines else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    options = parser.parse_args()
    records = [json.loads(path.read_text()) for path in sorted((ROOT / "results").glob("[!.]*.json"))]
    wholes = [json.loads(path.read_text()) for path in sorted((ROOT / "results" / "timings").glob("[!.]*.json"))]
    before, rest = (ROOT / "README.md").read_text().split(START)
    after = rest.split(END)[1]
    whole = ["# Results", "", "Written by `python recipes/report.py` from the JSON files beside it.", ""]
    whole += ["## Claims", "", *claims(records), *peers(records), *cost(records), *whole_runs(wholes)]
    whole += ["## Figures", "", *figures()]
    for protocol, title in TITLES.items():
        here = [section(record) for record in records if record["protocol"] == protocol]
        whole += [f"## {title}", "", *here] if here else []
    texts = {
        ROOT / "README.md": "\n".join(
            [f"{before}{START}\n", *claims(records), *whole_runs(wholes), summary(records), f"{END}{after}"]
        ),
        ROOT / "results" / "README.md": "\n".join(whole),
    }
    for path, text in texts.items():
        if not options.check:
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
        elif not path.is_file() or text != path.read_text():
            sys.exit(f"{path.relative_to(ROOT)} is out of date: run python recipes/report.py")


if __name__ == "__main__":
    main()
