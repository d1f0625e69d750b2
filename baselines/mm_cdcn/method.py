"""MM-CDCN: a central difference network per modality, fused late, that draws a map of the live face."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.convolution import CentralDifferenceConv2d
from fasbench.layers.pixelwise import (
    absolute_depth_loss,
    contrastive_depth_loss,
    face_mask,
    grey,
    map_target,
    pixel_values,
)
from fasbench.method import Batch, Inputs, Method, ModelConfig

RGB, DEPTH, IR = range(3)
ORDER = (RGB, IR, DEPTH)  # of the concatenation
MIDDLE = 1  # of a branch's three levels


class MMCDCNConfig(ModelConfig):
    image_size: int = Field(256, ge=32, description="side of the square input, pixels")
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (128 / 255, 128 / 255, 128 / 255)  # (x - 127.5) / 128
    width: int = Field(64, ge=4, description="channels of the stem; the blocks have twice and 196/64 times as many")
    map_size: int = Field(32, ge=4, description="side S of the map")
    theta: float = Field(0.7, ge=0, le=1, description="of the central difference convolution")
    missing: Literal["black", "drop"] = Field(
        "black", description="an absent modality: a black image, or its reduced map left out (zeros)"
    )


def unit(channels_in: int, channels_out: int, theta: float) -> nn.Sequential:
    """CDC, batch normalisation, ReLU."""
    convolution = CentralDifferenceConv2d(channels_in, channels_out, theta)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


class Branch(nn.Module):
    """Stem and three blocks of one modality. Sizes for width w = 64 at 256 px."""

    def __init__(self, width: int, theta: float) -> None:
        super().__init__()
        middle, wide = 2 * width, round(196 / 64 * width)
        self.stem = unit(3, width, theta)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                unit(channels, middle, theta),
                unit(middle, wide, theta),
                unit(wide, middle, theta),
                nn.MaxPool2d(3, stride=2, padding=1),
            )
            for channels in (width, middle, middle)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, 256, 256) -> the blocks' outputs (B, 128, 128, 128), (B, 128, 64, 64), (B, 128, 32, 32)."""
        # Channels last: the same numbers in an order that these convolutions pass 1.5 times faster on a CPU.
        x, levels = self.stem(image.contiguous(memory_format=torch.channels_last)), []
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return levels


class MMCDCN(Method):
    """Multi-modal central difference network (Yu et al., CVPR Workshops 2020).

    Per modality m:  z_m = reduce_m [level1; level2; level3] at S x S;  S = ReLU(CDC(phi(CDC [z_rgb; z_ir; z_depth]))).
    Target T: the face region of a live sample (its RGB image is not black), zeros of an attack.
    L = L_abs + L_cdl,  L_abs = mean (S - T)^2,  L_cdl = mean_d (D_d S - D_d T)^2 over the 8 neighbours d.
    Score: mean of S, at most 1.
    """

    Config = MMCDCNConfig
    fidelities = ("intended", "released")

    def __init__(self, config: MMCDCNConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        self.released = config.fidelity == "released"
        middle = 2 * config.width
        self.branches = nn.ModuleList(Branch(config.width, config.theta) for _ in range(3))
        self.reduce = nn.ModuleList(unit(3 * middle, middle, config.theta) for _ in range(3))
        self.fusion = unit(3 * middle, middle, config.theta)
        self.last = CentralDifferenceConv2d(middle, 1, config.theta)

    def reduced(self, inputs: Inputs) -> list[Tensor]:
        """z_m of rgb, depth, ir: (B, 128, S, S) each."""
        side = self.config.map_size
        levels = [branch(image) for branch, image in zip(self.branches, inputs.filled("black").images(), strict=True)]
        if self.released:
            levels[DEPTH][MIDDLE] = levels[RGB][MIDDLE]  # defect 1: not depth's own
        maps = []
        for m, reduce in enumerate(self.reduce):
            resized = [F.interpolate(x, (side, side), mode="bilinear", align_corners=False) for x in levels[m]]
            z = reduce(torch.cat(resized, dim=1))
            if self.config.missing == "drop":
                z = torch.where(inputs.present[:, m, None, None, None], z, 0.0)
            maps.append(z)
        return maps

    def face_map(self, inputs: Inputs) -> Tensor:
        """S (B, S, S), not negative, fp32."""
        maps = self.reduced(inputs)
        fused = self.fusion(torch.cat([maps[m] for m in ORDER], dim=1))
        with torch.autocast(fused.device.type, enabled=False):
            return F.relu(self.last(fused.float()))[:, 0]

    def mask(self, inputs: Inputs) -> Tensor:
        """M (B, S, S): where the RGB image is not black; 1 everywhere where there is no RGB image to tell."""
        mask = face_mask(grey(pixel_values(inputs.rgb, self.config)), self.config.map_size)
        return torch.where(inputs.present[:, RGB, None, None], mask, 1.0)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        predicted = self.face_map(batch.inputs)
        target = map_target(batch.label, self.mask(batch.inputs))  # T
        absolute = absolute_depth_loss(predicted, target)
        contrastive = contrastive_depth_loss(predicted, target)
        return {
            "total": absolute + contrastive,
            "absolute": absolute,
            "contrastive": contrastive,
            "alive": (predicted > 0).float().mean(),  # 0: a dead map, whose ReLU passes no gradient (defect 6)
        }

    def score(self, inputs: Inputs) -> Tensor:
        predicted = self.face_map(inputs).double()
        if not self.released:
            return predicted.mean(dim=(1, 2)).clamp(max=1)
        mask = self.mask(inputs).double()
        area = mask.sum(dim=(1, 2))  # defect 5: a dark face inflates the score; an empty one is counted as full here
        area = torch.where(area > 0, area, mask[0].numel())
        return (predicted.sum(dim=(1, 2)) / area).clamp(max=1)
