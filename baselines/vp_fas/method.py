"""VP-FAS, reconstructed: a frozen ViT and prompts that say which modalities a sample has."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.config import Fidelity
from fasbench.layers.adapters import ConvolutionalAdapter, start_bottleneck
from fasbench.layers.vit import JointTokens, Sequence, attention_mask, build_vit
from fasbench.method import Batch, Inputs, Method, ModelConfig, live_probability

_PATTERNS = 7  # ways of having at least one of three modalities
_FULL = _PATTERNS - 1


class VPFASConfig(ModelConfig):
    fidelity: Fidelity = "reconstruction"
    backbone: str = Field("vit_base_patch16_224", description="a plain vision transformer of timm")
    pretrained: bool = True
    train_trunk: bool = Field(False, description="train the ViT too: for random weights only")
    length: int = Field(10, ge=1, description="n, prompt tokens in a block")
    prompted_blocks: int = Field(12, ge=0, description="L_p: the first so many blocks have prompts, at most all")
    prompts: Literal["pattern", "modality"] = Field(
        "pattern", description="a set for each pattern, or (lighter) one for each modality, summed over the present"
    )
    contextual: Literal["prompt", "convolution", "off"] = Field(
        "prompt", description="added to the prompts; or a 3 x 3 convolution added to the patches: another reading"
    )
    bottleneck: int = Field(32, ge=1, description="of the contextual prompts")
    regularisation: float = Field(1.0, ge=0, description="lambda")
    drop: float = Field(0.5, ge=0, le=1, description="probability that modalities are dropped in a training batch")
    drop_rgb: bool = Field(True, description="false: colour is never dropped, as in the flexible-modal benchmark")


class ContextualPrompt(nn.Module):
    """r(c) = W_2 GELU(W_1 c + b_1) + b_2, 0 at the start; c is the mean of a sample's present patch tokens."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        start_bottleneck([self.down], self.up)

    def forward(self, patches: Tensor, kept: Tensor | None) -> Tensor:
        """(B, D) of normalised patch tokens (B, A P, D), of which `kept` (B, A P) are there."""
        if kept is None:
            c = patches.mean(1)
        else:
            total = torch.where(kept[..., None], patches, 0.0).sum(1)
            c = total / kept.sum(1, keepdim=True).clamp(min=1)  # (B, D)
        return self.up(F.gelu(self.down(c)))


