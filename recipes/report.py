"""Write the results tables of README.md from results/*.json: python recipes/report.py [--check]"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
START, END = "<!-- results: written by recipes/report.py -->", "<!-- end of results -->"
TITLES = {
    "new-data-set": "New data set: no label of the target data set was read",
    "same-benchmark": "Same benchmark: the bundled checkpoint",
    "prior-matters": "The prior matters: one checkpoint, several priors",
}


def number(row: dict[str, Any], column: str, digits: int = 2) -> str:
    """Mean and standard deviation of one column."""
    return f"{row[column]:.{digits}f} ± {row[f'{column}_std']:.{digits}f}"


def section(record: dict[str, Any]) -> str:
    """The Markdown of one results file."""
    first = record["rows"][0]
    lines = [
        f"### {TITLES[record['protocol']]} ({record['space']})",
        "",
        f"`{record['command']}`: n = {first['n']:,}, {first['seeds']} seeds; denoiser of "
        f"{record['training']['parameters']:,} parameters, trained in {record['training']['seconds']:,.0f} s on "
        f"{record['training']['device']}.",
        "",
        "| data set | method | mean of all | median rank, % | first-ranked | best of 5 | test, mean of all "
        "| unique, % | seconds | labels read |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        cells = [
            row["task"],
            row["method"],
            number(row, "validation"),
            number(row, "median_rank", 3),
            number(row, "best_of_1"),
            number(row, "best_of_5"),
            number(row, "test") if "test" in row else "not in the table",
            f"{100 * row['unique']:.1f}",
            f"{row['seconds']:.2f}",
            f"{sum(row['labels_read'].values()):,}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail if README.md is out of date")
    options = parser.parse_args()
    records = [json.loads(path.read_text()) for path in sorted((ROOT / "results").glob("*.json"))]
    readme = ROOT / "README.md"
    before, rest = readme.read_text().split(START)
    after = rest.split(END)[1]
    text = before + START + "\n\n" + "\n".join(section(record) for record in records) + "\n" + END + after
    if options.check:
        if text != readme.read_text():
            sys.exit("README.md is out of date: run python recipes/report.py")
        return
    readme.write_text(text)
    print(f"wrote {len(records)} tables into README.md")


if __name__ == "__main__":
    main()
