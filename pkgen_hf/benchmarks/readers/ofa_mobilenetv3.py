"""Once-for-all MobileNetV3: a table of the evaluations of inherited weights that DyNAS-T's searches made."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from ...spaces import Reader, SearchSpace
from .tables import floats, own_strings


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """Once-for-all MobileNetV3: the mean top-1 of a network's evaluations on the validation images of ImageNet-1k.

    With the number of evaluations and the difference of the highest and the lowest.
    """
    return pa.table(
        {
            "architecture": own_strings(space, table["architecture"].to_pylist()),
            "imagenet1k_validation_accuracy": floats(table["imagenet_top1"]),
            "imagenet1k_runs": table["runs"],
            "imagenet1k_validation_spread": floats(table["imagenet_top1_spread"]),
            "imagenet1k_parameters": table["parameters"],
            "imagenet1k_flops_m": pc.divide(pc.cast(table["macs"], pa.float64()), 1e6),
        }
    )


READER = Reader(marker="imagenet_top1", convert=convert)
