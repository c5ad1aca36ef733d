"""Numbers that others published, beside ours, and what training and generation cost."""

from __future__ import annotations

import statistics

from result_tables import Record, number, table

# Test accuracy in percent on CIFAR-10, CIFAR-100 and ImageNet16-120 of NAS-Bench-201.
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


def peers(records: list[Record]) -> list[str]:
    """What others published, beside ours."""
    text = ["## Beside what others published", ""]
    few = {record["space"]: record for record in records if record["protocol"] == "few-labels"}
    if "nas-bench-201" in few:
        rows = [row for row in few["nas-bench-201"]["rows"] if row["method"] == "pkgen"]
        lines = []
        for budget in few["nas-bench-201"]["labels"]:
            tests = [number(row, "test") if "test" in row else "" for row in rows if row["n"] == budget]
            lines.append(["PKGen, new space", str(budget), *tests, "this run"])
        lines += [list(peer) for peer in PEERS_201]
        header = ["NAS-Bench-201", "labels read", "CIFAR-10", "CIFAR-100", "ImageNet16-120", "source"]
        text += ["Test accuracy of what validation selects, for PKGen; of what each source says, for the others.", ""]
        text += [*table(lines, header), ""]
    if "nas-bench-101" in few:
        rows = [row for row in few["nas-bench-101"]["rows"] if row["method"] == "pkgen"]
        lines = [["PKGen, new space", str(row["n"]), number(row, "validation"), "this run"] for row in rows]
        lines += [list(peer) for peer in PEERS_101]
        text += ["NAS-Bench-101's table has test scores alone: PKGen's rows **select by test**.", ""]
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
        own = [row for row in record["rows"] if row["method"] == "pkgen"]
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
