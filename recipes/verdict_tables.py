"""Tables of verdicts: PKGen against the best baseline, in short for README.md and in full for docs/results."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from pkgen_hf.evaluation.measures import MEASURES
from pkgen_hf.evaluation.methods import METHODS
from pkgen_hf.evaluation.protocols import PROTOCOLS
from pkgen_hf.evaluation.statistics import Comparison
from verdicts import PRIOR, Key, Verdict, best_baseline, counts, share_beating_labels, verdicts

MARKS = {"ahead": "▲", "equal": "=", "behind": "▼"}
BY_TEST = "†"
MAIN = "few_rank"  # the measure of the table in README.md
IN_FULL = {"few_rank": "best of 8", "first_rank": "first", "median_rank": "median of 100"}
SEARCH_NAMES = {"few_rank": "best label read"}
Column = tuple[str, str]  # protocol and setting
Beside = dict[str, dict[Key, list[Verdict]]]  # by measure, see `verdicts`

LEGEND = """\
Each number is how many percent of the space PKGen's rank is better (+) or worse (-) than the best baseline's; the rank
is that of the best of 8 architectures, or of the best label read in "ask and tell". ▲ ahead, ▼ behind, = equal: within
two standard errors of the paired differences. Which baseline is best was chosen on the same runs, which favours it.
"""


def all_verdicts(runs: pd.DataFrame) -> Beside:
    """PKGen beside every baseline by each measure; see `verdicts.compared` for the runs."""
    return {measure: verdicts(runs, measure) for measure in MEASURES if measure in runs}


def table(lines: Iterable[list[str]], header: list[str]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *lines)]


def rank(value: float) -> str:
    """A rank in percent, with more digits where it is small."""
    if 0 < value < 0.0001:
        return "<0.0001"
    digits = 2 if value >= 0.1 or value == 0 else 3 if value >= 0.001 else 4
    return f"{value:.{digits}f}"


def signed(value: float) -> str:
    """A difference with its sign."""
    return "0" if value == 0 else ("+" if value > 0 else "-") + rank(abs(value))


def difference(comparison: Comparison, with_error: bool = False) -> str:
    """A difference with its mark, bold only where PKGen is ahead."""
    text = f"{MARKS[comparison.verdict]} {signed(comparison.difference)}"
    text += f" ± {rank(comparison.error)}" if with_error else ""
    return f"**{text}**" if comparison.verdict == "ahead" else text


def tally(found: Iterable[Verdict]) -> str:
    """How many are ahead, equal and behind."""
    return " / ".join(map(str, counts(found)))


def columns_of(keys: Iterable[Key]) -> dict[Column, str]:
    """Protocols with their settings that some keys have, and their titles, in the order of `PROTOCOLS`."""
    there = {key[:2] for key in keys}
    found = {}
    for protocol in PROTOCOLS.values():
        for setting in protocol.settings:
            if (protocol.id, setting) in there:
                several = len(protocol.settings) > 1
                found[protocol.id, setting] = protocol.title + (f": {title_of(setting)}" if several else "")
    return found


def title_of(setting: str) -> str:
    """What tables call a setting."""
    return PROTOCOLS[setting].title.lower()


def family(method: str) -> str:
    """The name of a method, the prior alone without its temperature."""
    return "prior alone" if method.startswith(PRIOR) else METHODS[method].name


# ---------------------------------------------------------------------- in short


def front_table(beside: Beside) -> list[str]:
    """The table of README.md: a row a space, a column a protocol and setting, and counts below."""
    best = {key: best_baseline(found) for key, found in beside.get(MAIN, {}).items() if found}
    if not best:
        return ["No results yet.", ""]
    columns = columns_of(best)
    lines = []
    for space in sorted({key[2] for key in best}):
        here = [best.get((*column, space)) for column in columns]
        by_test = any(verdict.by_test for verdict in here if verdict)
        cells = [difference(verdict.comparison) if verdict else "" for verdict in here]
        lines.append([f"{space} {BY_TEST}" if by_test else space, *cells])
    groups = {"ahead / equal / behind": False, f"the same of {BY_TEST}": True}
    for name, by_test in groups.items():
        of_group = [verdict for verdict in best.values() if verdict.by_test == by_test]
        if of_group:
            by_column = [[v for v in of_group if v.key[:2] == column] for column in columns]
            lines.append([name, *(tally(found) if found else "" for found in by_column)])
    text = [*LEGEND.splitlines()]
    if any(verdict.by_test for verdict in best.values()):
        text.append(f"{BY_TEST}: the table has test scores only, so that test scores select; counted separately.")
    return [*text, "", *table(lines, ["space", *columns.values()]), ""]


# ---------------------------------------------------------------------- in full


def counts_table(beside: Beside) -> list[str]:
    """How often PKGen is ahead of the best baseline, equal and behind, by protocol and measure."""
    best = {
        measure: [best_baseline(found) for found in of_measure.values() if found]
        for measure, of_measure in beside.items()
    }
    lines = []
    for column, title in columns_of(verdict.key for found in best.values() for verdict in found).items():
        cells = []
        for found in best.values():
            here = [verdict for verdict in found if verdict.key[:2] == column]
            by_test = [verdict for verdict in here if verdict.by_test]
            others = [verdict for verdict in here if not verdict.by_test]
            text = [tally(others)] if others else []
            text += [f"{BY_TEST} {tally(by_test)}"] if by_test else []
            cells.append("; ".join(text))
        lines.append([title, *cells])
    return [*table(lines, ["protocol", *(MEASURES[measure] for measure in best)]), ""]


def baselines_table(beside: Beside) -> list[str]:
    """How often PKGen is ahead of each baseline, equal and behind, over spaces whose scores are not of test."""
    found = [v for of_key in beside.get(MAIN, {}).values() for v in of_key if not v.by_test]
    columns = columns_of(verdict.key for verdict in found)
    lines = []
    for name in dict.fromkeys(family(verdict.baseline) for verdict in found):
        cells = []
        for column in columns:
            here = [v for v in found if v.key[:2] == column and family(v.baseline) == name]
            cells.append(tally(here) if here else "")
        lines.append([name, *cells])
    return [*table(lines, ["baseline", *columns.values()]), ""] if lines else []


def protocol_table(protocol: str, beside: Beside, runs: pd.DataFrame) -> list[str]:
    """PKGen against the best baseline by a protocol: a row a setting and space."""
    is_search = PROTOCOLS[protocol].is_search
    measures = {m: name for m, name in (SEARCH_NAMES if is_search else IN_FULL).items() if m in beside}
    best = {
        measure: {key: best_baseline(of) for key, of in beside[measure].items() if of and key[0] == protocol}
        for measure in measures
    }
    keys = list(dict.fromkeys(key for found in best.values() for key in found))
    keys.sort(key=lambda key: (PROTOCOLS[protocol].settings.index(key[1]), key[2]))
    several = len(PROTOCOLS[protocol].settings) > 1
    header = [*(["setting"] if several else []), "space", "runs (trainings)"]
    for name in measures.values():
        header += [f"{name}: PKGen", "best baseline", "difference"]
    of_labels = labels_columns(runs) if protocol == "given-labels" else {}
    header += ["best label given", "the best of 8 is better, % of runs"] if of_labels else []
    lines = []
    for key in keys:
        first = next(found[key] for found in best.values() if key in found)
        mark = f" {BY_TEST}" if first.by_test else ""
        cells = [*([title_of(key[1])] if several else []), key[2] + mark, f"{first.runs} ({first.trainings})"]
        for found in best.values():
            verdict = found.get(key)
            cells += ["", "", ""] if verdict is None else [
                rank(verdict.means[0]), f"{rank(verdict.means[1])}, {METHODS[verdict.baseline].name}",
                difference(verdict.comparison, with_error=True),
            ]  # fmt: skip
        lines.append([*cells, *of_labels.get(key[1:], [""] * 2)] if of_labels else cells)
    return [*table(lines, header), ""] if lines else []


def labels_columns(runs: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Rank of the best label that is given, and how often PKGen's best of 8 is better, by setting and space."""
    own = runs[(runs["protocol"] == "given-labels") & (runs["method"] == "pkgen")]
    if own.empty:
        return {}
    ranks = own.groupby(["setting", "space"])["best_label_rank"].mean()
    shares = share_beating_labels(own).groupby(["setting", "space"]).mean()
    return {(str(s), str(p)): [rank(ranks[s, p]), f"{shares[s, p]:.0f}"] for s, p in ranks.index}


def beating_labels_table(runs: pd.DataFrame) -> list[str]:
    """How often the best of 8 is better than the best label given, by number of labels and method."""
    shares = share_beating_labels(runs)
    if shares.empty:
        return []
    by = shares.groupby(["setting", "method", "num_labels"]).mean().unstack("num_labels")
    lines = []
    for setting in PROTOCOLS["given-labels"].settings:
        for method in METHODS.values():
            if (setting, method.id) in by.index:
                numbers = [f"{value:.0f}" for value in by.loc[(setting, method.id)]]
                lines.append([title_of(setting), method.name, *numbers])
    return [*table(lines, ["setting", "method", *(f"{number} labels" for number in by.columns)]), ""]
