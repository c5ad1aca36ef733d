"""Write what the results say, to README.md and docs/results: python recipes/report.py [--check]

From results/*.json come the table in README.md, docs/results/README.md with all claims, and for each space a page of
tables and a CSV file of all rows.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from claims import claims, claims_table
from pkgen_hf.evaluation.protocols import PROTOCOLS
from published import cost, peers, whole_runs
from result_tables import WITHOUT_LABELS, Record, as_csv, section, summary

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "results"
START, END = "<!-- results: written by recipes/report.py -->", "<!-- end of results -->"
HOW_TO_READ = """\
Scores are those that select: validation scores (accuracies in percent where the task is a classification), or test
scores where the table that was read has nothing else, which is marked "(test)": there the best of five and the best of
few labels **select by test**. "(surrogate)": the benchmark measured a sample of its space, and a model
fitted to it scores
the rest. PKGen is the mean of all samples as they come, ± the standard deviation over 5 seeds of generation, or over
trainings where there are several. Rank is the median, in percent of the space: 50 is chance. "Distinct" is how many
different architectures there are among the samples, on average over seeds. "First-ranked" and "best of 5" are the
distinct ones that the pipeline itself ranks first, the five by the best score that selects.

"Prior alone" samples every slot independently from the same prior at the pipeline's temperature of 0.5, "sharp prior"
at 0.125. Invalid samples are drawn again, up to 100 times, here and for "uniform", and those that are left have the
score of chance.
"""
VERSION = """\
These results, and the bundled checkpoint, are of the version before isomorphic cells counted once in measured priors
(1 of the best 20 on NAS-Bench-201's CIFAR-10 and on TransNAS micro's jigsaw was a copy, 5 on NAS-Bench-Macro), and
before the chance scores of three TransNAS tasks were derived from the tasks. Generation from the bundled checkpoint is
the same; trainings made anew may differ a little.
"""


def read_records(folder: Path) -> dict[str, Record]:
    """The results files of a folder, by their names."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("[!.]*.json"))}


def front(readme: str, records: list[Record]) -> str:
    """README with its table of claims."""
    before, rest = readme.split(START)
    rows = claims_table(claim for claim in claims(records) if claim.is_in_front)
    return "\n".join([f"{before}{START}\n", *rows, END + rest.split(END)[1]])


def index(records: list[Record], wholes: list[Record], spaces: list[str]) -> str:
    """The first page of the results: all claims, how to read them, and where the rest is."""
    text = ["# Results", "", "Written by `python recipes/report.py` from `results/*.json`, which hold all digits.", ""]
    text += ["What the tables show and do not show is in [limitations](../limitations.md).", ""]
    text += ["## Claims", "", HOW_TO_READ, *claims_table(claims(records)), *whole_runs(wholes), VERSION]
    text += ["## Spaces", "", "A page of tables for each space, and all rows as CSV:", ""]
    text += [f"- [{space}]({space}.md), [CSV]({space}.csv)" for space in spaces]
    return "\n".join([*text, "", *peers(records), *cost(records)])


def page(space: str, records: dict[str, Record]) -> str:
    """All tables of a space, protocol by protocol, with its figures."""
    text = [f"# Results on {space}", ""]
    text += [f"Written by `python recipes/report.py`; all rows as [CSV]({space}.csv).", ""]
    text += ["How to read the columns: [results](README.md#claims).", "", *figures(space)]
    for protocol in PROTOCOLS.values():
        here = {name: record for name, record in records.items() if record["protocol"] == protocol.id}
        if here:
            text += [f"## {protocol.title}", "", f"{protocol.reads[0].upper()}{protocol.reads[1:]}.", ""]
        if here and protocol.id in WITHOUT_LABELS:
            text += summary(list(here.values()), protocol.id, space)
        for name, record in here.items():
            text += section(record, name)
    return "\n".join(text)


def figures(space: str) -> list[str]:
    """The pictures of a space that `recipes/figures.py` has drawn."""
    lines = []
    for path in sorted((ROOT / "results" / "figures").glob(f"*-{space}.png")):
        lines += [f"![{path.stem.replace('-', ' ')}](../../results/figures/{path.name})", ""]
    return lines


def files(readme: str) -> dict[Path, str]:
    """Every file that is written, and its text."""
    by_name, wholes = read_records(ROOT / "results"), read_records(ROOT / "results" / "timings")
    records = list(by_name.values())
    spaces = sorted({record["space"] for record in records})
    texts = {ROOT / "README.md": front(readme, records)}
    texts[PAGES / "README.md"] = index(records, list(wholes.values()), spaces)
    for space in spaces:
        here = {name: record for name, record in by_name.items() if record["space"] == space}
        texts[PAGES / f"{space}.md"] = page(space, here)
        texts[PAGES / f"{space}.csv"] = as_csv(here)
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    options = parser.parse_args()
    texts = files((ROOT / "README.md").read_text())
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
