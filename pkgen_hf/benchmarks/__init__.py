"""Tables of measured architectures: where they come from, look-ups, latencies and surrogates."""

from .latencies import LatencyTable, published_latencies
from .score_table import MEASURES, SPLITS, ScoreTable
from .sources import load_benchmark, package_of, tables_in, with_package

__all__ = [
    "MEASURES",
    "SPLITS",
    "LatencyTable",
    "ScoreTable",
    "load_benchmark",
    "package_of",
    "published_latencies",
    "tables_in",
    "with_package",
]
