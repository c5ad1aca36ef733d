"""The section of the results on what each part of PKGen is good for."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ablation_table import as_markdown, read_ablations, summary, that_pay_nowhere, verdicts
from pkgen_hf.evaluation.measures import FEW
from pkgen_hf.evaluation.protocols import PROTOCOLS
from pkgen_hf.evaluation.statistics import Comparison
from variants import PARTS
from verdict_tables import MAIN, difference, table
from verdicts import ABLATIONS

INTRO = """\
One part is changed at a time, in the same runs. Counted are cells, a space and protocol each, in which the part as it
is helps, hurts, or makes no difference within two standard errors; the mean difference of ranks is in brackets.
"""


def ablations(results: Path) -> list[str]:
    """What the ablations in a folder of results show, as Markdown; empty where there are none."""
    if not any((results / "runs").glob(f"{ABLATIONS}-*.parquet")):
        return []
    found = verdicts(read_ablations(results))
    counts = summary(found)
    nowhere = ", ".join(f"{PARTS[part].title} ({value})" for part, value in that_pay_nowhere(counts)) or "none"
    text = ["## Ablations", "", INTRO, *as_markdown(counts), "", f"Parts that help in no cell: {nowhere}.", ""]
    text += [
        f"Rank of the best of {FEW} in percent of the space, by which the part as it is is better (+) or worse (-):"
    ]
    return [*text, "", *cells_table(found[found["measure"] == MAIN]), ""]


def cells_table(found: pd.DataFrame) -> list[str]:
    """Every difference: a row a space and protocol, a column a part and the value that it is changed to."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in found.to_dict("records"):
        name = f"{PARTS[row['part']].title}: {row['value']}"
        here = cells.setdefault((row["space"], row["protocol"]), {})
        here[name] = difference(Comparison(row["difference"], row["error"]))
    names = list(dict.fromkeys(name for here in cells.values() for name in here))
    lines = [
        [space, PROTOCOLS[protocol].title, *(here.get(name, "") for name in names)]
        for (space, protocol), here in cells.items()
    ]
    return table(lines, ["space", "protocol", *names])
