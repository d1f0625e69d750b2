"""What a protocol file says about a data set: where its rows come from, and what must be found in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field, model_validator

from fasbench.yamlfile import Strict

SplitName = Literal["train", "validation", "test"]


class PartCounts(Strict):
    """What a part must hold; checked against the prepared store before anything is trained."""

    rows: int
    live: int
    attack: int
    videos: int | None = None
    subjects: int | None = None
    units: int | None = None
    attacks: dict[str, int] | None = Field(None, description="rows of each coarse attack class")

    def differences(self, found: PartCounts) -> Iterator[str]:
        """Each count of this expectation that `found` knows and does not agree with."""
        known = found.model_dump(exclude_none=True)
        for name, number in self.model_dump(exclude_none=True).items():
            if name in known and known[name] != number:
                yield f"{name} expected {number}, found {known[name]}"


class ListFile(Strict):
    """An official list: its place in the lists folder, and the content it must have."""

    # No component starts with a dot: the path stays inside the folder.
    file: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ListsSource(Strict):
    """The public GitHub repository the lists are downloaded from, at one commit."""

    repository: str = Field(pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$", description="owner/name")
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")

    def url(self, file: str) -> str:
        """Where one list can be downloaded."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{file}"

    def __str__(self) -> str:
        return f"https://github.com/{self.repository} at commit {self.commit[:12]}"


class Drop(Strict):
    """Rows of the lists that a protocol leaves out."""

    duplicates: bool = Field(False, description="keep the first of repeated rows only")
    rows: dict[SplitName, tuple[str, ...]] = Field({}, description="ids, by the split whose list they are dropped from")


class DatasetSpec(Strict):
    """A data set of the protocol: an embedded one, a folder with a CSV, or a licensed one with its official lists."""

    size: Literal["tiny", "demo", "full"] | None = Field(None, description="embedded data sets: how much is rendered")
    csv: str | None = Field(None, description="folder data sets: the CSV, relative to the protocol file")
    image_size: int | None = Field(None, ge=16, description="folder data sets: resize every image to this square")
    range: dict[Literal["depth", "ir"], tuple[float, float]] = Field(
        default={}, description="folder data sets: raw values of 16-bit images that map to 0 and 255"
    )
    lists: dict[SplitName, ListFile] = Field(default={}, description="licensed data sets: the list of each split")
    drop: Drop = Drop()
    expect: dict[SplitName, PartCounts] = {}

    @property
    def synthetic(self) -> bool:
        """Rendered data, not faces."""
        return self.csv is None and self.size is not None

    @model_validator(mode="after")
    def _options_fit(self) -> DatasetSpec:
        if self.csv is None and (self.image_size is not None or self.range):
            raise ValueError("image_size and range belong to a data set with a csv")
        if self.csv is not None and self.size is not None:
            raise ValueError("size belongs to an embedded data set, not to one with a csv")
        if self.lists and (self.csv is not None or self.size is not None):
            raise ValueError("lists belong to a licensed data set, not to one with a csv or a size")
        if self.drop != Drop() and not self.lists:
            raise ValueError("drop belongs to a data set with lists")
        return self
