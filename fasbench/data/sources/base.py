"""Source: where the records of one data set come from. The store is prepared from it, once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from fasbench.data.record import Record
from fasbench.errors import DataError


class Skipped(DataError):
    """A row that its source leaves out, on the user's word; the store keeps its metadata, without images."""

    def __init__(self, reason: str, metadata: Mapping[str, Any]) -> None:
        super().__init__(reason)
        self.metadata = dict(metadata)


class Source(ABC):
    """An indexed collection of records of one data set.

    A source must be picklable and `read` must not depend on the order of calls: preparation reads the rows from
    several processes, each a contiguous range (so caching what neighbouring rows share pays).
    """

    name: str  # the data set's name = `Record.domain`
    shape: tuple[int, int]  # (H, W) of every image it yields
    on_missing: Literal["error", "skip"] = "error"  # what becomes of rows whose files are not there
    remedy: str = ""  # what to do about rows that cannot be read, for the end of their list

    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """Everything that determines the bytes, JSON-serialisable, no absolute path. Its hash names the store."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of records."""

    @abstractmethod
    def read(self, index: int) -> Record:
        """The record at `index`.

        Raises:
            DataError: the row cannot be read; the text names every file at fault. Preparation goes on, collects these
                from all rows and reports them together.
            Skipped: the row is to be left out.
        """
