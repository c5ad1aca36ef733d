"""The HTML of the app's results: figures, the ranked table, the prior as bars; and the style sheet.

Everything is plain HTML that fits a phone, with a text for every picture: no script, nothing from elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ..budgets import Budget
from ..drawing.per_layer import describe
from ..drawing.texts import label, short_name
from ..priors.prior import Prior
from ..requests.answer import GenerationAnswer
from ..requests.front import Front

MOST_SLOTS, MOST_CHOICES = 24, 5  # of the prior that are shown: those that say most
NARROW, WIDE = 260, 560  # points: pictures that go three to a line, and those that take a line, and are never smaller

CSS = """
.gradio-container {max-width: 1240px !important}
.gradio-container .html-container {padding: 0 !important}
.gradio-container :is(input, textarea, button, [tabindex]):focus-visible {outline: 2px solid #0072b2 !important;
  outline-offset: 1px}
.pk h2 {font-size: 1.15rem; font-weight: 600; margin: 1.2rem 0 .4rem}
.pk p {margin: .3rem 0; overflow-wrap: anywhere}
.pk .note {font-size: .875rem; line-height: 1.4; opacity: .85}
.pk-hidden {position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%)}
.pk-status p {padding: .6rem .8rem; border-radius: 8px; border: 1px solid var(--border-color-primary);
  background: var(--background-fill-secondary); overflow-wrap: anywhere; margin: 0}
