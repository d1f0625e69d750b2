"""The opened ViT computes what timm computes; tokens of a joint sequence; a modality's own stream."""

import re

import pytest
import timm
import torch

from fasbench.data.sample import Inputs
from fasbench.errors import FasbenchError
from fasbench.layers.vit import JointTokens, Stream, attention_mask, build_vit

PATCHES = 16  # of an image of 64 px: 4 x 4


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return build_vit("test_vit", False, 64).eval()


def inputs_of(present, size=64):
    generator = torch.Generator().manual_seed(1)
    present = torch.tensor(present, dtype=torch.bool)
    images = [torch.randn(len(present), 3, size, size, generator=generator) for _ in range(3)]
    return Inputs.of(images, present, torch.zeros(3, 3))


# --- build_vit --------------------------------------------------------------------------------------------------------


def test_it_computes_what_timm_computes(vit):
    plain = timm.create_model("test_vit", num_classes=0, img_size=64).eval()
    plain.load_state_dict(vit.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.allclose(vit(images), plain(images), atol=1e-6)
    x = vit.patch_embed(images)
    assert x.shape == (2, PATCHES, 64)
    x = torch.cat([vit.cls_token.expand(2, -1, -1), x], dim=1) + vit.pos_embed
    for block in vit.blocks:
        x = block(x)
    assert torch.allclose(vit.norm(x)[:, 0], plain(images), atol=1e-6)


def test_its_size_and_count():
    with torch.device("meta"):
        vit = build_vit("vit_base_patch16_224", False, 224)
    assert sum(p.numel() for p in vit.parameters()) == 85_798_656
    assert build_vit("test_vit", False, 96).pos_embed.shape == (1, 37, 64)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("vit_base_patch16_225", "timm knows no model 'vit_base_patch16_225'. Did you mean"),
        ("vit_base_patch16_clip_224", "not a plain vision transformer with a class token. Try vit_base_patch16_224"),
        ("vit_base_patch16_gap_224", "not a plain vision transformer with a class token"),
        ("deit3_small_patch16_224", "not a plain vision transformer with a class token"),  # LayerScale
        ("vit_base_patch16_18x2_224", "not a plain vision transformer with a class token"),  # two attentions a block
        ("resnet18", "resnet18 could not be built: "),
    ],
)
def test_what_cannot_be_built(name, text):
    with pytest.raises(FasbenchError, match=re.escape(text)), torch.device("meta"):
        build_vit(name, False, 224)


def test_weights_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FasbenchError, match="--preset tiny needs no weights"):
        build_vit("test_vit", True, 64)


# --- JointTokens ------------------------------------------------------------------------------------------------------


def test_one_class_token_then_the_patches_of_each_modality(vit):
    torch.manual_seed(0)
    tokens, inputs = JointTokens(64), inputs_of([[1, 1, 1]] * 2)
    torch.nn.init.normal_(tokens.modality)
    sequence = tokens(vit, inputs)
    assert sequence.tokens.shape == (2, 1 + 3 * PATCHES, 64)
    assert sequence.active == [0, 1, 2]
    assert sequence.kept is None
    assert attention_mask(sequence.kept) is None
    assert torch.allclose(sequence.tokens[1, 0], vit.cls_token[0, 0] + vit.pos_embed[0, 0], atol=1e-6)
    row, column = 2, 3  # one patch of depth, by hand
    pixels = inputs.depth[1, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
    projected = (vit.patch_embed.proj.weight * pixels).sum((1, 2, 3)) + vit.patch_embed.proj.bias
    expected = projected + vit.pos_embed[0, 1 + 4 * row + column] + tokens.modality[1]
    assert torch.allclose(sequence.tokens[1, 1 + PATCHES + 4 * row + column], expected, atol=1e-5)


def test_modalities_are_alike_at_first():
    assert JointTokens(64).modality.shape == (3, 64)
    assert not JointTokens(64).modality.any()


def test_a_modality_that_nobody_has_is_left_out(vit):
    torch.manual_seed(0)
    tokens = JointTokens(64)
    torch.nn.init.normal_(tokens.modality)
    full, reduced = tokens(vit, inputs_of([[1, 1, 1]] * 2)), tokens(vit, inputs_of([[1, 0, 1]] * 2))
    assert reduced.active == [0, 2]
    assert reduced.kept is None
    assert reduced.tokens.shape[1] == 1 + 2 * PATCHES
    kept = torch.cat([full.tokens[:, : 1 + PATCHES], full.tokens[:, 1 + 2 * PATCHES :]], dim=1)
    assert torch.allclose(reduced.tokens, kept, atol=1e-6)


def test_a_modality_that_some_lack_is_hidden(vit):
    sequence = JointTokens(64)(vit, inputs_of([[1, 1, 0], [0, 1, 0]]))
    assert sequence.active == [0, 1]
    expected = [[True] * (1 + 2 * PATCHES), [True] + [False] * PATCHES + [True] * PATCHES]
    assert sequence.kept.tolist() == expected
    mask = attention_mask(sequence.kept)
    assert mask.shape == (2, 1, 1, 1 + 2 * PATCHES)
    seen = vit.blocks[0](sequence.tokens, attn_mask=mask)
    changed = sequence.tokens.clone()
    changed[1, 1 : 1 + PATCHES] += 3.0  # hidden from all
    again = vit.blocks[0](changed, attn_mask=mask)
    kept = sequence.kept
    assert torch.allclose(seen[kept], again[kept], atol=1e-6)


# --- Stream -----------------------------------------------------------------------------------------------------------


def test_a_stream_has_a_projection_class_token_and_positions_of_its_own(vit):
    torch.manual_seed(0)
    stream = Stream(vit, train_projection=True)
    shapes = {name: tuple(p.shape) for name, p in stream.named_parameters()}
    assert shapes.pop("position") == (1, 1 + PATCHES, 64)
    assert shapes.pop("class_token") == (1, 1, 64)
    assert set(shapes) == {"projection.proj.weight", "projection.proj.bias"}
    images = torch.randn(2, 3, 64, 64)
    expected = torch.cat([vit.cls_token.expand(2, -1, -1), vit.patch_embed(images)], dim=1) + stream.position
    assert torch.allclose(stream(images), expected, atol=1e-6)
    with torch.no_grad():
        stream.projection.proj.bias += 1.0
        stream.class_token += 1.0
    assert torch.allclose(stream(images), expected + 1.0, atol=1e-5)  # while the ViT's own stay as they were
    assert torch.allclose(vit.patch_embed(images) + stream.position[:, 1:], expected[:, 1:], atol=1e-6)


def test_its_positions_are_drawn_anew():
    torch.manual_seed(0)
    vit = build_vit("test_vit", False, 160)
    torch.nn.init.constant_(vit.pos_embed, 5.0)
    position = Stream(vit, train_projection=False).position.detach()
    assert float(position.std()) == pytest.approx(0.02, rel=0.05)
    assert float(position.mean()) == pytest.approx(0.0, abs=0.002)


@pytest.mark.parametrize("trained", [True, False])
def test_whether_its_projection_is_trained(vit, trained):
    stream = Stream(vit, train_projection=trained)
    assert all(p.requires_grad == trained for p in stream.projection.parameters())
    assert stream.class_token.requires_grad
    assert stream.position.requires_grad
