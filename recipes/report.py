"""Write what the results say, to README.md and docs/results: python recipes/report.py [--check]

From results/*.json and results/runs/*.parquet come the table in README.md, docs/results/README.md with verdicts on
PKGen beside every baseline, and for each space a page of tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from ablation_section import ablations
from pkgen_hf.evaluation.measures import FEW, SET
from pkgen_hf.evaluation.protocols import PROTOCOLS
from published import cost, peers, trainings_table, whole_runs
from result_files import read_records
from result_tables import Record, section, trained_here
from verdict_tables import (
    Beside,
    all_verdicts,
    baselines_table,
    beating_labels_table,
    counts_table,
    front_table,
    protocol_table,
)  # fmt: skip
from verdicts import all_runs, compared

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "results"
START, END = "<!-- results: written by recipes/report.py -->", "<!-- end of results -->"
HOW_TO_READ = f"""\
**What is measured.** Every method gives {SET} distinct architectures, in its own order. Their ranks are in percent of
all architectures of the space (within the budget, if there is one): 0 is the best, 50 is chance. "First" is the rank
of the first, "best of {FEW}" of the best of the first {FEW} by the score that selects, "median" that of all {SET}.
In "ask and tell", methods choose in turns which architectures they read labels of; the rank is that of the best.

**Which scores.** Validation scores. "†": the table has test scores only, so that **test scores select**; these rows
are counted separately. "(surrogate)": the benchmark measured a sample of its space, and a model fitted to it scores
the rest; its error is on the page of the space.

**What is compared.** In a run all methods have the same labels, budgets and, where they use the model, the same
training. Ranks are averaged over data sets and conditions in each run; then differences are paired over runs. ▲ is
ahead and ▼ behind by more than two standard errors, = is equal. Runs that share a training are not independent:
standard errors do not show all that another training would change. How many trainings there are stands beside the
runs. The best baseline is the one with the best mean over the runs that it is compared in, which favours it.

**Prior alone** samples every slot independently from a prior: measured on the given labels where there are any, else
the one that PKGen is conditioned on. It counts as one baseline, at the temperature that is best on the other spaces of
the same protocol and setting, never on the space itself.

**Given labels.** All methods get the same random labels. Searches that choose as many labels themselves are baselines
there, too, by the best label that they read; beside the best of 8, which takes eight measurements, they read eight
more.
"""


def front(readme: str, beside: Beside) -> str:
    """README with its table of verdicts."""
    before, rest = readme.split(START)
    return "\n".join([f"{before}{START}\n", *front_table(beside), END + rest.split(END)[1]])


def index(records: dict[str, Record], runs: pd.DataFrame, beside: Beside, results: Path) -> str:
    """The first page of the results: how to read them, all verdicts, ablations, peers, costs and commands."""
    text = ["# Results", "", "Written by `python recipes/report.py` from `results/*.json` and `results/runs`.", ""]
    text += ["What the tables show and do not show is in [limitations](../limitations.md).", ""]
    text += ["## How to read", "", HOW_TO_READ, made_with(records), ""]
    text += ["## PKGen against the best baseline", "", "Spaces in which PKGen is ahead / equal / behind:", ""]
    text += [*counts_table(beside), *pictures(results / "figures", "all-spaces")]
    for protocol in PROTOCOLS.values():
        rows = protocol_table(protocol.id, beside, runs)
        if rows:
            text += [f"### {protocol.title}", "", f"{protocol.asks[0].upper()}{protocol.asks[1:]}.", "", *rows]
    shares = beating_labels_table(runs)
    if shares:
        text += [
            "## The best of 8 and the best label",
            "",
            "In how many percent of runs with given labels the best of",
        ]
        text += [f"the first {FEW} is better than the best label, mean over spaces and data sets:", "", *shares]
    text += ["## PKGen against each baseline", "", "By the rank of the best of 8 (of the best label read): spaces in"]
    text += ["which PKGen is ahead / equal / behind, without those where test scores select.", ""]
    text += [*baselines_table(beside), *ablations(results)]
    text += ["## Spaces", "", "A page of tables and figures for each space:", ""]
    text += [f"- [{space}]({space}.md)" for space in spaces_of(records)]
    text += ["", *peers(records.values()), *cost(records.values())]
    text += ["## Trainings and commands", "", *trainings_table(records.values())]
    text += whole_runs(read_json(results / "timings"))
    text += ["Each results file is made again by its command, which stands on the page of its space.", ""]
    return "\n".join(text)


def made_with(records: dict[str, Record]) -> str:
    """Which versions of the package made how many of the results."""
    counts = Counter(record["versions"]["pkgen-hf"] for record in records.values())
    versions = ", ".join(f"{version} ({number})" for version, number in sorted(counts.items()))
    return f"**Versions** of pkgen-hf that made these results, and how many files of them: {versions}."


def pictures(figures: Path, name: str) -> list[str]:
    """The figures of a space, or of all, that recipes/figures.py has drawn."""
    lines = []
    for path in sorted(figures.glob(f"*-of-{name}.png")):
        lines += [f"![{path.stem.replace('-', ' ')}](../../results/figures/{path.name})", ""]
    return lines


def read_json(folder: Path) -> list[Record]:
    """Every JSON file of a folder, in the order of their names."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("[!.]*.json"))]


def spaces_of(records: dict[str, Record]) -> list[str]:
    """The spaces that results of protocols are of."""
    return sorted({record["space"] for record in records.values() if record["protocol"] in PROTOCOLS})


def page(space: str, records: dict[str, Record], trained: list[Record], figures: Path) -> str:
    """All tables of a space, protocol by protocol, with its figures."""
    text = [f"# Results on {space}", "", "Written by `python recipes/report.py`.", ""]
    text += ["How to read the columns: [results](README.md#how-to-read). Numbers are means ± standard deviations over"]
    text += ["runs; the Parquet files hold all runs.", ""]
    text += pictures(figures, space)
    for protocol in PROTOCOLS:
        for name, record in records.items():
            if (record["protocol"], record["space"]) == (protocol, space):
                text += section(record, name)
    for record in (record for record in trained if record["space"] == space):
        text += trained_here(record)
    return "\n".join(text)


def files(readme: str, results: Path) -> dict[Path, str]:
    """Every file that is written, and its text."""
    records = read_records(results)
    runs = compared(all_runs(results, records))
    trained = read_json(results / "trained")
    beside = all_verdicts(runs)
    texts = {ROOT / "README.md": front(readme, beside)}
    texts[PAGES / "README.md"] = index(records, runs, beside, results)
    for space in sorted({*spaces_of(records), *(record["space"] for record in trained)}):
        texts[PAGES / f"{space}.md"] = page(space, records, trained, results / "figures")
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    options = parser.parse_args()
    try:
        texts = files((ROOT / "README.md").read_text(), ROOT / "results")
    except ValueError as error:
        sys.exit(f"error: {error}")
    for path in PAGES.glob("*"):
        if path not in texts:
            sys.exit(f"{path.relative_to(ROOT)} is of no results file: delete it")
    for path, text in texts.items():
        if not options.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")
        elif not path.is_file() or text != path.read_text():
            sys.exit(f"{path.relative_to(ROOT)} is out of date: run python recipes/report.py")


if __name__ == "__main__":
    main()
