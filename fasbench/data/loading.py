"""Store + split -> batches. No worker processes: a memory-mapped read is a copy (benchmarks/loading.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fasbench.config import AugmentConfig, Modality, ModelConfig
from fasbench.data.augment import augment
from fasbench.data.choice import Rule, chosen
from fasbench.data.descriptors import Recipe, descriptor_channels
from fasbench.data.record import MODALITIES
from fasbench.data.sample import Batch, Inputs
from fasbench.data.spec import Drop
from fasbench.protocol import Part
from fasbench.resources import sha256

if TYPE_CHECKING:
    from fasbench.data.store import Store

Column = Callable[[str], np.ndarray]
COLUMNS = (
    *("id", "domain", "label", "attack", "attack_fine", "race"),
    *("subject", "presenter", "unit", "video", "sha256"),
)


class Rows:
    """The rows of one role (train, validation or test) of a split, from one or several stores.

    Args:
        parts: the parts in the protocol's order.
        stores: prepared stores by data set.
        limit_videos: keep only the first so many videos of each data set and class (for partial runs).
        rules: which rows of the parts are taken; none = all.
        drops: listed rows that the protocol leaves out, by data set.
    """

    def __init__(
        self,
        parts: tuple[Part, ...],
        stores: dict[str, Store],
        limit_videos: int | None = None,
        rules: Sequence[Rule] = (),
        drops: Mapping[str, Drop] | None = None,
    ) -> None:
        self.parts = parts
        self.stores = [stores[part.dataset] for part in parts]
        chosen = [
            _limit(
                store,
                part_rows(store.column, part.split, (drops or {}).get(part.dataset, Drop()), rules),
                limit_videos,
            )
            for part, store in zip(parts, self.stores, strict=True)
        ]
        self.store_index = np.repeat(np.arange(len(parts)), [len(rows) for rows in chosen])
        self.store_row = np.concatenate(chosen)
        self.columns = {
            name: np.concatenate([s.column(name)[rows] for s, rows in zip(self.stores, chosen, strict=True)])
            for name in COLUMNS
        }
        self.present = np.concatenate([s.present[rows] for s, rows in zip(self.stores, chosen, strict=True)])  # (N, 3)

    def __len__(self) -> int:
        return len(self.store_row)

    def __getitem__(self, column: str) -> np.ndarray:
        """A metadata column, (N,)."""
        return self.columns[column]

    def content_sha256(self) -> str:
        """Hash of every row's content in order: pixels and metadata."""
        return sha256("\n".join(self["sha256"]))

    def read(self, positions: np.ndarray) -> list[Group]:
        """The images at `positions`, grouped by image size (data sets of one size come as one group)."""
        shapes = np.array([store.shape for store in self.stores])[self.store_index[positions]]  # (B, 2)
        groups = []
        for height, width in sorted(set(map(tuple, shapes.tolist()))):
            where = np.flatnonzero((shapes == (height, width)).all(axis=1))
            index, rows = self.store_index[positions[where]], self.store_row[positions[where]]
            used = np.unique(index)
            if len(used) == 1:
                groups.append(Group(where, *self.stores[used[0]].read(rows)))
                continue
            parts = [(index == store, self.stores[store].read(rows[index == store])) for store in used]
            images = [np.empty((len(where), *image.shape[1:]), image.dtype) for image in parts[0][1]]
            for here, read in parts:
                for target, image in zip(images, read, strict=True):
                    target[here] = image
            groups.append(Group(where, *images))
        return groups


class Group(NamedTuple):
    """Images of one size: `where` are their places in the batch."""

    where: np.ndarray  # (G,)
    rgb: np.ndarray  # (G, H, W, 3) uint8
    depth: np.ndarray  # (G, H, W) uint8
    ir: np.ndarray  # (G, H, W) uint8
    present: np.ndarray  # (G, 3) bool


def part_rows(column: Column, split: str, drop: Drop, rules: Sequence[Rule] = ()) -> np.ndarray:
    """The rows of a data set's split that the protocol does not drop and the rules keep.

    A row that is named goes with its repetitions (`id#2`). `column` gives the values of a metadata column.
    """
    rows = np.flatnonzero(column("split") == split)
    if drop != Drop():
        named = set(drop.rows.get(split, ()))  # type: ignore[call-overload]
        ids = [text.partition("#") for text in column("id")[rows]]
        kept = [first not in named and not (drop.duplicates and mark) for first, mark, _ in ids]
        rows = rows[np.array(kept, bool)]
    return rows[chosen(rules, lambda name: column(name)[rows], len(rows))]


def _limit(store: Store, rows: np.ndarray, limit: int | None) -> np.ndarray:
    """The rows of the first `limit` videos of each class, in order."""
    if limit is None:
        return rows
    kept: list[np.ndarray] = []
    for label in (0, 1):
        of_class = rows[store.column("label")[rows] == label]
        videos = list(dict.fromkeys(store.column("video")[of_class]))[:limit]
        kept.append(of_class[np.isin(store.column("video")[of_class], videos)])
    return np.sort(np.concatenate(kept))


