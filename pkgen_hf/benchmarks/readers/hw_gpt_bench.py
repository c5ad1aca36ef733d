"""HW-GPT-Bench: tables of the perplexities that its supernets reach."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...spaces import Reader, SearchSpace
from .tables import merge_runs, own_strings


def convert(space: SearchSpace, table: pa.Table) -> pa.Table:
    """HW-GPT-Bench: a score is less the logarithm of the perplexity, in nats per token.

    The accuracy of the next token (in percent) has a name of its own, so that it is not read as the score.
    """
    columns = {
        "openwebtext_validation_score": -np.log(table["perplexity"].to_numpy()),
        "openwebtext_next_token_accuracy": table["accuracy"].to_numpy(),
        "openwebtext_parameters": table["parameters"].to_numpy(),
    }
    return merge_runs(own_strings(space, table["architecture"].to_pylist()), columns)


READER = Reader(marker="perplexity", convert=convert)
