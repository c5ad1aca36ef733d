"""One call of the pipeline: its settings, the batches it samples, the rounds until there are enough, the ranking.

All state of a call is in objects of this package, so that threads can share a pipeline.
"""
