"""Pictures: what is written, what can be read on them, and that nothing on them overlaps."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from representatives import REPRESENTATIVES

from pkgen_hf.architecture import Architecture
from pkgen_hf.drawing.diagram import TEXT, Box, Diagram, Edge
from pkgen_hf.drawing.heat_maps import MOST_SLOTS, draw_prior
from pkgen_hf.drawing.layers import arrange_layers
from pkgen_hf.drawing.layout import lay_out
from pkgen_hf.drawing.pictures import draw
from pkgen_hf.drawing.texts import fit, label, short_name, text_width
from pkgen_hf.priors.prior import Prior
from pkgen_hf.spaces import Choice, SearchSpace, Slot, get_space
from pkgen_hf.spaces.nas_bench_graph import TOPOLOGIES

FULL = "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|"
SPARSE = "|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"


def cell(text: str) -> Architecture:
    return Architecture.from_string("nas-bench-201", text)


def graph(links: tuple[int, ...], operations: str = "gcn,fc,skip,arma") -> Architecture:
    return Architecture.from_string("nas-bench-graph", "".join(map(str, links)) + ":" + operations)


def sampled(space: str, num: int) -> list[Architecture]:
    return Architecture.from_batch(space, get_space(space).sample(num, torch.Generator().manual_seed(0)))


def texts(path: Path) -> list[str]:
    """Every text of an SVG, in the order of drawing."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def path_of(edge: Edge) -> np.ndarray:
    """Points along an edge, close together."""
    t = np.linspace(0, 1, 200)[:, None]
    parts = []
    for start in range(0, len(edge.points) - 1, 3):
        a, b, c, d = edge.points[start : start + 4]
        parts.append((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)
    return np.concatenate(parts)


def inside(box: Box, points: np.ndarray, margin: float) -> bool:
    """Whether some point is in the box or closer to it than `margin`."""
    offset = abs(points - (box.x, box.y))
    if not box.kind and box.width == box.height:
        return bool((np.linalg.norm(offset, axis=1) < box.width / 2 + margin).any())
    return bool((offset < np.array([box.width, box.height]) / 2 + margin).all(axis=1).any())


def assert_clear(diagram: Diagram, labelled: bool) -> None:
    """No two boxes overlap, no edge passes through a box that is not its own, and arrows end at borders."""
    boxes, edges = diagram.boxes, diagram.edges
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            apart = abs(np.array([a.x - b.x, a.y - b.y])) - np.array([a.width + b.width, a.height + b.height]) / 2
            assert apart.max() > 0.03, (a, b)
    nodes = boxes[: len(boxes) - len(edges)] if labelled else boxes
    labels = boxes[len(nodes) :]
    for edge in edges:
        points = path_of(edge)
        at_start = [box for box in nodes if inside(box, edge.points[:1], 1e-6)]
        at_end = [box for box in nodes if inside(box, edge.points[-1:], 1e-6)]
        assert len(at_start) == len(at_end) == 1
        assert not inside(at_start[0], points, -1e-6) and not inside(at_end[0], points, -1e-6)  # at, not in
        own = [label for label in labels if inside(label, points, 0.0)]
        assert len(own) == labelled and all(label.text == edge.text for label in own)
        others = [box for box in nodes if box is not at_start[0] and box is not at_end[0]]
        assert not any(inside(box, points, 0.03) for box in others), edge


def assert_text_is_clear(monkeypatch: pytest.MonkeyPatch, make) -> None:
    """Run `make` and check that no text leaves the page or touches another."""
    figures = []
    save = Figure.savefig

    def keep(self, *args, **options):
        figures.append(self)
        save(self, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    make()
    monkeypatch.undo()
    (figure,) = figures
    FigureCanvasAgg(figure).draw()
    shown = [*figure.texts]
    for axes in figure.axes:
        shown += [*axes.texts, *(axes.get_legend().get_texts() if axes.get_legend() else [])]
        shown += [*axes.get_xticklabels(), *axes.get_yticklabels()] if axes.axison else []
    shown = [text for text in shown if text.get_text()]
    assert len(shown) > 3
    low, high = np.swapaxes(np.array([text.get_window_extent().get_points() for text in shown]), 0, 1)
    assert (low >= 0).all() and (high <= figure.bbox.max).all()
    overlap = ((low[:, None] < high) & (low < high[:, None])).all(axis=2) & ~np.eye(len(shown), dtype=bool)
    assert not overlap.any(), [shown[k] for k in overlap.nonzero()[0][:2]]


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["cell.png", "cell.svg", "new/deeper/cell.PNG"])
def test_writes_a_picture_and_returns_its_path(tmp_path, name):
    path = draw([cell(FULL)], str(tmp_path / name))
    assert path == tmp_path / name
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    if path.suffix == ".svg":
        assert path.read_text(encoding="utf-8").rstrip().endswith("</svg>")
    else:
        pixels = np.asarray(imread(path))[..., :3]
        assert pixels.shape[1] > 600 and pixels.min() < 0.3 and pixels.max() == 1
        ink = pixels.min(axis=2) < 0.99
        assert 0.01 < ink.mean() < 0.5
        edge = 4
        assert not ink[:edge].any() and not ink[-edge:].any() and not ink[:, :edge].any() and not ink[:, -edge:].any()


@pytest.mark.parametrize("name", ["cell.pdf", "cell", "cell.svgz"])
def test_other_suffixes_are_refused_by_name(tmp_path, name):
    with pytest.raises(ValueError) as error:
        draw([cell(FULL)], tmp_path / "new" / name)
    assert repr(Path(name).suffix) in str(error.value)
    assert ".png" in str(error.value) and ".svg" in str(error.value)
    with pytest.raises(ValueError, match="Allowed: .png, .svg"):
        draw_prior(Prior.absent("nas-bench-201"), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    path = draw([cell(FULL)], tmp_path / "cell.svg")
    before = path.read_bytes()

    def half(self, name, **_):
        Path(name).write_text("<svg")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        draw([cell(SPARSE)], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_leaves_nothing_behind(tmp_path):
    (tmp_path / "cell.png").mkdir()
    with pytest.raises(OSError):
        draw([cell(FULL)], tmp_path / "cell.png")
    assert [file.name for file in tmp_path.iterdir()] == ["cell.png"]


def test_the_same_architecture_gives_the_same_file(tmp_path):
    first, second = draw([cell(FULL)], tmp_path / "a.svg"), draw([cell(FULL)], tmp_path / "b.svg")
    assert first.read_bytes() == second.read_bytes()
    assert cell(FULL).draw(tmp_path / "c.svg").read_bytes() == first.read_bytes()


def test_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        draw([], tmp_path / "a.png")
    with pytest.raises(ValueError, match="2 architectures need as many titles, got 1"):
        draw([cell(FULL)] * 2, tmp_path / "a.png", ["one"])
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- what is shown


def test_each_operation_on_an_edge_is_shown_as_often_as_it_is_there(tmp_path):
    shown = texts(draw([cell(FULL)], tmp_path / "a.svg"))
    for name, times in {"conv 3x3": 2, "conv 1x1": 1, "avg pool 3x3": 2, "skip": 1}.items():
        assert shown.count(name) == times
    for name in ("input", "1", "2", "output", "convolution", "pooling", "identity"):
        assert shown.count(name) == 1
    assert len(shown) == 6 + 4 + 3  # and no more: every edge is taken


def test_absent_operations_are_not_shown(tmp_path):
    shown = texts(draw([cell(SPARSE)], tmp_path / "a.svg"))
    assert sorted(shown) == sorted(["conv 3x3", "input", "1", "2", "output", "convolution", "no connection"])


def test_nodes_without_edges_are_faint():
    faint = {box.text: box.faint for box in lay_out(cell(SPARSE)).boxes if not box.kind}
    assert faint == {"input": False, "1": True, "2": True, "output": False}


@pytest.mark.parametrize("links", TOPOLOGIES)
def test_each_operation_on_a_node_is_shown(tmp_path, links):
    shown = texts(draw([graph(links)], tmp_path / "a.svg"))
    legend = ["graph convolution", "identity", "linear"]
    assert sorted(shown) == sorted(["input", "gcn", "fc", "skip", "arma", "output", *legend])


@pytest.mark.parametrize("links", TOPOLOGIES)
def test_a_tree_has_the_edges_of_its_topology(links):
    edges = [(edge.source, edge.target) for edge in lay_out(graph(links)).edges]
    unread = set(range(1, 5)) - set(links)
    assert sorted(edges) == sorted([*((read, node) for node, read in enumerate(links, 1)), *((n, 5) for n in unread)])


def test_a_grid_shows_every_cell_with_its_title(tmp_path):
    cells = sampled("nas-bench-201", 8)
    titles = [f"{k}. score 0.93  val 91.5 %  1.07 M parameters" for k in range(1, 9)]
    shown = texts(draw(cells, tmp_path / "a.svg", titles))
    assert [text for text in shown if "score" in text] == titles
    assert shown.count("input") == shown.count("output") == 8
    assert shown.count("convolution") == 1  # the legend
    for name in ("nor_conv_3x3", "nor_conv_1x1", "avg_pool_3x3", "skip_connect"):
        assert shown.count(short_name(name)) == sum(str(one).count(name) for one in cells)
    height, width = imread(draw(cells, tmp_path / "a.png", titles)).shape[:2]
    assert 1800 <= width < 2400 and 1 < width / height < 2


def test_spaces_may_be_mixed_in_one_picture(tmp_path):
    shown = texts(draw([cell(FULL), graph(TOPOLOGIES[2])], tmp_path / "a.svg", ["left $x_1$", "right <&>"]))
    assert {"conv 1x1", "gcn", "graph convolution", "convolution", "left $x_1$", "right &lt;&amp;&gt;"} <= set(shown)


ANY = (Choice("gcn", "graph-convolution"), Choice("skip", "identity"))
READ = tuple(Choice(str(k), "predecessor", level=k / 2) for k in range(2))


@pytest.mark.parametrize(
    "slots",
    [
        [Slot("what", "operation", ANY, (0, 1), 2), Slot("a_b", "width", ANY, (0,), 2)],
        [Slot(f"s{k}", "width" if k % 2 else "connection", ANY, (k,), k + 1) for k in range(47)],
        [Slot("of 2", "connection", READ, (0, 1), 2), Slot("node 2", "operation", ANY, (0, 1), 2)],  # no node 1
        [Slot("of 2", "connection", (Choice("0,1", "predecessor"), *READ), (0, 1), 2)],
    ],
)
def test_a_space_of_another_form_is_a_table(tmp_path, slots):
    space = SearchSpace("odd", slots, {}, slots[-1].choices[0].name)
    architecture = Architecture(space, [len(slot.choices) - 1 for slot in slots])
    shown = texts(draw([architecture], tmp_path / "a.svg"))
    for slot in slots:
        assert shown.count(short_name(slot.name)) == 1
    names = [label(slot.choices[-1]) for slot in slots]
    assert all(shown.count(name) == names.count(name) for name in names)
    assert_clear(lay_out(architecture), labelled=False)


def test_cells_of_ones_own_space_stand_one_below_the_other():
    choices = (Choice("conv", "convolution", kernel=3), Choice("none", "zero"))
    slots = [
        Slot(f"{cell}: {a}->{b}", "operation", choices, (a,), b, cell)
        for cell in range(2)
        for a, b in [(0, 1), (0, 2), (1, 2)]
    ]
    diagram = lay_out(Architecture(SearchSpace("cells", slots, {}, "none"), [0, 0, 0, 0, 1, 0]))
    assert [box.text for box in diagram.boxes if box.kind == TEXT] == ["cell 1", "cell 2"]
    outputs = [box.y for box in diagram.boxes if box.text == "output"]
    assert len(outputs) == 2 and outputs[0] > outputs[1] + 1


# ---------------------------------------------------------------------- every space


@pytest.mark.parametrize("space", REPRESENTATIVES)
def test_every_space_is_drawn_clearly(tmp_path, monkeypatch, space):
    rows = get_space(space).sample(60, torch.Generator().manual_seed(1))
    pair = Architecture.from_batch(space, rows[get_space(space).is_valid(rows)][:2])
    assert_text_is_clear(monkeypatch, lambda: draw(pair, tmp_path / "a.svg", ["one", "two"]))
    for architecture in pair:
        diagram = lay_out(architecture)
        assert_clear(diagram, labelled=any(edge.text for edge in diagram.edges) and space != "darts")
        width, height = np.ptp(diagram.corners, axis=0)
        assert width < 15 and height < 15


@pytest.mark.parametrize("space", ["nas-bench-101", "nas-bench-nlp", "darts"])
def test_layered_edges_lead_forward(space):
    for architecture in sampled(space, 5):
        edges = lay_out(architecture).edges
        steps = np.concatenate([np.diff(path_of(edge), axis=0) for edge in edges])
        assert (steps[:, 0] > -1e-9).all() or (steps[:, 1] < 1e-9).all()


@pytest.mark.parametrize(
    ("space", "text", "shown"),
    [
        ("nas-bench-macro", "02100000", ["identity"] * 6 + ["e6 k5", "e3 k3"]),
        ("transnas-bench-101-macro", "64-1234-basic", ["residual block"] * 4),
        ("nats-bench-size", "8:16:24:32:40", ["stage 1", "8 channels", "reduction 2", "32 channels", "40 channels"]),
        (
            "nas-bench-asr",
            "[[1, 1], [0, 0, 0], [5, 0, 1, 0]]",
            ["conv5", "linear", "input", "1", "2", "output", "no connection", "identity"],
        ),
        (
            "nas-bench-101",
            "1100_001_10_1:conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu",
            ["input", "conv 3x3", "maxpool 3x3", "conv 1x1", "output"],
        ),
        (
            "nas-bench-nlp",
            '{"node_0": {"op": "linear", "input": ["x", "h_prev_0"]}, '
            '"h_new_0": {"op": "elementwise_prod", "input": ["node_0", "h_prev_0"]}}',
            ["x", "h prev 0", "linear", "prod", "h new 0"],
        ),
    ],
)
def test_what_each_space_shows(tmp_path, space, text, shown):
    found = texts(draw([Architecture.from_string(space, text)], tmp_path / "a.svg"))
    legend = {"identity": 1, "linear": 1, "residual block": 1}
    for name in set(shown):
        assert found.count(name) in (shown.count(name), shown.count(name) + legend.get(name, 0)), name


def test_mobile_blocks_are_labelled(tmp_path):
    architecture = Architecture("mnasnet", [2, 1, 2, 1] * 7)
    shown = texts(draw([architecture], tmp_path / "a.svg"))
    assert shown.count("e6 k5 ×3 SE") == 7
    assert texts(draw([Architecture("mnasnet", [0] * 28)], tmp_path / "b.svg")).count("e1 k3 ×1") == 7


def test_a_cell_of_a_graph_has_its_edges():
    text = "1100_001_10_1:conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu"
    diagram = lay_out(Architecture.from_string("nas-bench-101", text))
    names = [box.text for box in diagram.boxes]
    edges = {(names[edge.source], names[edge.target]) for edge in diagram.edges}
    assert edges == {
        ("input", "conv 3x3"),
        ("input", "maxpool 3x3"),
        ("maxpool 3x3", "conv 1x1"),
        ("conv 3x3", "output"),
        ("conv 1x1", "output"),
    }


def test_both_darts_cells_have_every_operation():
    (architecture,) = sampled("darts", 1)
    space = architecture.space
    boxes = lay_out(architecture).boxes
    assert [box.text for box in boxes if box.kind == TEXT] == ["normal cell", "reduce cell"]
    named = zip(space.slots, architecture.indices, strict=True)
    wanted = [label(slot.choices[k]) for slot, k in named if slot.kind == "operation"]
    assert sorted(box.text for box in boxes if box.kind not in ("", TEXT)) == sorted(wanted)
    assert [box.text for box in boxes if not box.kind] == ["cₖ₋₂", "cₖ₋₁", "0", "1", "2", "3", "cₖ"] * 2


def test_edges_of_none_are_not_drawn() -> None:
    (architecture,) = sampled("darts", 1)
    genotype = str(architecture).replace("max_pool_3x3", "none").replace("dil_conv_3x3", "none")
    boxes = lay_out(Architecture.from_string("darts", genotype)).boxes
    operations = [box for box in boxes if box.kind not in ("", TEXT)]
    assert 0 < genotype.count("none") == 16 - len(operations) and "none" not in {box.text for box in boxes}
    assert [box.text for box in boxes if not box.kind] == ["cₖ₋₂", "cₖ₋₁", "0", "1", "2", "3", "cₖ"] * 2


def test_what_is_not_connected_is_drawn(tmp_path):
    for space in ("nas-bench-101", "nas-bench-nlp", "nas-bench-asr"):
        space = get_space(space)
        row = space.remove(
            space.sample(1, torch.Generator().manual_seed(0)), torch.zeros(1, space.num_slots, dtype=torch.bool)
        )
        assert not space.is_valid(row)
        draw(Architecture.from_batch(space, row), tmp_path / f"{space.name}.svg")


def test_layers_have_few_crossings():
    """A graph of two crossed ladders can be drawn without any crossing."""
    edges = [(0, 3), (1, 2), (2, 5), (3, 4), (4, 7), (5, 6), (0, 7), (6, 8), (7, 8)]
    placed = arrange_layers(np.full(9, 0.4), edges, set())
    place = {item: k for items in placed.layers for k, item in enumerate(items)}
    assert all(placed.layer[target] > placed.layer[source] for source, target in edges)
    for a, b in placed.hops:
        for c, d in placed.hops:
            assert placed.layer[a] != placed.layer[c] or (place[a] - place[c]) * (place[b] - place[d]) >= 0
    for items in placed.layers:
        assert (np.diff(placed.across[[item for item in items if item < 9]]) > 0.5).all()


# ---------------------------------------------------------------------- where it stands


@pytest.mark.parametrize("text", [FULL, FULL.replace("nor_conv_1x1", "avg_pool_3x3").replace("skip_connect", "none")])
def test_edges_with_operations_can_be_told_apart(text):
    diagram = lay_out(cell(text))
    assert len(diagram.edges) == 6
    assert_clear(diagram, labelled=True)
    paths = [path_of(edge)[20:-20] for edge in diagram.edges]  # without the ends, where edges of a node meet
    for i, path in enumerate(paths):
        for other in paths[:i]:
            assert np.linalg.norm(path[:, None] - other[None], axis=2).min() > 0.1


@pytest.mark.parametrize("links", TOPOLOGIES)
def test_trees_are_clear(links):
    diagram = lay_out(graph(links))
    assert_clear(diagram, labelled=False)
    for edge in diagram.edges:
        assert (np.diff(path_of(edge)[:, 0]) > -1e-9).all()  # from left to right


def test_nodes_that_read_several_stand_on_a_line(tmp_path):
    operations = (Choice("gcn", "graph-convolution"), Choice("skip", "identity"))
    slots = [Slot("node 1", "operation", operations, (0,), 1)]
    for node in (2, 3):
        links = tuple(Choice(str(read), "predecessor") for read in range(node))
        slots += [Slot(f"{x} of {node}", "connection", links, tuple(range(node)), node) for x in "ab"]
        slots.append(Slot(f"node {node}", "operation", operations, tuple(range(node)), node))
    architecture = Architecture(SearchSpace("wide", slots, {}, "skip"), [0, 0, 1, 1, 0, 2, 0])
    diagram = lay_out(architecture)
    edges = sorted((edge.source, edge.target) for edge in diagram.edges)
    assert edges == [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3), (3, 4)]
    assert len({box.y for box in diagram.boxes if box.text}) == 1
    assert texts(draw([architecture], tmp_path / "a.svg")).count("gcn") == 2


@pytest.mark.parametrize(
    "title", ["short", "a long title of many words " * 12, "one|word~of|many" * 20, "two\nlines", ""]
)
def test_no_text_is_cut_or_covered(tmp_path, monkeypatch, title):
    cells = [cell(FULL), graph(TOPOLOGIES[-1])]
    assert_text_is_clear(monkeypatch, lambda: draw(cells, tmp_path / "a.png", [title, "other"]))
    assert_text_is_clear(monkeypatch, lambda: draw([graph(TOPOLOGIES[0])], tmp_path / "a.png", [title]))


def test_titles_are_broken_and_shrunk_to_fit():
    title = "a long title of many words " * 8
    text, size = fit(title, 4.0)
    assert size < fit("short", 4.0)[1]
    assert text.split() == title.split()
    assert all(text_width(line, size) <= 4.0 for line in text.splitlines())


# ---------------------------------------------------------------------- priors


@pytest.fixture(scope="module")
def prior() -> Prior:
    space = get_space("nas-bench-201")
    rows = space.sample(60, torch.Generator().manual_seed(1))
    scores = 60 + 5 * (rows == 3).sum(1) - 2 * (rows == 4).sum(1) + torch.arange(60) / 100
    return Prior.from_evaluations(space, rows, scores, task="cifar100")


def test_a_prior_shows_every_number(tmp_path, prior):
    shown = texts(draw_prior(prior, tmp_path / "a.svg"))
    assert "nas-bench-201, cifar100, evidence: partly measured" in shown
    for slot in prior.space.slots:
        assert shown.count(slot.name.replace("->", "→")) == 2
    for choice in prior.space.slots[0].choices:
        assert shown.count(short_name(choice.name)) == 2
    values = prior.contributions.flatten().tolist()
    expected = ["–" if np.isnan(value) else f"{value:+z.1f}".replace("-", "−") for value in values]
    expected += [f"{100 * value:.0f}" for value in prior.frequencies.flatten().tolist()]
    names = {name for name in shown if name in expected}
    assert names == set(expected)
    assert [shown.count(name) for name in sorted(names)] == [expected.count(name) for name in sorted(names)]


def test_slots_with_the_same_choices_share_a_block(tmp_path, monkeypatch):
    figures = []

    def keep(self, name, **_):
        figures.append(self)
        Path(name).touch()

    monkeypatch.setattr(Figure, "savefig", keep)
    draw_prior(Prior.absent("nas-bench-graph"), tmp_path / "a.svg")
    shapes = [axes.images[0].get_array().shape for axes in figures[0].axes]
    assert shapes == [(9, 4), (4, 3)] * 2
    for axes in figures[0].axes[:2]:
        norm = axes.images[0].norm
        assert norm.vmin == -norm.vmax  # zero is in the middle of the colours


@pytest.mark.parametrize("space", ["nas-bench-201", "nas-bench-graph"])
def test_pictures_of_priors_are_written_whole(tmp_path, monkeypatch, prior, space):
    carried = Prior.carried_over(space, [prior])
    assert_text_is_clear(monkeypatch, lambda: draw_prior(carried, tmp_path / "new" / "a.png"))
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.png"]
    pixels = imread(tmp_path / "new" / "a.png")
    assert pixels.shape[1] > 1200 and len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 50


def test_priors_of_large_spaces_show_what_matters_most(tmp_path, monkeypatch):
    space = get_space("nas-bench-nlp")
    absent = Prior.absent(space)
    contributions = torch.full_like(absent.contributions, torch.nan)
    at = torch.arange(0, 96, 4)  # the nodes' operations
    contributions[at, :8] = torch.linspace(-1, 1, 8)
    given = replace(absent, contributions=contributions, evidence="partly measured")
    figures = []

    def keep(self, name, **_):
        figures.append(self)
        Path(name).touch()

    monkeypatch.setattr(Figure, "savefig", keep)
    draw_prior(given, tmp_path / "a.png")
    shapes = [axes.images[0].get_array().shape for axes in figures[0].axes]
    assert shapes[:2] == [(8, 24)] * 2 and sum(shape[1] for shape in shapes[1:]) == MOST_SLOTS
    assert f"{MOST_SLOTS} of 99 slots" in figures[0].texts[0].get_text()
    assert (figures[0].get_size_inches() < 30).all()


@pytest.mark.parametrize("space", ["darts", "mnasnet", "nas-bench-asr", "transnas-bench-101-macro"])
def test_priors_of_slots_of_many_forms_are_clear(tmp_path, monkeypatch, space):
    space = get_space(space)
    rows = space.sample(40, torch.Generator().manual_seed(1))
    frequencies = torch.nn.functional.one_hot(rows, space.num_choices).float().mean(0)
    given = replace(Prior.absent(space), contributions=frequencies - 0.3, frequencies=frequencies)
    assert_text_is_clear(monkeypatch, lambda: draw_prior(given, tmp_path / "a.svg"))
