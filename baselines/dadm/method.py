"""DADM: masks that keep what two modalities share, angles and hyperplanes aligned between domains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from fasbench.baselines.dadm.losses import angle_loss, information_loss
from fasbench.baselines.dadm.mask import MutualMask
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.data.record import MODALITIES
from fasbench.layers.adapters import ConvolutionalAdapter
from fasbench.layers.irm import draw_together
from fasbench.layers.prototypes import Prototypes
from fasbench.layers.regrad import RELEASED_EPSILON, Rule, add_rebalanced, gradients_of
from fasbench.layers.vit import Stream, build_vit
from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability

if TYPE_CHECKING:
    from accelerate import Accelerator

PAIRS = tuple(combinations(range(3), 2))  # 12, 13, 23
RELEASED_HEADS = 3


class DADMConfig(ModelConfig):
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (128 / 255, 128 / 255, 128 / 255)
    backbone: str = Field("vit_base_patch16_224.augreg_in1k", description="a plain timm ViT")
    pretrained: bool = True
    train_trunk: bool = Field(False, description="train the whole ViT: for random weights only")
    mask_channels: int = Field(256, ge=2, multiple_of=2, description="of a mask's interaction map")
    theta: float = Field(0.7, ge=0, le=1, description="of the central difference convolution")
    angle_weight: float = Field(0.2, ge=0, description="lambda_ang")
    modality_weight: float = Field(0.3, ge=0, description="of the losses of one modality")
    information_weight: float = Field(0.5, ge=0, description="of MI within them")
    prototype_momentum: float = Field(0.2, ge=0, lt=1, description="weight of the old prototype")
    alpha: float = Field(0.995, gt=0, le=1, description="of the hyperplane step; 1 = none")
    regrad: Rule = Field("4", description="rule of ReGrad; off adds the gradients of the losses as they are")


@dataclass(frozen=True)
class Encoded:
    features: Tensor  # f_m, (3, B, D)
    information: dict[tuple[int, int], list[tuple[Tensor, Tensor]]]  # iota_ij, iota_ji (B, D) of each pair and block

    def reliability(self, modality: int) -> Tensor:
        """Mean of a modality's information tokens, without gradient; may be negative."""
        own = [
            tokens[pair.index(modality)]
            for pair, blocks in self.information.items()
            if modality in pair
            for tokens in blocks
        ]
        return torch.stack(own).detach().float().mean()