.pk-status p[role=alert] {border: 2px solid #b91c1c; background: #fef2f2; color: #7f1d1d}
.pk-figures {display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: .8rem}
.pk-figures.narrow {grid-template-columns: repeat(auto-fill, minmax(min(100%, 220px), 1fr))}
.pk-figures figure {margin: 0; border: 1px solid var(--border-color-primary); border-radius: 8px; overflow: hidden;
  display: flex; flex-direction: column; background: white}
.pk-figures figure > div {flex: 1; display: flex; align-items: center; overflow-x: auto}
.pk-figures img {display: block; max-width: 100%; height: auto; margin: 0 auto}
.pk-figures .wide {grid-column: 1 / -1}
.pk-figures .wide img {max-width: max(100%, 560px)}
.pk-figures figcaption {padding: .4rem .7rem; font-size: .875rem; color: #222; border-top: 1px solid #ddd}
.pk-front {border: 1px solid var(--border-color-primary); border-radius: 8px; overflow: hidden; background: white}
.pk-front img {display: block; width: 100%; max-width: 640px; height: auto; margin: 0 auto}
.pk-table {overflow-x: auto}
.pk-table table {width: 100%; border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums}
.pk-table th, .pk-table td {padding: .3rem .45rem; text-align: right; vertical-align: bottom}
.pk-table thead th {border-bottom: 2px solid var(--border-color-primary); font-weight: 600}
.pk-table tr.string td {text-align: left; padding: 0 .45rem .6rem;
  border-bottom: 1px solid var(--border-color-primary)}
.pk-table code {overflow-wrap: anywhere; font-size: .8rem; white-space: normal}
.pk-prior {display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); gap: .2rem 1.8rem}
.pk-prior h3 {font-size: .95rem; font-weight: 600; margin: .7rem 0 .1rem}
.pk-prior ul {list-style: none; margin: 0; padding: 0; font-size: .85rem}
.pk-prior li {display: grid; grid-template-columns: 8em 1fr 3em 4em; gap: .4em; align-items: center; margin: 0}
.pk-prior li.rest {display: block; opacity: .85}
.pk-prior li b {font-weight: 400; overflow-wrap: anywhere; line-height: 1.2}
.pk-prior .bar {background: var(--background-fill-secondary); height: .8em; border-radius: 3px}
.pk-prior .bar i {display: block; height: 100%; border-radius: 3px; background: #0072b2}
.pk-prior .number {text-align: right; font-variant-numeric: tabular-nums}
@media (max-width: 480px) {
  .pk-table table {font-size: .8rem}
  .pk-table th, .pk-table td, .pk-table tr.string td {padding-left: .15rem; padding-right: .15rem}
}
"""


def status(text: str, is_error: bool = False) -> str:
    """A line that screen readers read out: at once if it is an error."""
    return f'<p role="{"alert" if is_error else "status"}">{"Error: " if is_error else ""}{escape(text)}</p>'


def figures(answer: GenerationAnswer, pictures: Sequence[str]) -> str:
    """The pictures side by side; what would be too small to read on a phone scrolls within its frame."""
    sizes = [_size(picture) for picture in pictures]
    parts = []
    drawn = zip(answer.architectures, answer.titles(), pictures, sizes, strict=True)
    for rank, (architecture, title, picture, (width, height)) in enumerate(drawn, 1):
        alternative = f"Drawing of architecture {rank}: {describe(architecture)}"
        source = "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()
        kind = frame = ""
        if width > WIDE:
            kind = ' class="wide"'
            frame = f' tabindex="0" role="group" aria-label="Drawing {rank}, may scroll sideways"'
        parts.append(
            f'<figure{kind}><div{frame}><img src="{source}" alt="{escape(alternative)}" width="{width}" '
            f'height="{height}"/></div><figcaption>{escape(title)}</figcaption></figure>'
        )
    kind = "pk-figures narrow" if max(width for width, _ in sizes) < NARROW else "pk-figures"
    return f'<div class="pk"><h2>Architectures, best first</h2><div class="{kind}">{"".join(parts)}</div></div>'


def front_plot(front: Front | None) -> str:
    """Scores against a cost as a picture, and in words; empty where no cost is known."""
    if front is None:
        return ""
    known = front.generated[np.isfinite(front.generated).all(1)]
    cost, score = known[known[:, 1].argmax()] if len(known) else (np.nan, np.nan)
    words = (
        f"{front.score} against {front.cost}: {len(front.generated)} generated architectures among "
        f"{len(front.others):,} others. The best of the generated ones has {score:.2f} at {cost:,.2f} "
        f"{front.budget.scale_in_words}; "
        f"the best of the others {np.nanmax(front.others[:, 1]):.2f}."
    )
    source = "data:image/svg+xml;base64," + base64.b64encode(front.picture().encode()).decode()
    return (
        f'<div class="pk"><h2>Score against cost</h2><p class="note">{escape(words[0].upper() + words[1:])}</p>'
        f'<div class="pk-front"><img src="{source}" alt="Plot: {escape(words)}"/></div></div>'
    )


def _size(svg: str) -> tuple[int, int]:
    """Width and height of a picture in points, which are pixels here: its writing is large enough for that."""
    box = svg.split('viewBox="', 1)[1].split('"', 1)[0].split()
    return round(float(box[2])), round(float(box[3]))


def ranking(answer: GenerationAnswer) -> str:
    """The table, two lines to an architecture: numbers, and its string below them."""
    measured = answer.measured
    heads = ["Rank", "Score", *(_heading(budget) for budget, _ in answer.costs)]
    note = "Ranked by the model’s own score; no measurement was read for it."
    if answer.request.evaluations is not None:
        note = f"Ranked by {answer.ranked_by}; no other measurement was read for it."
    if "device" in answer.request.options:
        note += f" Latency: on {answer.request.options['device']}."
    if "memory_dtype" in answer.request.options:
        note += f" Memory: in {answer.request.options['memory_dtype']}{_cached(answer.request.options)}."
    if measured is not None:
        heads.append(_hyphenated("Measured"))
        note += f" Measured: {measured.label}{', in %' if measured.unit else ''}, looked up afterwards."
    rows = []
    for k, record in enumerate(answer.records):
        cells = [f"{record['score']:.3f}", *(_cell(budget, costs[k]) for budget, costs in answer.costs)]
        if measured is not None:
            score = measured.scores[k]
            cells.append("–" if score is None else f"{score:.2f}")
        numbers = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{record["rank"]}</th>{numbers}</tr>')
        rows.append(
            f'<tr class="string"><td colspan="{len(heads)}"><code>{escape(record["architecture"])}</code></td></tr>'
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<div class="pk"><h2>Ranking</h2><p class="note">{escape(note)}</p>'
        f'<div class="pk-table" tabindex="0" role="region" aria-label="Ranking"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></div>"
    )


def _cached(options: Mapping[str, Any]) -> str:
    """What is in the KV cache, empty for networks without one."""
    tokens, sequences = options["context"], options["batch_size"]
    return "" if tokens is None else f", with a KV cache of {sequences} x {tokens:,} tokens"


def _heading(budget: Budget) -> str:
    """Name and unit of a column of costs."""
    unit = "M" if budget.scale_in_words == "millions" else budget.scale_in_words
    return f"{_hyphenated(budget.label.capitalize())}, {unit}"


def _hyphenated(word: str) -> str:
    """A long word with a soft hyphen, for phones."""
    return word if len(word) < 8 or "-" in word else f"{word[:4]}\u00ad{word[4:]}"


def _cell(budget: Budget, cost: float | None) -> str:
    return "–" if cost is None else f"{cost / budget.display_scale:,.{budget.decimals}f}"


def prior_bars(prior: Prior) -> str:
    """Each slot's choices by how likely the prior holds them, as bars that are labelled with what they show."""
    space, shares = prior.space, prior.distribution()
    most, largest = (shares.amax(1) * space.sizes).tolist(), prior.contributions.nan_to_num().abs().amax(1).tolist()
    telling = sorted(range(space.num_slots), key=lambda s: (-largest[s], -most[s]))[:MOST_SLOTS]
    blocks = []
    for s in sorted(telling):
        slot, items = space.slots[s], []
        best = shares[s, : len(slot.choices)].argsort(descending=True, stable=True)
        for k in best[:MOST_CHOICES].tolist():
            share, gain = float(shares[s, k]), float(prior.contributions[s, k])
            name = escape(label(slot.choices[k]).replace("\n", ", "))
            number = "" if gain != gain else f"{gain:+.2f}".replace("-", "−").replace("−0.00", "+0.00")
            words = f'{number}<span class="pk-hidden"> points contributed</span>' if number else ""
            bar = f'<span class="bar" aria-hidden="true"><i style="width:{100 * share:.1f}%"></i></span>'
            items.append(
                f"<li><b>{name}</b>{bar}"
                f'<span class="number">{100 * share:.0f} %</span><span class="number">{words}</span></li>'
            )
        if len(best) > MOST_CHOICES:
            rest = float(shares[s, best[MOST_CHOICES:]].sum())
            items.append(f'<li class="rest">{len(best) - MOST_CHOICES} more: {100 * rest:.0f} % together</li>')
        blocks.append(f"<div><h3>{escape(short_name(slot.name))}</h3><ul>{''.join(items)}</ul></div>")
    about = f"Evidence: {prior.evidence}; {prior.detail}. Measurements read: {prior.labels_read:,}."
    if "restricted" in prior.games and prior.games not in prior.detail:
        about += f" Contributions: {prior.games}."
    what = (
        "For each slot the share that the prior gives to a choice and, where known, the points of the score that the "
        "choice contributed in good networks."
    )
    if space.num_slots > MOST_SLOTS:
        what += f" Shown are {MOST_SLOTS} of {space.num_slots} slots, those it says most about."
    return (
        f'<div class="pk"><h2>Prior knowledge used</h2><p class="note">{escape(about)}</p>'
        f'<p class="note">{escape(what)}</p><div class="pk-prior">{"".join(blocks)}</div></div>'
    )
