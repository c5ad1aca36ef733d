"""The HTML of the app's results: figures, the ranked table, the prior as bars; and the style sheet.

Everything is plain HTML that fits a phone, with a text for every picture: no script, nothing from elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from ..drawing.texts import label, short_name
from ..priors.prior import Prior
from .backend import Generation

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


def _millions(number: int) -> str:
    millions = number / 1e6
    return f"{millions:,.3f}" if millions < 100 else f"{millions:,.1f}"


def figures(generation: Generation, pictures: Sequence[str]) -> str:
    """The pictures side by side; what would be too small to read on a phone scrolls within its frame."""
    sizes = [_size(picture) for picture in pictures]
    parts = []
    for record, picture, (width, height) in zip(generation.records, pictures, sizes, strict=True):
        rank = record["rank"]
        caption = f"{rank}. {_millions(record['parameters'])} M parameters"
        if record.get("measured") is not None:
            caption += f", measured {record['measured']:.2f}"
        alternative = f"Drawing of architecture {rank}: {record['architecture']}"
        source = "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()
        kind = frame = ""
        if width > WIDE:
            kind = ' class="wide"'
            frame = f' tabindex="0" role="group" aria-label="Drawing {rank}, may scroll sideways"'
        parts.append(
            f'<figure{kind}><div{frame}><img src="{source}" alt="{escape(alternative)}" width="{width}" '
            f'height="{height}"/></div><figcaption>{caption}</figcaption></figure>'
        )
    kind = "pk-figures narrow" if max(width for width, _ in sizes) < NARROW else "pk-figures"
    return f'<div class="pk"><h2>Architectures, best first</h2><div class="{kind}">{"".join(parts)}</div></div>'


def _size(svg: str) -> tuple[int, int]:
    """Width and height of a picture in points, which are pixels here: its writing is large enough for that."""
    box = svg.split('viewBox="', 1)[1].split('"', 1)[0].split()
    return round(float(box[2])), round(float(box[3]))


def ranking(generation: Generation) -> str:
    """The table, two lines to an architecture: numbers, and its string below them."""
    measured, timed = generation.measured_on is not None, "latency_ms" in generation.records[0]
    heads = ["Rank", "Score", "Para\u00admeters, M", "Multiply-adds, M"]  # with a soft hyphen, for phones
    heads += ["Latency, ms"] * timed + ["Mea\u00adsured"] * measured
    note = "Ranked by the model’s own score; no measurement was read for it."
    if timed:
        note += f" Latency: on {generation.settings['device']}."
    if measured:
        note += f" Measured: {generation.measured_on}, looked up afterwards."
    rows = []
    for record in generation.records:
        cells = [f"{record['score']:.3f}", _millions(record["parameters"]), _millions(record["flops"])]
        for name in ("latency_ms", "measured"):
            if name in record:
                cells.append("–" if record[name] is None else f"{record[name]:.2f}")
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
