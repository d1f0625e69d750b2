"""MMDA: a CLIP for three modalities, differential attention against domain noise, alignment with texts at 15 levels."""

from __future__ import annotations

import torch
from fasbench.baselines.mmda.fusion import MD2A, first_partner, random_partner
from fasbench.baselines.mmda.moe import MixtureOfExperts, rms_norm
from fasbench.baselines.mmda.texts import ClassTexts
from fasbench.baselines.mmda.udsa import UDSA, soft_alignment
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.clip import build_clip
from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability

MICRO_BATCH = 3  # samples that the release puts through the model at once


class MMDAConfig(ModelConfig):
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (128 / 255, 128 / 255, 128 / 255)
    clip: str = Field("ViT-B-16-quickgelu", description="an open_clip model with a vision transformer")
    pretrained: str | None = Field("openai", description="open_clip tag, file of weights, or null for random ones")
    heads: int = Field(16, ge=1, description="of MD2A and of every layer of U-DSA; divides CLIP's output width")
    levels: int = Field(7, ge=1, description="L of U-DSA")


class Classifier(nn.Module):
    """A mixture of experts, then a linear layer; [spoof, live]."""

    def __init__(self, width: int, number: int, released: bool) -> None:
        super().__init__()
        self.released = released
        self.moe = MixtureOfExperts(width, number, released)
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(T, D) -> logits (T, 2) in fp32, and the auxiliary loss."""
        # Every layer of U-DSA doubles its vector. Chained, that is 2^14, and the router would see nothing else.
        x, auxiliary = self.moe(x if self.released else rms_norm(x))
        return self.head(x).float(), auxiliary


class MMDA(Method):
    """MMDA (Purify then Guide, ECCV 2026). Defect numbers are those of the model card.

    v_m = CLIP(x_m);  e_0 = MD2A([v_rgb; v_depth; v_ir]);  e_0..e_7, u_6..u_0 = U-DSA(e_0);  t_c: texts of class c.
    L = CE(C(u_0), y~) + sum over the 15 levels CE(a^(l), y~) + CE(C(t_spoof), (0.9, 0.1)) + CE(C(t_live), (0.1, 0.9))
        + auxiliary losses of every mixture of experts,  a_c^(l) = scale max_k cos(level, t_{c,k}^(l)),  y~ smoothed.
    Score: softmax(C(u_0)).
    """

    Config = MMDAConfig
    fidelities = ("intended", "released")

    def __init__(self, config: MMDAConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        self.released = config.fidelity == "released"
        self.clip = build_clip(config.clip, config.pretrained, config.image_size)
        # 6: the release trains all of CLIP, the paper's figure shows the text encoder frozen.
        (self.clip if self.released else self.clip.visual).requires_grad_(True)
        self.clip.logit_scale.requires_grad_(True)
        self.texts = ClassTexts(self.released)
        width, heads = self.clip.visual.output_dim, config.heads
        self.fusion = MD2A(width, heads, number=0, released=self.released)
        self.udsa = UDSA(width, heads, config.levels, number=1, released=self.released)
        self.classifier = Classifier(width, number=1 + 2 * config.levels, released=self.released)

    def encode(self, inputs: Inputs, domain: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """e_0..e_L, u_{L-1}..u_0, (B, D) each, and auxiliary losses. Domains are used in training only."""
        present = inputs.present
        if self.released:  # no mechanism for what is missing: black images
            inputs, present = inputs.filled("black"), torch.ones_like(present)
        x = self._modality_vectors(inputs, present)
        partner, peers = self._company(present, domain)
        e_0, routing = self.fusion(x, partner, present)
        e, routing_down = self.udsa.down(e_0, peers)
        u, routing_up = self.udsa.up(e, peers)
        return e + u, [routing, *routing_down, *routing_up]

    def _modality_vectors(self, inputs: Inputs, present: Tensor) -> Tensor:
        """X (B, 3, D): v_m, or 0 where absent, which CLIP does not see."""
        images = torch.stack(inputs.images(), dim=1)  # (B, 3, 3, H, W)
        v = self.clip.encode_image(images[present]).float()
        x = v.new_zeros(*present.shape, v.shape[-1])
        x[present] = v
        return x

    def _company(self, present: Tensor, domain: Tensor | None) -> tuple[Tensor, Tensor]:
        """Each sample's partner in MD2A (B,), and whom it attends to in U-DSA (B, B): at evaluation itself."""
        rows = torch.arange(len(present), device=present.device)
        alone = rows[:, None] == rows
        if not self.training or domain is None:
            return rows, alone  # 1, 2: as a batch of one is evaluated by the release
        if self.released:
            together = rows[:, None] // MICRO_BATCH == rows // MICRO_BATCH
            return first_partner(domain, together), together  # 1: the samples of a batch taken for a sequence
        return random_partner(domain, present), alone

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        levels, routing = self.encode(batch.inputs, batch.domain)
        texts, routing_texts = self._text_levels()
        logits, routing_logits = self.classifier(levels[-1])
        target = smoothed(batch.label, self.released)
        scale = self.clip.logit_scale.exp()
        alignment = [
            F.cross_entropy(soft_alignment(x, texts[min(l, len(levels) - 1 - l)], scale), target)
            for l, x in enumerate(levels)  # on the way up the texts of the way down
        ]
        losses = {"classification": F.cross_entropy(logits, target), "alignment": torch.stack(alignment).sum()}
        losses["texts"] = torch.zeros_like(losses["alignment"])
        for c, t in enumerate(texts[0]):
            text_logits, extra = self.classifier(t)
            sure = torch.full_like(text_logits, 0.1)
            sure[:, c] = 0.9
            losses["texts"] = losses["texts"] + F.cross_entropy(text_logits, sure)
            routing.append(extra)
        losses["routing"] = torch.stack([*routing, *routing_texts, routing_logits]).sum()
        losses["total"] = torch.stack(list(losses.values())).sum()
        return losses

    def _text_levels(self) -> tuple[list[list[Tensor]], list[Tensor]]:
        """t^(0)..t^(L), each [spoof (24, D), live (24, D)], and auxiliary losses.

        Texts attend to those of their class: as in the release, and here it does no harm.
        """
        down = [self.udsa.down(t, None) for t in self.texts(self.clip)]
        levels = [list(classes) for classes in zip(*(levels for levels, _ in down), strict=True)]
        return levels, [extra for _, routing in down for extra in routing]

    def score(self, inputs: Inputs) -> Tensor:
        levels, _ = self.encode(inputs)
        return live_probability(self.classifier(levels[-1])[0])


def smoothed(label: Tensor, released: bool) -> Tensor:
    """(B, 2): 0.95 for the class and 0.05 for the other; 5: the released 1.0 and 0.1 are no distribution."""
    return 0.9 * F.one_hot(label, 2).float() + (0.1 if released else 0.05)