class DADM(Method):
    """DADM, "Dual Alignment of Domain and Modality" (Yang et al., ICCV 2025).

    Trunk, for every modality m of rgb (1), depth (2), ir (3), the same frozen blocks:
        a_m = MHSA(LN1(x_m));  h_m = x_m + a_m;  (a~_ij, a~_ji, iota_ij, iota_ji) = MIM_ij(a_i, a_j) for 12, 13, 23
        z_m = mean of the two aligned a~ of m;  x_m' = h_m + MLP(LN2(h_m)) + CDC-adapter_m(z_m)
        f_m = class token of LN(x_m)
    Losses:  L = CE(W_d [f_1; f_2; f_3], y) with the head W_d of the sample's domain, + 0.2 L_ang
             L_m = 0.3 (SSP_m + 0.5 MI_m), SSP as in MMDG
    Gradients:  g_L + G_m(g_1, g_2, g_3) for what m owns (ReGrad; reliability = mean of iota), g_L for the rest.
    After a step the W_d are drawn together (PG-IRM). Score: their mean.

    Defect numbers are those of the model card.
    """

    Config = DADMConfig
    fidelities = ("intended", "released")
    custom_backward = True

    def __init__(self, config: DADMConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        self.released = config.fidelity == "released"
        vit = build_vit(config.backbone, config.pretrained, config.image_size).requires_grad_(config.train_trunk)
        self.streams = nn.ModuleList(Stream(vit, train_projection=config.train_trunk) for _ in MODALITIES)
        self.blocks, self.norm = vit.blocks, vit.norm.requires_grad_(True)
        self.blocks[-1].requires_grad_(True)
        width, depth = vit.embed_dim, len(vit.blocks)
        self.masks = nn.ModuleList(
            nn.ModuleDict({_name(pair): MutualMask(width, config.mask_channels) for pair in PAIRS})
            for _ in range(depth)
        )
        self.adapters = nn.ModuleList(
            nn.ModuleList(ConvolutionalAdapter(width, theta=config.theta) for _ in MODALITIES) for _ in range(depth)
        )
        self.prototypes = Prototypes(sources, width, config.prototype_momentum, self.released)  # 3, 4
        # 10: the release always has three, so that of two sources' heads the mean has a third of a random one.
        heads = max(RELEASED_HEADS, len(sources)) if self.released else len(sources)
        self.heads = nn.ModuleList(nn.Linear(3 * width, 2, bias=False) for _ in range(heads))

    # --- forward ------------------------------------------------------------------------------------------------------

    def encode(self, inputs: Inputs) -> Encoded:
        """The three streams through the trunk, in one batch. What is missing is a black image."""
        x = torch.stack(
            [stream(image) for stream, image in zip(self.streams, inputs.filled("black").images(), strict=True)]
        )
        information: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {pair: [] for pair in PAIRS}
        for block, masks, adapters in zip(self.blocks, self.masks, self.adapters, strict=True):
            a = block.attn(block.norm1(x).flatten(0, 1)).view_as(x)  # (3, B, N, D)
            aligned: list[list[Tensor]] = [[], [], []]
            for i, j in PAIRS:
                first, second = masks[_name((i, j))](a[i], a[j])
                aligned[i].append(first.tokens)
                aligned[j].append(second.tokens)
                information[i, j].append((first.information, second.information))
            h = x + a
            heard = [adapter((one + other) / 2) for adapter, (one, other) in zip(adapters, aligned, strict=True)]
            x = h + block.mlp(block.norm2(h)) + torch.stack(heard)
        return Encoded(self.norm(x[:, :, 0]).float(), information)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L, L_m and their reliabilities. `total` is the sum of the losses; with ReGrad, its gradient is not what is
        followed."""
        if self.released:
            self.eval()  # 1: the prototypes of each batch leave it so
        encoded, classes = self.encode(batch.inputs), self.prototypes.classes_of(batch)
        if self.released:  # 1, 4: of this very batch
            self.prototypes.update(encoded.features.detach(), classes, torch.ones_like(batch.inputs.present))
        with torch.autocast(encoded.features.device.type, enabled=False):
            classification = self._classification(encoded.features, batch)
            angle = angle_loss(encoded.features, batch.label, batch.domain, self.released)
            losses = {"classification": classification, "angle": self.config.angle_weight * angle}
            information = {pair: information_loss(tokens) for pair, tokens in encoded.information.items()}
            for m, name in enumerate(MODALITIES):
                if self.released:  # 7: pair 12 for rgb, 13 for depth, 23 for infrared
                    mi = information[PAIRS[m]]
                else:
                    mi = torch.stack([value for pair, value in information.items() if m in pair]).mean()
                ssp = self.prototypes.loss(m, encoded.features[m], classes)
                losses[f"modality_{name}"] = self.config.modality_weight * (ssp + self.config.information_weight * mi)
        losses["total"] = torch.stack(list(losses.values())).sum()
        for m, name in enumerate(MODALITIES):
            losses[f"reliability_{name}"] = encoded.reliability(m)
        return losses

    def _classification(self, features: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each sample with the head of its domain; a head without samples gets no gradient."""
        joint = torch.cat(list(features), dim=-1)  # (B, 3 D)
        total = joint.new_zeros(())
        for d in batch.domain.unique().tolist():
            rows = batch.domain == d
            total = total + F.cross_entropy(self.heads[d](joint[rows]), batch.label[rows], reduction="sum")
        return total / len(batch)

    def score(self, inputs: Inputs) -> Tensor:
        weight = torch.stack([head.weight for head in self.heads]).mean(0)  # (2, 3 D)
        return live_probability(torch.cat(list(self.encode(inputs).features), dim=-1) @ weight.T)

    # --- training -----------------------------------------------------------------------------------------------------

    def on_epoch_start(self, epoch: int, batches: Iterator[Batch]) -> None:
        """The prototypes follow the features: means of evaluation mode, over a random half of the batches."""
        if self.released:  # see `loss`
            return
        self.eval()
        self.prototypes.renew(batches, lambda inputs: (self.encode(inputs).features, torch.ones_like(inputs.present)))
        self.train()

    def on_step_end(self, step: int) -> None:
        draw_together([head.weight for head in self.heads], self.config.alpha)

    def backward(self, losses: dict[str, Tensor], accelerator: Accelerator) -> None:
        """ReGrad: the gradients of L_m, balanced between the modalities, are added to that of L."""
        parts = {m: losses[f"modality_{name}"] for m, name in enumerate(MODALITIES)}
        owned = {m: self._owned(m) for m in parts}
        gradients = gradients_of(parts, [p for tensors in owned.values() for p in tensors])
        accelerator.backward(losses["classification"] + losses["angle"])  # g_L; last, as it frees the graph
        information = [losses[f"reliability_{name}"] for name in MODALITIES]
        slow = max(range(3), key=lambda m: float(information[m]))  # the most informative, whatever its loss
        # 6: may be negative. Clamped only now: all three often are, and the largest is still to be told.
        reliability = information if self.released else [value.clamp(0, 1) for value in information]
        epsilon = RELEASED_EPSILON if self.released else 0.0
        for m, tensors in owned.items():
            speed = [1.0, 1.0, 1.0]
            speed[m] = 1.0 if m == slow else 0.0  # `add_rebalanced` calls the strictly smallest fast
            add_rebalanced(tensors, m, gradients, speed, reliability, self.config.regrad, epsilon)

    def _owned(self, owner: int) -> list[nn.Parameter]:
        """Tensors of a modality that ReGrad reaches; the others keep the gradient of L alone.

        A mask belongs to the second of its pair: 12 to depth, 13 and 23 to infrared.
        """
        stream = self.streams[owner]
        if self.released:  # 5: the position in the list stops at the first tensor without a gradient
            return [stream.class_token, stream.position]
        parts: list[nn.Module] = [stream, *(adapters[owner] for adapters in self.adapters)]
        parts += [masks[_name(pair)] for masks in self.masks for pair in PAIRS if pair[1] == owner]
        return [p for part in parts for p in part.parameters() if p.requires_grad]


def _name(pair: tuple[int, int]) -> str:
    """`rgb_depth` and so on."""
    return f"{MODALITIES[pair[0]]}_{MODALITIES[pair[1]]}"