class VPFAS(Method):
    """A reconstruction of Yu, Cai, Cui, Liu, Chen: Visual Prompt Flexible-Modal Face Anti-Spoofing. IEEE TDSC 2024,
    doi 10.1109/TDSC.2024.3520534, arXiv 2307.13958. Of the abstract are: the frozen ViT, vanilla visual prompts,
    residual contextual prompts, a missing-modality regularisation, less than 4 % trained parameters. The rest is ours.

    A sample with the modalities s is the sequence x = [class; patches of the modalities in s]. Before block l <= L_p,

        p_l = P_{s,l} + 1 r_l(c)^T,   c = mean of LN_l(x) over the patches        n prompts, each with the same r_l(c)

    are put behind the class token; what the block makes of them is thrown away. With e_s = LN(x_class) at the end,
    h(e) = W e + b, and e_full of all that the sample has, s drawn for the batch and sg = stop-gradient:

        L = 1/2 [CE(h(e_full), y) + CE(h(e_s), y)] + lambda mean(1 - cos(e_s, sg[e_full]))

    Tokens of absent modalities are left out, or hidden from every query where others of the batch have them: each
    sample has its own s, in training and in scoring.
    """

    Config = VPFASConfig
    fidelities = ("reconstruction",)

    def __init__(self, config: VPFASConfig, sources: tuple[str, ...]) -> None:
        super().__init__(config, sources)
        vit = build_vit(config.backbone, config.pretrained, config.image_size)
        self.vit = vit.requires_grad_(config.train_trunk)
        width, blocks = vit.embed_dim, min(config.prompted_blocks, len(vit.blocks))
        self.tokens = JointTokens(width)
        sets = _PATTERNS if config.prompts == "pattern" else 3
        self.prompts = nn.Parameter(torch.empty(sets, blocks, config.length, width))  # P
        nn.init.normal_(self.prompts, std=0.02)
        depth = 0 if config.contextual == "off" else blocks
        self.contextual = nn.ModuleList(
            ContextualPrompt(width, config.bottleneck)
            if config.contextual == "prompt"
            else ConvolutionalAdapter(width, theta=0.0, dropout=0.0)
            for _ in range(depth)
        )
        self.head = nn.Linear(width, 2)

    # --- forward ------------------------------------------------------------------------------------------------------

    def features(self, inputs: Inputs) -> Tensor:
        """e, the class token behind the last norm, (B, D)."""
        sequence = self.tokens(self.vit, inputs)
        x, mask = sequence.tokens, attention_mask(sequence.kept)  # (B, 1 + A P, D)
        vanilla = self._vanilla(inputs.present)  # (B, L_p, n, D)
        prompted_mask = self._with_prompts(sequence.kept)
        for number, block in enumerate(self.vit.blocks):
            if number >= vanilla.shape[1]:
                x = block(x, attn_mask=mask)
                continue
            p = vanilla[:, number]  # (B, n, D)
            if self.config.contextual == "prompt":
                kept = None if sequence.kept is None else sequence.kept[:, 1:]
                p = p + self.contextual[number](block.norm1(x)[:, 1:], kept)[:, None]
            elif self.config.contextual == "convolution":
                x = self._convolved(number, x, block.norm1(x), sequence)
            x = block(torch.cat([x[:, :1], p, x[:, 1:]], dim=1), attn_mask=prompted_mask)
            x = torch.cat([x[:, :1], x[:, 1 + self.config.length :]], dim=1)  # the sequence does not grow
        return self.vit.norm(x[:, 0])

    def _vanilla(self, present: Tensor) -> Tensor:
        """P_s of every sample's own s, (B, L_p, n, D)."""
        if self.config.prompts == "modality":
            return torch.einsum("bm,mlnd->blnd", present.to(self.prompts.dtype), self.prompts)
        return self.prompts[pattern_of(present)]

    def _with_prompts(self, kept: Tensor | None) -> Tensor | None:
        """The attention mask of a sequence with prompts behind its class token."""
        if kept is None:
            return None
        prompts = kept.new_ones(len(kept), self.config.length)
        return attention_mask(torch.cat([kept[:, :1], prompts, kept[:, 1:]], dim=1))

    def _convolved(self, number: int, x: Tensor, n: Tensor, sequence: Sequence) -> Tensor:
        """x with a convolution of each modality's own map of n added to its patches."""
        count = len(sequence.active)
        maps = n[:, 1:].unflatten(1, (count, -1)).flatten(0, 1)  # (B A, P, D)
        first = n[:, :1].repeat_interleave(count, dim=0)  # the adapter expects a class token
        added = self.contextual[number](torch.cat([first, maps], dim=1))[:, 1:]  # (B A, P, D)
        return torch.cat([x[:, :1], x[:, 1:] + added.unflatten(0, (-1, count)).flatten(1, 2)], dim=1)

    # --- training -----------------------------------------------------------------------------------------------------

    def draw_pattern(self) -> Tensor:
        """s of a batch, (3,) bool: all three, or with probability `drop` one of the others, each as likely."""
        if float(torch.rand(())) >= self.config.drop:
            return _modalities_of(torch.tensor(_FULL))
        others = torch.arange(_FULL)
        if not self.config.drop_rgb:
            others = others[_modalities_of(others)[:, 0]]
        return _modalities_of(others[torch.randint(len(others), ())])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        inputs = batch.inputs
        reduced = kept_only(inputs, self.draw_pattern())
        e_full = self.features(inputs)
        classification = F.cross_entropy(self.head(e_full).float(), batch.label)
        consistency = classification.new_zeros(())
        if not torch.equal(reduced.present, inputs.present):  # else e_s = e_full: the network draws nothing
            e_s = self.features(reduced)
            classification = (classification + F.cross_entropy(self.head(e_s).float(), batch.label)) / 2
            consistency = inconsistency(e_s, e_full)
        total = classification + self.config.regularisation * consistency
        return {"total": total, "classification": classification, "consistency": consistency}

    def score(self, inputs: Inputs) -> Tensor:
        return live_probability(self.head(self.features(inputs)))


def pattern_of(present: Tensor) -> Tensor:
    """The number 0..6 of each sample's pattern, (B,) of (B, 3): 1 for rgb, 2 for depth, 4 for ir, less 1."""
    return (present * torch.tensor([1, 2, 4], device=present.device)).sum(1) - 1


def _modalities_of(pattern: Tensor) -> Tensor:
    """The inverse: (..., 3) bool of patterns (...)."""
    return ((pattern[..., None] + 1) >> torch.arange(3) & 1).bool()


def kept_only(inputs: Inputs, pattern: Tensor) -> Inputs:
    """The samples with the modalities in `pattern` (3,); one that has none of them keeps all it has."""
    left = inputs.present & pattern.to(inputs.present.device)
    left = torch.where(left.any(1, keepdim=True), left, inputs.present)
    return Inputs.of(inputs.images(), left, inputs.black)


def inconsistency(e_s: Tensor, e_full: Tensor) -> Tensor:
    """L_mmr = mean(1 - cos(e_s, sg[e_full])) of (B, D) features; pulls e_s alone."""
    return (1 - F.cosine_similarity(e_s.float(), e_full.detach().float())).mean()
