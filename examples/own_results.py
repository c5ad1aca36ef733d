"""Results of your own in a CSV file: generate by them and the prior together, and keep a prior of them alone.

    python examples/own_results.py

The results are accuracies of ten NAS-Bench-201 cells on images of 8 x 8 pixels; one training failed, which counts,
too. Replace the text by your file. A table of generated cells, ``generated.csv``, and the prior of your results,
``prior.parquet`` and ``prior.png``, are written to the current folder.
"""

import csv
import io

from pkgen_hf import PKGenPipeline, Prior, Task

RESULTS = """architecture,score
|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|none~0|skip_connect~1|nor_conv_3x3~2|,82.9
|nor_conv_1x1~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|nor_conv_3x3~0|skip_connect~1|nor_conv_1x1~2|,82.4
|none~0|+|none~0|skip_connect~1|+|nor_conv_1x1~0|nor_conv_3x3~1|avg_pool_3x3~2|,77.1
|none~0|+|skip_connect~0|nor_conv_3x3~1|+|avg_pool_3x3~0|skip_connect~1|avg_pool_3x3~2|,nan
|nor_conv_1x1~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|none~0|none~1|skip_connect~2|,84.3
|skip_connect~0|+|avg_pool_3x3~0|none~1|+|skip_connect~0|none~1|none~2|,86.0
|skip_connect~0|+|avg_pool_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_1x1~1|skip_connect~2|,87.0
|nor_conv_1x1~0|+|none~0|none~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_3x3~2|,86.1
|skip_connect~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+|avg_pool_3x3~0|nor_conv_3x3~1|nor_conv_1x1~2|,84.6
|avg_pool_3x3~0|+|skip_connect~0|nor_conv_1x1~1|+|none~0|none~1|skip_connect~2|,84.9
"""

rows = list(csv.DictReader(io.StringIO(RESULTS)))  # of a file: csv.DictReader(open("results.csv"))
cells = [row["architecture"] for row in rows]
scores = [float(row["score"]) for row in rows]  # higher is better, NaN of a training that failed
task = Task("image-classification", num_classes=10, in_channels=1, image_size=8, name="digits")

pipe = PKGenPipeline.from_pretrained("pkgen-base")
out = pipe("nas-bench-201", task=task, evaluations=(cells, scores), num_architectures=8)
without = pipe.rank("nas-bench-201", out.architectures, task)  # what the prior alone says of the same cells
with open("generated.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["architecture", "predicted", "predicted_without_results", "parameters"])
    for cell, score, other in zip(out.architectures, out.scores, without, strict=True):
        writer.writerow([cell, f"{score:.3f}", f"{other:.3f}", cell.cost(task).parameters])
print(f"{len(rows)} results, {len(out.architectures)} cells in generated.csv; first is", out.architectures[0])

prior = Prior.from_evaluations("nas-bench-201", cells, scores, task)
print(prior)
prior.save("prior.parquet")
prior.plot("prior.png")
