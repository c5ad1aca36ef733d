"""AutoFormer: tables of accuracies with inherited weights, of OoD-ViT-NAS (no licence, for evaluation only)."""

from __future__ import annotations

import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .tables import floats, own_strings


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """AutoFormer: top-1 on the 50,000 validation images of ImageNet-1k, and costs as they were published."""
    return pa.table(
        {
            "architecture": own_strings(space, table["architecture"].to_pylist()),
            "imagenet1k_validation_accuracy": floats(table["imagenet_top1"]),
            "imagenet1k_parameters": table["parameters"],
            "imagenet1k_flops_m": table["flops_m"],
        }
    )


READER = Reader(marker="imagenet_top1", convert=convert)
