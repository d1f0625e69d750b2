"""Inputs and Batch: what a method sees. Labels, domains and attacks are in Batch only, so they never reach a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fasbench.data.record import MODALITIES


@dataclass(frozen=True)
class Inputs:
    """Normalised images of B samples on the method's device.

    `rgb`, `depth`, `ir`: float (B, 3, H, W), depth and infrared repeated to three channels, exactly 0 where the
    modality is absent. `present`: bool (B, 3) in the order rgb, depth, ir. `black`: (3, 3), the value a black pixel has
    after normalisation, modality x channel.
    """

    rgb: Tensor
    depth: Tensor
    ir: Tensor
    present: Tensor
    black: Tensor

    def __len__(self) -> int:
        return len(self.present)

    def images(self) -> tuple[Tensor, Tensor, Tensor]:
        """(rgb, depth, ir)."""
        return self.rgb, self.depth, self.ir

    @classmethod
    def of(cls, images: Sequence[Tensor], present: Tensor, black: Tensor) -> Inputs:
        """Inputs with exact zeros where a modality is absent, whatever the images hold there."""
        rgb, depth, ir = (torch.where(present[:, m, None, None, None], image, 0.0) for m, image in enumerate(images))
        return cls(rgb, depth, ir, present, black)

    def filled(self, fill: Literal["black", "zero"]) -> Inputs:
        """Absent modalities as images: `zero` as they are, or `black` for methods published that way (DADM, MMDA)."""
        if fill == "zero":
            return self
        rgb, depth, ir = (
            torch.where(self.present[:, m, None, None, None], image, self.black[m, None, :, None, None])
            for m, image in enumerate(self.images())
        )
        return Inputs(rgb, depth, ir, self.present, self.black)

    def select(self, rows: Tensor) -> Inputs:
        """The samples at `rows` (indices or a bool mask)."""
        return Inputs(self.rgb[rows], self.depth[rows], self.ir[rows], self.present[rows], self.black)

    def without(self, *modalities: str) -> Inputs:
        """The same samples with the named modalities absent."""
        kept = torch.tensor([name not in modalities for name in MODALITIES], device=self.present.device)
        return Inputs.of(self.images(), self.present & kept, self.black)


@dataclass(frozen=True)
class Batch:
    """A training batch: inputs with what only a loss may know.

    `label` (B,) int64, 1 = bona fide; `domain` (B,) int64, index into the split's sources in sorted order; `attack`:
    the coarse class of each sample, "live" for bona fide.
    """

    inputs: Inputs
    label: Tensor
    domain: Tensor
    attack: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.label)
