"""Sources: one adapter a data set. A source reads what is on disk (or renders it) and yields records."""

from fasbench.data.sources.base import Source

__all__ = ["Source"]
