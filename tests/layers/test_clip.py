"""The opened CLIP computes what open_clip computes, and says what to do when its weights cannot be had."""

import copy
import json
import logging
import re

import open_clip
import pytest
import torch

from fasbench.errors import FasbenchError
from fasbench.layers.clip import build_clip, encode_text, image_tokens, quick_gelu, self_attention

TINY = "fasbench-tiny"


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return build_clip(TINY, None, 64).eval()


def test_the_pieces_make_the_image_encoder(clip):
    images = torch.randn(3, 3, 64, 64)
    visual = clip.visual
    x = image_tokens(visual, images[None], visual.class_embedding[None], visual.positional_embedding[None])[0]
    for block in visual.transformer.resblocks:
        x = x + self_attention(block.attn, block.ln_1(x))
        x = x + block.mlp(block.ln_2(x))
    features = visual.ln_post(x[:, 0]) @ visual.proj
    assert torch.allclose(features, clip.encode_image(images), atol=1e-5)


def test_the_pieces_make_the_text_encoder_and_the_rest_of_the_context_does_not_matter(clip):
    tokens = open_clip.get_tokenizer(TINY)(["a photo of a face", "this is not an attack face in infrared modality"])
    last = tokens.argmax(1)
    expected = clip.encode_text(tokens)
    for length in (77, int(last.max()) + 1):
        embedded = clip.token_embedding(tokens[:, :length])
        assert torch.allclose(encode_text(clip, embedded, last), expected, atol=1e-5)


def test_quick_gelu():
    x = torch.linspace(-6, 6, 101)
    assert torch.allclose(quick_gelu(x), x * torch.sigmoid(1.702 * x), atol=1e-6)


def test_everything_is_frozen_and_another_size_has_other_positions(clip):
    assert not any(p.requires_grad for p in clip.parameters())
    assert build_clip(TINY, None, 96).visual.positional_embedding.shape == (37, 96)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_of_a_file(clip, tmp_path, suffix):
    from safetensors.torch import save_file

    path = tmp_path / f"weights{suffix}"
    state = {name: value.clone() for name, value in clip.state_dict().items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    torch.manual_seed(1)
    loaded = build_clip(TINY, str(path), 64).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in state.items())
    larger = build_clip(TINY, str(path), 128)  # positions are interpolated
    assert larger.visual.positional_embedding.shape == (65, 96)
    assert torch.equal(larger.visual.positional_embedding[0], clip.visual.positional_embedding[0])


def test_openai_weights_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FasbenchError) as error:
        build_clip("ViT-B-16-quickgelu", "openai", 224)
    text = str(error.value)
    assert "could not be fetched" in text
    assert "open_clip.create_model('ViT-B-16-quickgelu', pretrained='openai')" in text
    assert "--set model.pretrained=" in text


@pytest.mark.parametrize(
    ("name", "pretrained", "text"),
    [
        ("ViT-B-17", None, "open_clip knows no model 'ViT-B-17'. Known: ViT-B-16"),
        ("ViT-B-16-quickgelu", "opanai", "CLIP weights 'opanai' of ViT-B-16-quickgelu: "),
        ("RN50", None, "RN50 is not a plain CLIP with a vision transformer. Try ViT-B-16-quickgelu"),
        ("ViT-M-16-alt", None, "ViT-M-16-alt is not a plain CLIP with a vision transformer"),  # it has LayerScale
    ],
)
def test_what_cannot_be_built(name, pretrained, text):
    with pytest.raises(FasbenchError, match=re.escape(text)):
        build_clip(name, pretrained, 224)


@pytest.fixture
def variant(tmp_path, monkeypatch):
    """Name of a model like the tiny one, with another vision or text configuration."""

    def add(tower, settings):
        config = copy.deepcopy(open_clip.get_model_config(TINY))
        config[tower].update(settings)
        (tmp_path / "variant.json").write_text(json.dumps(config))
        open_clip.add_model_config(tmp_path)
        return "variant"

    for name in ("_MODEL_CONFIGS", "_MODEL_CONFIG_PATHS"):
        monkeypatch.setattr(open_clip.factory, name, copy.copy(getattr(open_clip.factory, name)))
    return add


@pytest.mark.parametrize(
    ("tower", "settings"),
    [
        ("vision_cfg", {"ls_init_value": 1e-4}),
        ("text_cfg", {"ls_init_value": 1e-4}),
        ("vision_cfg", {"pool_type": "avg"}),
        ("vision_cfg", {"no_ln_pre": True}),
        ("text_cfg", {"pool_type": "last"}),
        ("text_cfg", {"vocab_size": 50_000}),
        ("text_cfg", {"no_causal_mask": True}),
        ("vision_cfg", {"qk_norm": True}),
        ("vision_cfg", {"attentional_pool": True}),
        ("text_cfg", {"scale_heads": True}),
        ("text_cfg", {"proj_type": "none"}),
        ("text_cfg", {"embed_cls": True}),
    ],
)
def test_another_architecture_is_refused(variant, tower, settings):
    """What the pieces would silently compute as if it were OpenAI's."""
    with pytest.raises(FasbenchError, match="variant is not a plain CLIP with a vision transformer"):
        build_clip(variant(tower, settings), None, 64)


def test_the_variants_differ_from_a_model_that_is_built_by_what_they_name_only(variant):
    assert build_clip(variant("vision_cfg", {"layers": 1}), None, 64).visual.pool_type == "tok"


def test_without_weights_there_is_no_talk_of_fetching_them(variant):
    with pytest.raises(FasbenchError, match=r"^open_clip cannot build 'variant': ") as error:
        build_clip(variant("vision_cfg", {"width": 95}), None, 64)  # not a multiple of the heads
    assert "fetched" not in str(error.value)


def test_building_leaves_the_callers_logging_alone(caplog):
    handlers, disabled = list(logging.getLogger().handlers), logging.getLogger().manager.disable
    with caplog.at_level(logging.DEBUG):
        build_clip(TINY, None, 64)
    assert not caplog.records
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger().manager.disable == disabled