def to_inputs(
    groups: list[Group],
    config: ModelConfig,
    device: torch.device,
    absent: tuple[str, ...] = (),
    augmentation: tuple[AugmentConfig, torch.Generator] | None = None,
) -> Inputs:
    """Stored uint8 images as the method's inputs: resized, augmented, normalised, exactly 0 where absent.

    Args:
        groups: what `Rows.read` gives; together they cover a batch.
        absent: modalities the condition takes away.
        augmentation: the settings and a generator, for training.
    """
    batch, size = sum(len(group.where) for group in groups), config.image_size
    stored = np.empty((batch, 3), bool)
    planes = [torch.empty(batch, 3, size, size, device=device) for _ in MODALITIES]
    for group in groups:
        where = torch.from_numpy(group.where).to(device)
        stored[group.where] = group.present
        rgb, depth, ir = (torch.from_numpy(image).to(device) for image in (group.rgb, group.depth, group.ir))
        planes[0][where] = _resize(rgb.permute(0, 3, 1, 2).float(), size)
        planes[1][where] = _resize(depth[:, None].float(), size, nearest=True).expand(-1, 3, -1, -1)
        infrared = ir[:, None].float()
        if config.ir_channels != "plain":  # at the stored size: published are those of the size the files have
            recipe: Recipe = "clean" if config.ir_channels == "clean-descriptors" else "released"
            infrared = descriptor_channels(infrared, recipe)
        planes[2][where] = _resize(infrared, size).expand(-1, 3, -1, -1)
    if augmentation is not None:
        planes = augment(planes, *augmentation)
    mean = 255 * torch.tensor(config.mean, device=device)[:, None, None]
    std = 255 * torch.tensor(config.std, device=device)[:, None, None]
    kept = stored & np.array([name not in absent for name in MODALITIES])
    present = torch.from_numpy(kept).to(device)
    for m, plane in enumerate(planes):
        plane.sub_(mean).div_(std)  # in place: the conversion, not the read, is what a batch costs
        if not kept[:, m].all():
            plane.masked_fill_(~present[:, m, None, None, None], 0)
    return Inputs(planes[0], planes[1], planes[2], present, black=(-mean / std).flatten().expand(3, 3))


def drop_modalities(inputs: Inputs, probabilities: Mapping[Modality, float], generator: torch.Generator) -> Inputs:
    """Training samples with some of their modalities taken away, each sample and modality on its own.

    Args:
        probabilities: of taking a modality away; one that is not named stays.
        generator: on the CPU, so that a seed takes away the same on every device.

    A sample that would be left with nothing keeps all it has.
    """
    if not any(probabilities.values()):
        return inputs
    named = {str(name): value for name, value in probabilities.items()}
    limits = torch.tensor([named.get(name, 0.0) for name in MODALITIES])
    kept = torch.rand(len(inputs), 3, generator=generator) >= limits  # (B, 3); rand is below 1
    left = inputs.present & kept.to(inputs.present.device)
    left = torch.where(left.any(dim=1, keepdim=True), left, inputs.present)
    return Inputs.of(inputs.images(), left, inputs.black)


def _resize(image: Tensor, size: int, nearest: bool = False) -> Tensor:
    """Square images; nearest neighbour for depth, where a mean with a hole (0) would be a surface nobody measured."""
    if image.shape[-2:] == (size, size):
        return image
    if nearest:
        return F.interpolate(image, size=(size, size), mode="nearest-exact")
    return F.interpolate(image, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def epoch_order(rows: int, steps: int, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of every batch of an epoch, (steps, batch_size): shuffled passes over the rows, one after the other."""
    passes = -(-steps * batch_size // rows)
    stream = np.concatenate([rng.permutation(rows) for _ in range(passes)])
    return stream[: steps * batch_size].reshape(steps, batch_size)


def train_batch(
    rows: Rows,
    positions: np.ndarray,
    sources: tuple[str, ...],
    config: ModelConfig,
    augmentation: tuple[AugmentConfig, torch.Generator],
    device: torch.device,
    dropout: tuple[Mapping[Modality, float], torch.Generator] | None = None,
) -> Batch:
    """The training batch at `positions`; `dropout` as in `drop_modalities`."""
    inputs = to_inputs(rows.read(positions), config, device, augmentation=augmentation)
    if dropout is not None:
        inputs = drop_modalities(inputs, *dropout)
    domain = [sources.index(name) for name in rows["domain"][positions]]
    return Batch(
        inputs=inputs,
        label=torch.from_numpy(rows["label"][positions]).to(device),
        domain=torch.tensor(domain, device=device),
        attack=tuple(rows["attack"][positions].tolist()),
    )
