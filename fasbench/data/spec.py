"""What a protocol file says about a data set: where its rows come from, and what must be found in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from fasbench.resources import sha256
from fasbench.yamlfile import Strict

SplitName = Literal["train", "validation", "test"]


class Counts(Strict):
    """What a part must hold; checked against the prepared store before anything is trained."""

    def differences(self, found: Counts) -> Iterator[str]:
        """Each count of this expectation that `found` knows and does not agree with."""
        known = found.model_dump(exclude_none=True)
        for name, number in self.model_dump(exclude_none=True).items():
            if name in known and known[name] != number:
                yield f"{name} expected {number}, found {known[name]}"


class PartCounts(Counts):
    """Counts of a part whose rows are known."""

    rows: int
    live: int
    attack: int
    videos: int | None = None
    subjects: int | None = None
    units: int | None = None
    attacks: dict[str, int] | None = Field(None, description="rows of each coarse attack class")


class VideoCounts(Counts):
    """Counts of a part whose lists name videos: all in videos, for how many rows these give is for the files to say."""

    videos: int
    live: int
    attack: int
    subjects: int | None = None
    units: int | None = None
    attacks: dict[str, int] | None = Field(None, description="videos of each coarse attack class")


class ListFile(Strict):
    """An official list: its place in the lists folder, and the content it must have."""

    # No component starts with a dot: the path stays inside the folder.
    file: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*(/[A-Za-z0-9_][A-Za-z0-9_.@-]*)*$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class VideoLists(Strict):
    """Official lists that name videos, not frames. A split's videos are the union of its lists.

    Which frames of a video are taken: let n be how many frame numbers its colour, depth and infrared images have in
    common on disk. Of these in ascending order, those at the positions floor((2k + 1) n / (2 frames)), counted from 0,
    for k = 0, ..., frames - 1: the middles of so many equal sections. If n <= frames: all of them.
    """

    frames: int = Field(ge=1, description="how many frames of a video are taken")
    lists: dict[SplitName, Annotated[tuple[ListFile, ...], Field(min_length=1)]] = Field(min_length=1)
    expect: dict[SplitName, VideoCounts] = {}


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
    videos: VideoLists | None = Field(None, description="licensed data sets: lists of videos, in place of `lists`")
    drop: Drop = Drop()
    expect: dict[SplitName, PartCounts] = {}

    @property
    def synthetic(self) -> bool:
        """Rendered data, not faces."""
        return self.csv is None and self.size is not None

    @property
    def list_files(self) -> dict[SplitName, tuple[ListFile, ...]]:
        """The official lists of each split; empty = a data set without lists."""
        return self.videos.lists if self.videos else {split: (file,) for split, file in self.lists.items()}

    @property
    def lists_sha256(self) -> dict[str, str]:
        """What says which rows a store must have: a hash for each split, and of video lists how many frames."""
        if self.videos is None:
            return {split: file.sha256 for split, file in self.lists.items()}
        hashes = {str(split): sha256(*(file.sha256 for file in files)) for split, files in self.videos.lists.items()}
        return hashes | {"frames": str(self.videos.frames)}

    def expected(self, split: str) -> Counts | None:
        """What a split must hold."""
        counts = self.videos.expect if self.videos else self.expect
        return counts.get(split)  # type: ignore[call-overload]

    @model_validator(mode="after")
    def _options_fit(self) -> DatasetSpec:
        if self.csv is None and (self.image_size is not None or self.range):
            raise ValueError("image_size and range belong to a data set with a csv")
        if self.csv is not None and self.size is not None:
            raise ValueError("size belongs to an embedded data set, not to one with a csv")
        if self.list_files and (self.csv is not None or self.size is not None):
            raise ValueError("lists belong to a licensed data set, not to one with a csv or a size")
        if self.videos and (self.lists or self.expect):
            raise ValueError("lists and expect stand under videos where the lists name videos")
        if self.drop != Drop() and not self.lists:
            raise ValueError("drop belongs to a data set with lists")
        return self
