"""MMDG: a frozen ViT shared by three modalities, weak adapters between them, prototypes, rebalanced gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from fasbench.baselines.mmdg.adapter import DropoutCertainty, UAdapter
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.data.record import MODALITIES
from fasbench.layers.prototypes import Prototypes
from fasbench.layers.regrad import RELEASED_EPSILON, Rule, add_rebalanced, gradients_of
from fasbench.layers.vit import Stream, build_vit
from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability

if TYPE_CHECKING:
    from accelerate import Accelerator

PATHS = ((0, 1), (0, 2), (1, 0), (2, 0))  # who listens to whom: depth and infrared never to each other
RELEASED_SAMPLES = 20


class MMDGConfig(ModelConfig):
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (128 / 255, 128 / 255, 128 / 255)
    backbone: str = Field("vit_base_patch16_224.augreg_in1k", description="a plain timm ViT")
    pretrained: bool = True
    train_trunk: bool = Field(False, description="train the whole ViT: for random weights only")
    rate: float = Field(2.25, ge=0, description="r; 0 = no uncertainty: every certainty is 1")
    theta: float = Field(0.5, ge=0, le=1, description="of the central difference convolution")
    prototype_weight: float = Field(0.3, ge=0, description="lambda (r_ssp), of the prototype losses")
    prototype_momentum: float = Field(0.2, ge=0, lt=1, description="weight of the old prototype")
    regrad: Rule = Field("4", description="rule of ReGrad; off adds the gradients of the losses as they are")
    modulated: Literal["all", "tokens"] | None = Field(
        None, description="what ReGrad reaches; tokens = defect 2; null = all if intended, tokens if released"
    )
    missing: Literal["black", "skipped"] = Field(
        "black", description="black images, or features of 0 and no adapter between a modality and a missing one"
    )


@dataclass(frozen=True)
class Encoded:
    """The features of a batch."""

    features: dict[int, Tensor]  # f_m (B, D) of each modality that any sample has
    certainty: dict[int, Tensor]  # of its class token in the last block, (B,), without gradient


class MMDG(Method):
    """MMDG, "Suppress and Rebalance" (Lin et al., CVPR 2024).

    Trunk, for every modality m of rgb (1), depth (2), ir (3), the same frozen blocks:
        n_m = LN1(x_m);  a_m = MHSA(n_m);  h_m = x_m + a_m;  g_m = LN2(h_m);  u_m = certainty of a_m by MC dropout
        x_1' = h_1 + MLP(g_1) + A_12(g_1, g_2, u_2) + A_13(g_1, g_3, u_3)
        x_2' = h_2 + MLP(g_2) + A_21(g_2, g_1, u_1);  x_3' = h_3 + MLP(g_3) + A_31(g_3, g_1, u_1)
        f_m = class token of LN(x_m)
    Losses:  L = CE(W [f_1; f_2; f_3] + b, y);  L_m = lambda CE(-|f_m - p_{m,c}| over c, domain class) (SSP).
    Gradients:  g_L + G_m(g_1, g_2, g_3) for what modality m owns (ReGrad; kappa_m = certainty of its class token, the
    fast modality is that of the smallest L_m), g_L for the rest: head, last block, last norm.

    Defect numbers are those of the model card.
    """

    Config = MMDGConfig
    fidelities = ("intended", "released")
    custom_backward = True

    def __init__(self, config: MMDGConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        self.released = config.fidelity == "released"
        vit = build_vit(config.backbone, config.pretrained, config.image_size).requires_grad_(config.train_trunk)
        self.streams = nn.ModuleList(Stream(vit, train_projection=config.train_trunk) for _ in MODALITIES)
        # 8: the paper trains adapters and head only; the code also the last block and norm, tokens and positions.
        self.blocks, self.norm = vit.blocks, vit.norm.requires_grad_(True)
        self.blocks[-1].requires_grad_(True)
        width, depth = vit.embed_dim, len(vit.blocks)
        self.adapters = nn.ModuleList(
            nn.ModuleDict({_path(own, aux): UAdapter(width, theta=config.theta) for own, aux in PATHS})
            for _ in range(depth)
        )
        samples = RELEASED_SAMPLES if self.released else None  # 6: the closed form of the same
        self.certainties = nn.ModuleList(
            nn.ModuleList(DropoutCertainty(samples, config.rate, seed=3 * number + m) for m in range(3))
            for number in range(depth)
        )
        self.prototypes = Prototypes(sources, width, config.prototype_momentum, self.released)  # 3, 5
        self.head = nn.Linear(3 * width, 2)

    # --- forward ------------------------------------------------------------------------------------------------------

    def encode(self, inputs: Inputs) -> Encoded:
        """The streams through the trunk, in one batch; a modality that no sample has is left out."""
        active = [m for m in range(3) if bool(inputs.present[:, m].any())]
        x = dict(zip(active, (self.streams[m](inputs.images()[m]) for m in active), strict=True))  # (B, N, D) each
        certainty: dict[int, Tensor] = {}
        for number in range(len(self.blocks)):
            x, certainty = self.block(number, x, inputs.present)
        features = self.norm(torch.stack([x[m][:, 0] for m in active])).float()  # (A, B, D)
        return Encoded(dict(zip(active, features, strict=True)), {m: certainty[m][:, 0] for m in active})

    def block(self, number: int, x: dict[int, Tensor], present: Tensor) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """x_m' of x_m (B, N, D), and u_m (B, N), for the modalities in x. The last block gives the class token only."""
        block, active = self.blocks[number], list(x)
        stacked = torch.stack([x[m] for m in active])  # (A, B, N, D)
        tokens = 1 if number == len(self.blocks) - 1 else stacked.shape[2]
        a = block.attn(block.norm1(stacked).flatten(0, 1)).view_as(stacked)
        u = {m: self.certainties[number][m](a[i]) for i, m in enumerate(active)}
        h = stacked + a
        g = block.norm2(h)
        out = dict(zip(active, h[:, :, :tokens] + block.mlp(g[:, :, :tokens]), strict=True))  # 7: h, not LN2(h)
        n = dict(zip(active, g, strict=True))
        for own, aux in PATHS:
            if own in out and aux in out and bool((present[:, own] & present[:, aux]).any()):
                term = self.adapters[number][_path(own, aux)](n[own], n[aux][:, :tokens], u[aux][:, :tokens])
                out[own] = out[own] + torch.where(present[:, aux, None, None], term, 0.0)
        return out, u

    def logits(self, encoded: Encoded, present: Tensor) -> Tensor:
        """W [f_1; f_2; f_3] + b, f_m = 0 where sample and modality do not meet; (B, 2), index 1 = live."""
        nothing = torch.zeros_like(next(iter(encoded.features.values())))  # (B, D)
        parts = [torch.where(present[:, m, None], encoded.features.get(m, nothing), 0.0) for m in range(3)]
        with torch.autocast(present.device.type, enabled=False):
            return self.head(torch.cat(parts, dim=1))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """L, L_m of the modalities present and their reliabilities kappa_m. `total` is the sum of the losses; with
        ReGrad, its gradient is not what is followed."""
        inputs = self._complete(batch.inputs)
        encoded, classes = self.encode(inputs), self.prototypes.classes_of(batch)
        losses = {"classification": F.cross_entropy(self.logits(encoded, inputs.present), batch.label)}
        for m, f in encoded.features.items():
            rows = inputs.present[:, m]
            ssp = self.prototypes.loss(m, f[rows], classes[rows])
            losses[f"prototypes_{MODALITIES[m]}"] = self.config.prototype_weight * ssp
        losses["total"] = torch.stack(list(losses.values())).sum()
        for m, u in encoded.certainty.items():
            losses[f"reliability_{MODALITIES[m]}"] = u[inputs.present[:, m]].mean()  # kappa_m
        return losses

    def score(self, inputs: Inputs) -> Tensor:
        inputs = self._complete(inputs)
        return live_probability(self.logits(self.encode(inputs), inputs.present))

    def _complete(self, inputs: Inputs) -> Inputs:
        """A black image is a modality like any other."""
        if self.config.missing == "skipped":
            return inputs
        filled = inputs.filled("black")
        return Inputs(*filled.images(), torch.ones_like(inputs.present), inputs.black)

    # --- training -----------------------------------------------------------------------------------------------------

    def on_epoch_start(self, epoch: int, batches: Iterator[Batch]) -> None:
        """The prototypes follow the features: means of evaluation mode, over a random half of the batches."""

        def features(inputs: Inputs) -> tuple[Tensor, Tensor]:
            inputs = self._complete(inputs)
            found = self.encode(inputs).features
            nothing = torch.zeros_like(next(iter(found.values())))
            return torch.stack([found.get(m, nothing) for m in range(3)]), inputs.present

        self.eval()
        self.prototypes.renew(batches, features)
        self.train()  # 4: the release forgets to

    def backward(self, losses: dict[str, Tensor], accelerator: Accelerator) -> None:
        """ReGrad: the gradients of L_m, balanced between the modalities, are added to that of L."""
        parts = {m: losses[f"prototypes_{name}"] for m, name in enumerate(MODALITIES) if f"prototypes_{name}" in losses}
        owned = {m: self._owned(m) for m in parts}
        gradients = gradients_of(parts, [p for tensors in owned.values() for p in tensors])
        accelerator.backward(losses["classification"])  # g_L; last, as it frees the graph
        current = [float(parts[m].detach()) if m in parts else float("inf") for m in range(3)]  # 10: no average
        reliability = [losses.get(f"reliability_{name}", 0.0) for name in MODALITIES]
        epsilon = RELEASED_EPSILON if self.released else 0.0
        for m, tensors in owned.items():
            add_rebalanced(tensors, m, gradients, current, reliability, self.config.regrad, epsilon)

    def _owned(self, owner: int) -> list[nn.Parameter]:
        """Tensors of a modality that ReGrad reaches; the others keep the gradient of L alone."""
        stream = self.streams[owner]
        reach = self.config.modulated or ("tokens" if self.released else "all")
        if reach == "tokens":  # 2: the position in the list stops at the first tensor without a gradient
            return [stream.class_token, stream.position]
        adapters = [block[_path(own, aux)] for block in self.adapters for own, aux in PATHS if own == owner]
        return [p for module in (stream, *adapters) for p in module.parameters() if p.requires_grad]


def _path(own: int, auxiliary: int) -> str:
    """`rgb_depth`: the adapter by which RGB listens to depth."""
    return f"{MODALITIES[own]}_{MODALITIES[auxiliary]}"
