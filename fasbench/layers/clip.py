"""CLIP by open_clip: built, frozen, and opened up for methods that work between its layers.

`build_clip` gives the model; `image_tokens`, `self_attention` and `encode_text` are its forward pass in pieces.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.errors import FasbenchError

CLIP_MEAN = open_clip.OPENAI_DATASET_MEAN
CLIP_STD = open_clip.OPENAI_DATASET_STD

open_clip.add_model_config(Path(__file__).parent / "clip_models")  # `fasbench-tiny`, for random weights on a CPU


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x), OpenAI CLIP's activation, by way of SiLU: one tensor kept for the backward pass, not two."""

    def forward(self, x: Tensor) -> Tensor:
        return quick_gelu(x)


def quick_gelu(x: Tensor) -> Tensor:
    return F.silu(1.702 * x) / 1.702


def build_clip(name: str, pretrained: str | None, image_size: int) -> open_clip.CLIP:
    """A frozen CLIP in fp32.

    Args:
        name: an open_clip model, such as `ViT-B-16-quickgelu` (the activation OpenAI's weights were trained with).
        pretrained: an open_clip tag (`openai`: fetched on first use), a file of weights, or None for random ones.
        image_size: side of the input; the position embedding of pretrained weights is interpolated to it.
    Raises:
        FasbenchError: unknown name, or weights that cannot be fetched or do not fit.
    """
    try:
        with _quiet():
            model = open_clip.create_model(name, pretrained=pretrained, precision="fp32", force_image_size=image_size)
    except Exception as error:  # hub, network, file and shape errors of four libraries
        raise FasbenchError(_remedy(name, pretrained, error)) from error
    if not _is_plain(model):
        raise FasbenchError(f"{name} is not a plain CLIP with a vision transformer. Try ViT-B-16-quickgelu")
    for module in list(model.modules()):
        for child, value in module.named_children():
            if isinstance(value, open_clip.transformer.QuickGELU):
                setattr(module, child, QuickGELU())
    return model.requires_grad_(False)


def _is_plain(model: nn.Module) -> bool:
    """Whether the model is what the functions below compute: OpenAI's architecture, at any size."""
    if not isinstance(model, open_clip.CLIP) or not hasattr(model.visual, "transformer"):
        return False
    blocks = [*model.visual.transformer.resblocks, *model.transformer.resblocks]
    return (
        all(
            type(block) is open_clip.transformer.ResidualAttentionBlock
            and type(block.attn) is nn.MultiheadAttention
            and isinstance(block.ls_1, nn.Identity)
            and isinstance(block.ls_2, nn.Identity)
            for block in blocks
        )
        and model.visual.attn_pool is None
        and isinstance(model.text_projection, nn.Parameter)
        and len(model.positional_embedding) == model.context_length
        and model.visual.pool_type == "tok"
        and isinstance(model.visual.ln_pre, nn.LayerNorm)
        and model.text_pool_type == "argmax"
        and model.vocab_size == 49_408
        and model.attn_mask is not None
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """open_clip tells the root logger of random weights, and of a failure before it raises it."""
    root, handler = logging.getLogger(), logging.NullHandler()
    before = root.manager.disable
    root.addHandler(handler)  # without one, the first message would install one for good
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)


def _remedy(name: str, pretrained: str | None, error: Exception) -> str:
    if name not in open_clip.list_models() and ":" not in name:
        near = [known for known in open_clip.list_models() if known.lower().startswith(name.lower()[:6])]
        return f"open_clip knows no model '{name}'. Known: {', '.join(near or open_clip.list_models())}"
    if pretrained is None:
        return f"open_clip cannot build '{name}': {error}"
    known = open_clip.list_pretrained_tags_by_model(name)
    if pretrained not in known:
        return f"CLIP weights '{pretrained}' of {name}: {error}. Give a file of weights, or a tag: {', '.join(known)}"
    return (
        f"the '{pretrained}' weights of CLIP {name} could not be fetched: {error}\n"
        f"Where there is a network they are fetched once and kept:\n"
        f"  python -c \"import open_clip; open_clip.create_model('{name}', pretrained='{pretrained}')\"\n"
        f"Copy the Hugging Face cache (~/.cache/huggingface) to this machine, or name the weights file with "
        f"--set model.pretrained=/path/to/weights.safetensors. --preset tiny needs no weights"
    )


def image_tokens(visual: Any, images: Tensor, class_token: Tensor, position: Tensor) -> Tensor:
    """Tokens before the first block: class token, then patches row by row.

    Args:
        images: (A, B, 3, H, W), A streams with a class token and position embedding each.
        class_token: (A, D).
        position: (A, N, D), N = 1 + number of patches.
    Returns:
        (A, B, N, D)
    """
    streams, batch = images.shape[:2]
    patches = visual.conv1(images.flatten(0, 1)).flatten(2).transpose(1, 2)  # (A B, N - 1, D)
    first = class_token[:, None, None].expand(-1, batch, -1, -1)  # (A, B, 1, D)
    tokens = torch.cat([first, patches.unflatten(0, (streams, batch)).to(first.dtype)], dim=2)
    return visual.ln_pre(tokens + position[:, None])


def self_attention(module: nn.MultiheadAttention, x: Tensor, causal: bool = False) -> Tensor:
    """Multi-head self-attention of (B, N, D) tokens with the module's weights, through PyTorch's fused kernel."""
    qkv = F.linear(x, module.in_proj_weight, module.in_proj_bias).unflatten(-1, (3, module.num_heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, N, D / heads) each
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    return module.out_proj(mixed.transpose(1, 2).flatten(2))


def encode_text(clip: open_clip.CLIP, embedded: Tensor, last: Tensor) -> Tensor:
    """Features of sentences whose token embeddings may be learnt; not normalised.

    Args:
        embedded: (S, T, W) token embeddings. T may be less than the context length: no token sees a later one.
        last: (S,) position of each sentence's end-of-text token.
    Returns:
        (S, E)
    """
    x = embedded + clip.positional_embedding[: embedded.shape[1]]
    for block in clip.transformer.resblocks:
        x = x + self_attention(block.attn, block.ln_1(x), causal=True)
        x = x + block.mlp(block.ln_2(x))
    x = clip.ln_final(x[torch.arange(len(x), device=x.device), last])
    return x @ clip.text_projection
