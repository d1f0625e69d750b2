"""Vision transformers by timm, opened up for methods that work between their layers.

`build_vit` gives the model. `JointTokens` makes one sequence of three images; a `Stream` gives a modality tokens of its
own for a trunk that the modalities share.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from fasbench.errors import FasbenchError, suggest
from fasbench.method import Inputs


def build_vit(name: str, pretrained: bool, image_size: int) -> Any:
    """A timm `VisionTransformer` without a head: class token, absolute positions, pre-norm blocks, a final norm.

    Args:
        name: a timm model, such as `vit_base_patch16_224`; `test_vit` is a small one for random weights.
        image_size: side of the input; the position embedding of pretrained weights is interpolated to it.
    Raises:
        FasbenchError: unknown name, another architecture, or weights that cannot be fetched.
    """
    if not timm.is_model(name):
        raise FasbenchError(f"timm knows no model '{name}'.{suggest(name, timm.list_models('*vit*'))}")
    try:
        vit: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, img_size=image_size)
    except Exception as error:  # hub, network, file and shape errors of several libraries
        raise FasbenchError(
            f"{name} could not be built{' with its weights' if pretrained else ''}: {error}\nWhere there is a network "
            "timm fetches weights once and keeps them in the Hugging Face cache (~/.cache/huggingface), which may be "
            "copied. --preset tiny needs no weights"
        ) from error
    if not _is_plain(vit):
        raise FasbenchError(f"{name} is not a plain vision transformer with a class token. Try vit_base_patch16_224")
    vit.patch_embed.flatten, vit.dynamic_img_size = True, False  # tokens, not maps, of models for any input size too
    return vit


def _is_plain(vit: Any) -> bool:
    """Whether the model is what the functions below compute."""
    return (
        isinstance(vit, VisionTransformer)
        and vit.cls_token is not None
        and vit.num_prefix_tokens == 1
        and not vit.no_embed_class
        and vit.global_pool == "token"
        and all(isinstance(part, nn.Identity) for part in (vit.norm_pre, vit.fc_norm, vit.patch_drop))
        and all(isinstance(getattr(block, "ls1", None), nn.Identity) for block in vit.blocks)
    )


def attention_mask(kept: Tensor | None) -> Tensor | None:
    """Which tokens may be asked, for `block(x, attn_mask=...)`: (B, 1, 1, N) of `kept` (B, N); None = all."""
    return None if kept is None else kept[:, None, None, :]


@dataclass(frozen=True)
class Sequence:
    """Class token, then the patches of each active modality: N = 1 + A P tokens."""

    tokens: Tensor  # (B, N, D)
    active: list[int]  # the A modalities that any sample has, in their order
    kept: Tensor | None  # (B, N) bool, False where a sample lacks the modality; None if no sample lacks any of them


class JointTokens(nn.Module):
    """One sequence of three images: [class; patches of rgb; of depth; of ir].

    Token p of modality m is E x_{m,p} + pos_p + e_m: projection E and positions are the ViT's and shared, e_m is learnt
    and starts at 0. A modality that no sample has is left out; one that only some have is hidden by `attention_mask`,
    which for all other tokens is the same.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modality = nn.Parameter(torch.zeros(3, width))  # e_m

    def forward(self, vit: Any, inputs: Inputs) -> Sequence:
        active = [m for m in range(3) if bool(inputs.present[:, m].any())]
        images = torch.cat([inputs.images()[m] for m in active])
        patches = vit.patch_embed(images) + vit.pos_embed[:, 1:]  # (A B, P, D)
        parts = patches.unflatten(0, (len(active), -1)) + self.modality[active][:, None, None]  # (A, B, P, D)
        batch, count = parts.shape[1:3]
        first = (vit.cls_token + vit.pos_embed[:, :1]).expand(batch, -1, -1)  # (B, 1, D)
        present = inputs.present[:, active]  # (B, A)
        kept = None
        if not bool(present.all()):
            kept = torch.cat([present.new_ones(batch, 1), present.repeat_interleave(count, dim=1)], dim=1)
        return Sequence(torch.cat([first, *parts], dim=1), active, kept)


class Stream(nn.Module):
    """What one modality has of its own before shared blocks: patch projection, class token, position embedding.

    Projection and class token are copies of the ViT's; the positions are drawn anew from N(0, 0.02^2), as MMDG, DADM
    and their three-branch ViT do.
    """

    def __init__(self, vit: Any, train_projection: bool) -> None:
        super().__init__()
        self.projection = copy.deepcopy(vit.patch_embed).requires_grad_(train_projection)
        self.class_token = nn.Parameter(vit.cls_token.detach().clone())  # (1, 1, D)
        self.position = nn.Parameter(torch.empty_like(vit.pos_embed))  # (1, N, D)
        nn.init.normal_(self.position, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        """Tokens (B, N, D) of images (B, 3, H, W), class token first."""
        patches = self.projection(image)
        return torch.cat([self.class_token.expand(len(image), -1, -1), patches], dim=1) + self.position
