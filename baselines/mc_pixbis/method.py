"""MC-PixBiS: one DenseNet on all channels stacked, supervised in every pixel of a small map."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.densenet import BLOCKS, GROWTH, num_channels, truncated_densenet
from fasbench.layers.depth import mad_normalise
from fasbench.layers.pixelwise import pixel_values, pixelwise_bce
from fasbench.method import Batch, Inputs, Method, ModelConfig

STRIDE = 16  # of the map


class MCPixBiSConfig(ModelConfig):
    image_size: int = Field(224, ge=32, multiple_of=STRIDE, description="side of the square input, pixels")
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)  # images in [0, 1]
    pretrained: bool = Field(True, description="ImageNet weights, fetched by timm on first use")
    growth: int = Field(GROWTH, ge=1, description="of the DenseNet; 48 is DenseNet-161")
    blocks: tuple[int, int] = Field(BLOCKS, description="layers of its two dense blocks")
    weight: float = Field(0.5, ge=0, le=1, description="lambda, share of the map's loss")
    scored: Literal["pixel", "binary", "combined"] = Field(
        "pixel", description="the score: mean of the map, the binary output, or the mean of both"
    )


class MCPixBiS(Method):
    """Deep pixel-wise binary supervision (George and Marcel, ICB 2019) on C channels (Heusch et al., TBIOM 2020).

    x = [R, G, B, depth, ir];  z = conv1x1(DenseNet(x)),  m = sigma(z) a 14 x 14 map;  p = sigma(w^T flat(m) + b).
    L = lambda mean BCE(m, y) + (1 - lambda) BCE(p, y).  Score: mean of m.
    """

    Config = MCPixBiSConfig
    channels = 5

    def __init__(self, config: MCPixBiSConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        self.encoder = truncated_densenet(config.pretrained, self.channels, config.growth, config.blocks)
        self.pixel = nn.Conv2d(num_channels(config.growth, config.blocks), 1, kernel_size=1)
        self.binary = nn.Linear((config.image_size // STRIDE) ** 2, 1)

    def stack(self, inputs: Inputs) -> Tensor:
        """(B, 5, H, W) in [0, 1]; depth and infrared MAD-normalised, an absent modality 0."""
        channels = [torch.where(inputs.present[:, 0, None, None, None], inputs.rgb, 0.0)]
        for m in (1, 2):
            spread = mad_normalise(pixel_values(inputs.images()[m], self.config)[:, :1]) / 255
            channels.append(torch.where(inputs.present[:, m, None, None, None], spread, 0.0))
        return torch.cat(channels, dim=1)

    def logits(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Of the map, z (B, 14, 14), and of the binary output (B,); fp32."""
        features = self.encoder(self.stack(inputs))  # (B, 384, 14, 14)
        with torch.autocast(features.device.type, enabled=False):
            z = self.pixel(features.float())[:, 0]
            return z, self.binary(torch.sigmoid(z).flatten(1))[:, 0]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        z, output = self.logits(batch.inputs)
        pixel = pixelwise_bce(z, batch.label)
        binary = F.binary_cross_entropy_with_logits(output, batch.label.float())
        total = self.config.weight * pixel + (1 - self.config.weight) * binary
        return {"total": total, "pixel": pixel, "binary": binary}

    def score(self, inputs: Inputs) -> Tensor:
        z, output = self.logits(inputs)
        pixel, binary = torch.sigmoid(z.double()).mean(dim=(1, 2)), torch.sigmoid(output.double())
        return {"pixel": pixel, "binary": binary, "combined": (pixel + binary) / 2}[self.config.scored]
