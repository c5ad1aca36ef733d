"""NAS-Bench-101 (Ying et al., ICML 2019): directed acyclic graphs of at most 7 vertices and 9 edges, on CIFAR-10.

Vertex 0 is the input, the last one the output; each vertex between them carries one of 3 operations. Without vertices
that are on no path from input to output there are 423,624 cells up to isomorphism, all trained.

The string is the adjacency matrix above its diagonal, row by row, and the operations of the inner vertices. In
``1100_001_10_1:conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu``, a cell of 5 vertices, the input (row ``1100``) feeds
vertices 1 and 2, vertex 1 (``001``) the output, which is vertex 4, vertex 2 (``10``) vertex 3, and that (``1``) the
output. The operations are those of vertices 1, 2 and 3.

Vertices may be numbered in any order in which edges lead upwards; what is written is numbered as in the benchmark.
Read is also the benchmark's own record as Python writes it, ``ModelSpec(matrix=[[0, 1], [0, 0]], ops=[...])``.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch.nn import functional as F

from .benchmark import Origin, bibtex
from .nas_bench_101_cells import (
    EDGES,
    INNER,
    MAX_EDGES,
    OUTPUT,
    VERTICES,
    all_keys,
    cell_keys,
    first_edge,
    in_rows,
    prune,
    sample_keys,
    unpack,
)
from .nas_bench_101_costs import MODULES, STEM, cell_matrices, module_costs
from .nas_bench_101_records import CONV1, CONV3, NONE, OPERATIONS, CellStrings
from .parts import Choice, Slot, constant
from .registry import register_built_in
from .tasks import Task, TaskLike
from .weight_matrices import WeightMatrices

EXTRAS = 5  # slots of extra edges
TASKS = {"cifar10": Task("image-classification", chance_score=10.0, num_classes=10, image_size=32, split="test")}
COUNT_SCALE = 0.15  # of counts in `features`: the largest, which are 5 to 9, become about 1
ORIGIN = Origin(
    "NAS-Bench-101",
    "Accuracies on CIFAR-10, each the mean of three trainings.",
    "https://github.com/google-research/nasbench",
    "apache-2.0",
    bibtex(
        "inproceedings",
        "ying2019nas",
        "{NAS-Bench-101}: Towards Reproducible Neural Architecture Search",
        "Ying, Chris and Klein, Aaron and Christiansen, Eric and Real, Esteban and Murphy, Kevin and Hutter, Frank",
        "International Conference on Machine Learning",
        2019,
    ),
    whole=423_624,
)


class NASBench101Space(CellStrings):
    """The operation of each vertex, or "none", what it reads, and up to five more edges.

    Vertex 1 reads the input. A vertex of operation "none" is not there, nor are its edges; that is how cells of fewer
    vertices are written. A vertex that would read one that is not there reads the input, and the output reads every
    vertex that no other reads, so that all that are there are on a path from input to output. (Were that ten edges,
    of five vertices that all read the input, vertex 5 reads vertex 4.) Extra edges are read in order: one that is
    there already, one of a vertex that is not, and one that would be the tenth do not count. Not valid are just the
    rows without a vertex and without an edge from input to output; they are all equal.

    In the canonical form vertices that read each other stand beside each other as far as they can, absent ones last
    (see `pkgen_hf.spaces.nas_bench_101_cells.in_rows`); each reads its nearest predecessor, and the other edges are
    sorted by target and source. Strings and matrices have the benchmark's own numbering: they are read into the
    canonical form and written from it, so that ``str(Architecture.from_string(space, text))`` is the canonical
    string. `remove` deletes vertices and then those that are on no path from input to output any more.
    """

    summary = "image cell of up to 7 vertices"
    origin = ORIGIN
    # Ying et al., ICML 2019, appendix: RMSProp whose epsilon of 1 makes it nearly momentum.
    presets = {
        "nas-bench-101": {
            "num_train_epochs": 108,
            "optimizer": "rmsprop",
            "rmsprop_eps": 1.0,
            "learning_rate": 0.2,
            "weight_decay": 1e-4,
        }
    }

    num_architectures = 423_624

    def __init__(self) -> None:
        slots = []
        for v in INNER:
            reads = tuple(range(v))
            if v > 1:
                choices = tuple(Choice(str(u), "predecessor", level=u / (v - 1)) for u in reads)
                slots.append(Slot(f"input of {v}", "connection", choices, reads, v))
            slots.append(Slot(f"vertex {v}", "operation", OPERATIONS, reads, v))
        edges = [Choice(f"{u}->{v}", "edge", level=(u + v) / 12, spread=(v - u) / 6) for u, v in EDGES]
        extra = (Choice("none", "zero"), *edges)
        everything = tuple(range(OUTPUT))
        slots += [Slot(f"extra edge {i + 1}", "connection", extra, everything, OUTPUT) for i in range(EXTRAS)]
        super().__init__("nas-bench-101", slots, TASKS, null_choice="none")
        self.operation_slots = [s for s, slot in enumerate(slots) if slot.kind == "operation"]
        self.predecessor_slots = [s for s, slot in enumerate(slots) if slot.name.startswith("input")]

    @cached_property
    @constant
    def null_indices(self) -> torch.Tensor:
        null = torch.full((self.num_slots,), -1)
        null[self.operation_slots] = NONE
        return null

    # ------------------------------------------------------------------ rows and cells

    def cells(self, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cells of rows ``LongTensor (batch, slots)``: masks ``(batch, 7)`` and operations ``(batch, 5)``."""
        operations = indices[:, self.operation_slots]
        is_there = operations != NONE
        bits = 1 << torch.arange(1, OUTPUT, device=indices.device)
        there = (is_there * bits).sum(1, keepdim=True)  # (batch, 1), of inner vertices
        read = 1 << indices[:, self.predecessor_slots]
        read = torch.where(read & (there | 1) > 0, read, 1)
        zero = torch.zeros_like(there)
        masks = torch.cat([zero, zero + 1, read, zero], dim=1)
        masks[:, 1:OUTPUT] *= is_there
        is_star = (masks[:, 1:OUTPUT] == 1).all(1)
        masks[:, OUTPUT - 1] = torch.where(is_star, 1 << OUTPUT - 2, masks[:, OUTPUT - 1])
        sources = masks[..., None] >> torch.arange(OUTPUT, device=indices.device) & 1  # (batch, 7, 6)
        is_read = sources.amax(1)[:, 1:]
        loose = (is_there * (1 - is_read) * bits).sum(1, keepdim=True)  # read by the output alone
        count = (is_there * (2 - is_read)).sum(1, keepdim=True)
        edges = torch.tensor([(0, 0), *((1 << u, v) for u, v in EDGES)], device=indices.device)
        for choice in indices[:, -EXTRAS:].unbind(1):
            source, target = edges[choice].split(1, dim=1)  # (batch, 1)
            known = masks.gather(1, target)
            can_be = (source & (there | 1) > 0) & ((there | 1 << OUTPUT) >> target & 1 > 0)
            is_loose = source & loose > 0
            added = source * (can_be & (source & known == 0) & (is_loose | (count < MAX_EDGES)))
            masks.scatter_(1, target, known | added)
            count += (added > 0) & ~is_loose
            loose &= ~added
        masks[:, OUTPUT:] |= loose
        return masks, operations

    def rows(self, keys: torch.Tensor) -> torch.Tensor:
        """The canonical row of each of `keys`, ``LongTensor (batch, slots)``."""
        masks, operations = in_rows(*unpack(keys))
        device = masks.device
        nearest = torch.tensor([max(0, mask.bit_length() - 1) for mask in range(1 << OUTPUT)], device=device)
        predecessors = nearest[masks]
        sources, targets = torch.tensor(EDGES, device=device).T
        has_edge = masks[:, targets] >> sources & 1  # (batch, edges)
        is_read = (has_edge[:, targets < OUTPUT, None] * (sources[targets < OUTPUT, None] == sources)).amax(1)
        # The output reads every vertex that nothing else does; the input it reads by an extra edge alone.
        follows = torch.where(targets == OUTPUT, 1 - is_read, predecessors[:, targets] == sources)
        follows[:, first_edge(OUTPUT)] = 0
        is_extra = has_edge * (1 - follows)
        place = torch.where(is_extra > 0, is_extra.cumsum(1) - 1, EXTRAS)
        extras = torch.zeros(len(masks), EXTRAS + 1, dtype=torch.long, device=device)
        extras.scatter_(1, place, torch.arange(1, len(EDGES) + 1, device=device).expand_as(place))
        rows = torch.empty(len(masks), self.num_slots, dtype=torch.long, device=device)
        rows[:, self.operation_slots] = operations
        # A vertex that is not there stands as if the one before it fed it.
        before = torch.arange(1, OUTPUT - 1, device=device)
        rows[:, self.predecessor_slots] = torch.where(operations[:, 1:] == NONE, before, predecessors[:, 2:OUTPUT])
        rows[:, -EXTRAS:] = extras[:, :EXTRAS]
        return rows

    def keys(self, indices: torch.Tensor) -> torch.Tensor:
        """Integers that are equal just for isomorphic architectures, ``LongTensor (batch,)``.

        The canonical cell itself in 31 bits, so that no two cells can collide; 0 for those that are not valid.
        """
        return cell_keys(*self.cells(indices))

    def canonical(self, indices: torch.Tensor) -> torch.Tensor:
        return self.rows(self.keys(indices))

    def is_valid(self, indices: torch.Tensor) -> torch.Tensor:
        return self.cells(indices)[0][:, OUTPUT] != 0

    def features(self, indices: torch.Tensor) -> torch.Tensor:
        """Counts that do not depend on how vertices are numbered, unlike the choices of a row.

        They are how many vertices carry each operation, how many edges and paths of two edges lead from each operation
        to each, the number of all edges, and the length of the longest path in edges and in convolutions.
        """
        masks, operations = unpack(self.keys(indices))
        batch, device = len(masks), masks.device
        ends = torch.ones(batch, 1, dtype=torch.long, device=device)
        labels = F.one_hot(torch.cat([4 * ends, operations, 5 * ends], dim=1), 6).float()  # (batch, vertices, 6)
        edges = (masks[:, :, None] >> torch.arange(VERTICES, device=device) & 1).float()  # (batch, targets, sources)
        steps = [labels.transpose(1, 2) @ edges @ labels, labels.transpose(1, 2) @ edges @ edges @ labels]
        weights = labels[..., CONV3] + labels[..., CONV1]
        longest = torch.zeros(2, batch, VERTICES, dtype=torch.float32, device=device)  # in edges, in convolutions
        for v in range(1, VERTICES):
            longest[0, :, v] = ((longest[0] + 1) * edges[:, v]).amax(1)
            longest[1, :, v] = (longest[1] * edges[:, v]).amax(1) + weights[:, v]
        counts = [
            labels.sum(1),
            *(step.flatten(1) for step in steps),
            edges.sum((1, 2))[:, None],
            longest[..., OUTPUT].T,
        ]
        return COUNT_SCALE * torch.cat(counts, dim=1)

    def remove(self, indices: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        """Canonical rows of the cells without the vertices outside `keep`, their edges, and what these leave loose.

        Parameters
        ----------
        indices
            ``LongTensor (..., slots)``
        keep
            ``BoolTensor (..., slots)``, of which the slots of operations count.
        """
        indices, keep = torch.broadcast_tensors(indices, keep)
        masks, operations = self.cells(indices.reshape(-1, self.num_slots))
        kept = keep.reshape(-1, self.num_slots)[:, self.operation_slots].long()
        ends = (kept << torch.arange(1, OUTPUT, device=kept.device)).sum(1, keepdim=True) | 1
        masks = masks & ends
        masks[:, 1:OUTPUT] *= kept
        return self.rows(cell_keys(*prune(masks, operations * kept))).reshape(indices.shape)

    def count_by_enumeration(self) -> int:
        return len(all_keys())

    def sample(self, num: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw architectures, each of the 423,624 with the same probability; all are valid and canonical.

        They are on the generator's device, without one on the CPU.
        """
        return self.rows(sample_keys(num, generator))

    # ------------------------------------------------------------------ costs

    def image_sizes(self, task: Task) -> tuple[int, int]:
        return MODULES[-1][2], 1  # the poolings leave one pixel

    def parameters(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Exact: stem, 9 modules in 3 stacks of 128, 256 and 512 channels, and the classifier.

        The benchmark's numbers depend on the order of vertices where channels do not divide evenly; counted are those
        of its own order, which is the canonical one. A disconnected cell has no parameters.
        """
        scale = self.task(task or "cifar10")
        masks, operations = unpack(self.keys(indices))
        total = torch.full_like(
            masks[:, 0], (9 * scale.in_channels + 2) * STEM + (MODULES[-1][1] + 1) * scale.num_classes
        )
        for inputs, outputs, _, alike in MODULES:
            weights, norms = module_costs(masks, operations, inputs, outputs)
            total += alike * (weights + norms)
        return total

    def flops(self, indices: torch.Tensor, task: TaskLike | None = None) -> torch.Tensor:
        """Multiply-adds of convolutions and classifier, without biases and batch normalisation."""
        scale = self.task(task or "cifar10")
        masks, operations = unpack(self.keys(indices))
        stem = 9 * scale.in_channels * STEM * scale.image_size**2
        total = torch.full_like(masks[:, 0], stem + MODULES[-1][1] * scale.num_classes)
        for inputs, outputs, shrunk, alike in MODULES:
            weights, _ = module_costs(masks, operations, inputs, outputs)
            total += alike * weights * (scale.image_size // shrunk) ** 2
        return total

    def weight_matrices(self, indices: torch.Tensor, task: TaskLike | None = None) -> WeightMatrices:
        scale = self.task(task or "cifar10")
        return cell_matrices(*unpack(self.keys(indices)), scale.num_classes, scale.in_channels)


register_built_in(NASBench101Space())
