"""CMFL: two DenseNets, RGB and depth, whose losses relax where the other modality already knows."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.densenet import BLOCKS, GROWTH, num_channels, truncated_densenet
from fasbench.layers.depth import mad_normalise
from fasbench.layers.pixelwise import pixel_values
from fasbench.method import Batch, Inputs, Method, ModelConfig

RGB, DEPTH, IR = range(3)
STREAMS = {"rgbd": (RGB, DEPTH), "all": (RGB, DEPTH, IR)}
EPSILON = 1e-9


class CMFLConfig(ModelConfig):
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)  # images in [0, 1]
    pretrained: bool = Field(True, description="ImageNet weights, fetched by timm on first use")
    growth: int = Field(GROWTH, ge=1, description="of the DenseNets; 48 is DenseNet-161")
    blocks: tuple[int, ...] = Field(BLOCKS, min_length=1, description="layers of their dense blocks")
    modalities: Literal["rgbd", "all"] = Field("rgbd", description="as published, or with a third stream for infrared")
    gamma: float = Field(3.0, ge=0, description="of the focal loss; 0 = cross-entropy")
    alpha: float = Field(1.0, gt=0)
    beta: float = Field(0.5, ge=0, le=1, description="share of the cross-modal focal loss")


class CMFL(Method):
    """Cross-modal focal loss on RGB-D heads (George and Marcel, CVPR 2021).

    Streams: e_m = sigma(pool(DenseNet_m(x_m)));  p = sigma(w_rgb e_rgb), q = sigma(w_d e_d), r = sigma(w [e_rgb; e_d]).
    With p_t = p if live, 1 - p if not:  w(p_t, q_t) = q_t 2 p_t q_t / (p_t + q_t),
    l(p_t, q_t) = -alpha (1 - w(p_t, q_t))^gamma log p_t,   L_CMFL = mean over ordered pairs of streams,
    L = (1 - beta) BCE(r, y) + beta L_CMFL.  Score: r; with a stream absent, the mean of the other streams' own.
    """

    Config = CMFLConfig

    def __init__(self, config: CMFLConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        self.streams = STREAMS[config.modalities]
        self.encoders = nn.ModuleList(
            truncated_densenet(config.pretrained, None if m == RGB else 1, config.growth, config.blocks)
            for m in self.streams
        )
        self.width = num_channels(config.growth, config.blocks)
        self.heads = nn.ModuleList(nn.Linear(self.width, 1) for _ in self.streams)
        self.joint = nn.Linear(len(self.streams) * self.width, 1)

    def image(self, inputs: Inputs, m: int) -> Tensor:
        """(B, 3, H, W) of RGB; one channel of depth and infrared, MAD-normalised, in [0, 1]."""
        if m == RGB:
            return inputs.rgb
        return mad_normalise(pixel_values(inputs.images()[m], self.config)[:, :1]) / 255

    def embed(self, inputs: Inputs) -> Tensor:
        """e_m (B, M, D) fp32, 0 where a sample lacks the modality: its image is not even looked at."""
        embeddings = torch.zeros(len(inputs), len(self.streams), self.width, device=inputs.rgb.device)
        for place, m in enumerate(self.streams):
            rows = torch.nonzero(inputs.present[:, m])[:, 0]
            if len(rows):  # batch normalisation then sees images only
                features = self.encoders[place](self.image(inputs.select(rows), m))  # (R, D, H/16, W/16)
                embeddings[rows, place] = torch.sigmoid(features.float().mean(dim=(2, 3)))
        return embeddings

    def logits(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """Of the streams' heads (B, M) and of the joint head (B,), fp32. Defined where the streams are present."""
        embeddings = self.embed(inputs)
        with torch.autocast(embeddings.device.type, enabled=False):
            own = [head(embeddings[:, place]) for place, head in enumerate(self.heads)]
            return torch.cat(own, dim=1), self.joint(embeddings.flatten(1))[:, 0]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        own, joint = self.logits(batch.inputs)
        present = batch.inputs.present[:, list(self.streams)]  # (B, M)
        label = batch.label.float()
        joint_loss = mean_where(F.binary_cross_entropy_with_logits(joint, label, reduction="none"), present.all(dim=1))
        focal = self.focal_loss(own, label, present)
        total = (1 - self.config.beta) * joint_loss + self.config.beta * focal
        return {"total": total, "joint": joint_loss, "focal": focal}

    def focal_loss(self, logits: Tensor, label: Tensor, present: Tensor) -> Tensor:
        """L_CMFL of the streams' logits (B, M), over the samples that have the stream.

        Where the other stream is absent nobody vouches for the sample: w = 0, plain cross-entropy.
        """
        entropy = F.binary_cross_entropy_with_logits(logits, label[:, None].expand_as(logits), reduction="none")
        certainty = torch.exp(-entropy)  # p_t (B, M)
        losses = []
        for i, _ in enumerate(self.streams):
            for j, _ in enumerate(self.streams):
                if i != j:
                    w = torch.where(present[:, j], cross_modal_weight(certainty[:, i], certainty[:, j]), 0.0)
                    modulation = (1 - w).clamp(min=0) ** self.config.gamma
                    losses.append(mean_where(self.config.alpha * modulation * entropy[:, i], present[:, i]))
        return torch.stack(losses).mean()

    def score(self, inputs: Inputs) -> Tensor:
        """r, or the mean of p and q (as far as present) where a stream is absent; 1/2 where all are."""
        own, joint = self.logits(inputs)
        present = inputs.present[:, list(self.streams)].double()  # (B, M)
        count = present.sum(dim=1)
        mean = (torch.sigmoid(own.double()) * present).sum(dim=1) / count.clamp(min=1)
        partial = torch.where(count > 0, mean, 0.5)  # infrared alone says nothing to an RGB-D method
        return torch.where(count == len(self.streams), torch.sigmoid(joint.double()), partial)


def cross_modal_weight(own: Tensor, other: Tensor) -> Tensor:
    """w(p_t, q_t): the other's confidence times the harmonic mean; 1 if both are sure and right, 0 if it errs."""
    other = other + EPSILON
    return other * 2 * own * other / (own + other + EPSILON)


def mean_where(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of the values (B,) that count, 0 if none does."""
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp(min=1)
