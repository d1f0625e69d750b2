"""Weights of the released MMDG++ code arrive where they belong.

Names and shapes are those of the release, written out here from the specification; the adapter that the weights are
checked with is computed here from the specification's equations under the release's names.
"""

import math
import re
from collections import Counter

import open_clip
import pytest
import safetensors.torch
import torch
from fasbench.baselines.mmdgpp import method as mmdgpp
from fasbench.baselines.mmdgpp.convert import from_release, load_release, to_release
from torch.nn import functional as F

from fasbench.data.sample import Inputs
from fasbench.errors import FasbenchError

# Shapes for width D, tokens N, embedding E, text width W of a model.
MODALITY = {"class_token_{m}": "D", "pos_{m}": "N D", "visual_proj_{m}": "D E", "prompts_{m}": "5 5 W"}
ADAPTER = {
    "conv_pass_{m}.{block}.adapter_conv.conv.weight": "8 8 3 3",
    "conv_pass_{m}.{block}.cross_attention.q_linear_1.weight": "8 8",
    "conv_pass_{m}.{block}.cross_attention.q_linear_2.weight": "8 8",
    "conv_pass_{m}.{block}.cross_attention.k_linear.weight": "8 8",
    "conv_pass_{m}.{block}.cross_attention.v_linear.weight": "8 8",
    "conv_pass_{m}.{block}.cross_attention.proj.weight": "8 8",
    "conv_pass_{m}.{block}.cross_attention.proj.bias": "8",
    "conv_pass_{m}.{block}.cross_attention.mean_mlp_1.weight": "8 8",
    "conv_pass_{m}.{block}.cross_attention.mean_mlp_2.weight": "8 8",
    "conv_pass_{m}.{block}.cross_attention.std_mlp_1.weight": "8 8",
    "conv_pass_{m}.{block}.cross_attention.std_mlp_2.weight": "8 8",
    "conv_pass_{m}.{block}.ln_k_v.weight": "8",
    "conv_pass_{m}.{block}.ln_k_v.bias": "8",
    "conv_pass_{m}.{block}.ln_q.weight": "8",
    "conv_pass_{m}.{block}.ln_q.bias": "8",
    "conv_pass_{m}.{block}.adapter_down_k_v.weight": "8 D",
    "conv_pass_{m}.{block}.adapter_down_k_v.bias": "8",
    "conv_pass_{m}.{block}.adapter_down_q.weight": "8 D",
    "conv_pass_{m}.{block}.adapter_down_q.bias": "8",
    "conv_pass_{m}.{block}.adapter_mlp.weight": "8 8",
    "conv_pass_{m}.{block}.adapter_mlp.bias": "8",
    "conv_pass_{m}.{block}.adapter_up.weight": "D 8",
    "conv_pass_{m}.{block}.adapter_up.bias": "D",
}
HEAD = {"fc_all.0.weight": "2 3E", "fc_all.0.bias": "2"}
CLIP = {  # OpenAI's names
    "positional_embedding": "77 W",
    "text_projection": "W E",
    "logit_scale": "",
    "token_embedding.weight": "49408 W",
    "ln_final.weight": "W",
    "ln_final.bias": "W",
    "visual.class_embedding": "D",
    "visual.positional_embedding": "N D",
    "visual.proj": "D E",
    "visual.conv1.weight": "D 3 16 16",
    "visual.ln_pre.weight": "D",
    "visual.ln_pre.bias": "D",
    "visual.ln_post.weight": "D",
    "visual.ln_post.bias": "D",
}
CLIP_BLOCK = {  # for width X of either tower
    "attn.in_proj_weight": "3X X",
    "attn.in_proj_bias": "3X",
    "attn.out_proj.weight": "X X",
    "attn.out_proj.bias": "X",
    "ln_1.weight": "X",
    "ln_1.bias": "X",
    "mlp.c_fc.weight": "4X X",
    "mlp.c_fc.bias": "4X",
    "mlp.c_proj.weight": "X 4X",
    "mlp.c_proj.bias": "X",
    "ln_2.weight": "X",
    "ln_2.bias": "X",
}
FULL = {"D": 768, "N": 197, "E": 512, "W": 512}  # ViT-B/16, 224 x 224
TINY = {"D": 96, "N": 5, "E": 64, "W": 64}  # fasbench-tiny, 32 x 32
FULL_BLOCKS, TINY_BLOCKS = 12, 2


def release(sizes, blocks, create):
    """A state dict of the release, its tensors made by `create(shape)`."""
    shapes = dict(HEAD)
    for m in (1, 2, 3):
        shapes |= {name.format(m=m): shape for name, shape in MODALITY.items()}
        for block in range(blocks):
            shapes |= {name.format(m=m, block=block): shape for name, shape in ADAPTER.items()}
    shapes |= {f"model.{name}": shape for name, shape in CLIP.items()}
    for tower, width in (("model.visual.", "D"), ("model.", "W")):
        for block in range(blocks):
            prefix = f"{tower}transformer.resblocks.{block}."
            shapes |= {prefix + name: shape.replace("X", width) for name, shape in CLIP_BLOCK.items()}

    def number(term):
        digits, letter = term.rstrip("DNEW"), term.lstrip("0123456789")
        return int(digits or 1) * sizes.get(letter, 1)

    return {name: create([number(term) for term in shape.split()]) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def _drawn():
    generator = torch.Generator().manual_seed(0)
    state = release(TINY, TINY_BLOCKS, lambda shape: 0.3 * torch.randn(shape, generator=generator))
    state["class_token_1"] = state["model.visual.class_embedding"]  # one parameter in the release
    return state


@pytest.fixture
def state(_drawn):
    """Random numbers in the release's state dict of a tiny model."""
    return dict(_drawn)


@pytest.fixture(scope="module")
def _built():
    return tiny_method()


@pytest.fixture
def method(_built):
    """A tiny method as released, but without random numbers: samples = null. Its weights are the last test's."""
    return _built


def tiny_method(**model):
    settings = {"fidelity": "released", "pretrained": None, "clip": "fasbench-tiny", "image_size": 32, "samples": None}
    return mmdgpp.MMDGpp(mmdgpp.MMDGppConfig(**{**settings, **model}), sources=("cefa", "padisi", "surf")).eval()


def load(method, state):
    method.load_state_dict({**from_release(state), "momentum": method.momentum})


def shapes(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


# --- names and shapes -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full_size():
    """The method for ViT-B/16, its CLIP without memory."""

    def without_memory(name, pretrained, image_size):
        return open_clip.create_model(name, force_image_size=image_size, device="meta").requires_grad_(False)

    config = mmdgpp.MMDGppConfig(fidelity="released", pretrained=None, image_size=224)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmdgpp, "build_clip", without_memory)
        return mmdgpp.MMDGpp(config, sources=("cefa", "padisi", "surf"))


def test_a_full_release_has_exactly_the_names_and_shapes_of_the_built_method(full_size):
    state = release(FULL, FULL_BLOCKS, lambda shape: torch.empty(shape, device="meta"))
    built = shapes(full_size.state_dict())
    assert built.pop("momentum") == (3,)
    assert shapes(from_release(state)) == built
    # 152,034,563 unique ones, and the RGB class token once more: the release has it under two names.
    assert sum(tensor.numel() for tensor in state.values()) == 152_034_563 + 768


def test_a_method_in_the_release_has_as_many_tensors_of_each_kind(full_size):
    names = to_release(full_size.state_dict())
    kinds = Counter(
        re.sub(r"^(class_token|pos|visual_proj|prompts)_[123]$|^conv_pass_[123]\.\d+\.", r"\1_{m}", name)
        for name in names
        if not name.startswith("model.")
    )
    adapter = {name.replace("conv_pass_{m}.{block}.", "_{m}"): 36 for name in ADAPTER}
    assert kinds == {**adapter, **dict.fromkeys(MODALITY, 3), "fc_all.0.weight": 1, "fc_all.0.bias": 1}
    assert sum(name.startswith("model.") for name in names) == len(CLIP) + 2 * 12 * len(CLIP_BLOCK) == 302


def test_there_and_back_again(state, method):
    assert_equal(to_release(from_release(state)), state)
    load(method, {name: tensor + 1 for name, tensor in state.items()})
    ours = method.state_dict()
    assert_equal(from_release(to_release(ours)), {name: ours[name] for name in ours if name != "momentum"})


def test_every_tensor_is_used_once(state):
    numbered = {name: torch.full_like(tensor, n) for n, (name, tensor) in enumerate(state.items())}
    assert sorted(int(tensor.max()) for tensor in from_release(numbered).values()) == list(range(len(state)))


def test_entries_of_openai_archives_are_ignored(state):
    extra = {f"model.{name}": torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    assert_equal(from_release({**state, **extra}), from_release(state))


# --- what the weights do ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("cross_attention.q_linear_1", "candidate_auxiliary.query"),
        ("cross_attention.mean_mlp_1", "candidate_auxiliary.mean"),
        ("cross_attention.std_mlp_1", "candidate_auxiliary.log_variance"),
        ("cross_attention.q_linear_2", "candidate_own.query"),
        ("cross_attention.mean_mlp_2", "candidate_own.mean"),
        ("cross_attention.std_mlp_2", "candidate_own.log_variance"),
        ("adapter_down_k_v", "down_own"),
        ("adapter_down_q", "down_auxiliary"),
        ("ln_k_v", "norm_own"),
        ("ln_q", "norm_auxiliary"),
    ],
)
def test_a_marked_tensor_arrives(state, method, name, attribute):
    marked = torch.full_like(state[f"conv_pass_2.1.{name}.weight"], 7.0)
    load(method, {**state, f"conv_pass_2.1.{name}.weight": marked})
    there = {
        (m, block)
        for m in range(3)
        for block in range(TINY_BLOCKS)
        if (method.streams[m].adapters[block].get_submodule(attribute).weight == 7).all()
    }
    assert there == {(1, 1)}  # of depth alone, in the second block alone


def released_adapter(state, m, block, own, auxiliary):
    """A_m(own <- auxiliary) of section 3.2 in closed form, r = 2.5, and where the auxiliary's query was taken."""
    w = {name.split(".", 2)[2]: t for name, t in state.items() if name.startswith(f"conv_pass_{m}.{block}.")}

    def linear(x, name):
        return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))

    def gelu(x):
        return x * torch.sigmoid(1.702 * x)

    def norm(x, name):
        return F.layer_norm(x, (8,), w[f"{name}.weight"], w[f"{name}.bias"])

    def candidate(z, n):
        q = linear(z, f"cross_attention.q_linear_{n}")
        variance = linear(q, f"cross_attention.std_mlp_{n}").exp()
        return linear(q, f"cross_attention.mean_mlp_{n}"), torch.exp(-2.5 * variance.mean(-1, keepdim=True))

    z_own = norm(gelu(linear(own, "adapter_down_k_v")), "ln_k_v")
    z_aux = norm(gelu(linear(auxiliary, "adapter_down_q")), "ln_q")
    (value_a, certainty_a), (value_o, certainty_o) = candidate(z_aux, 1), candidate(z_own, 2)
    first = certainty_a > certainty_o
    query = torch.where(first, certainty_a * value_a, certainty_o * value_o)
    key, value = linear(z_own, "cross_attention.k_linear"), linear(z_own, "cross_attention.v_linear")
    attention = torch.softmax(query[:, :, None] * key[:, None], dim=2)  # (B, N, N, heads)
    t = linear((attention * value[:, None]).sum(2), "cross_attention.proj") + z_own
    t = t + linear(norm(t, "ln_q"), "adapter_mlp")
    kernel = w["adapter_conv.conv.weight"].clone()
    kernel[:, :, 1, 1] -= 0.5 * w["adapter_conv.conv.weight"].sum((2, 3))
    side = math.isqrt(t.shape[1] - 1)
    patches = t[:, 1:].transpose(1, 2).reshape(len(t), 8, side, side)
    patches = F.conv2d(patches, kernel, padding=1).flatten(2).transpose(1, 2)
    t = torch.cat([t[:, :1] @ kernel[:, :, 1, 1].T, patches], dim=1)
    return linear(gelu(t), "adapter_up"), first


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("block", [0, 1])
def test_an_adapter_computes_what_the_released_one_does(state, method, m, block):
    load(method, state)
    own, *others = torch.randn(3, 4, 17, 96, generator=torch.Generator().manual_seed(1))
    outputs, first = zip(*(released_adapter(state, m, block, own, other) for other in others), strict=True)
    share = torch.stack(first).float().mean()
    assert 0.1 < share < 0.9  # both candidates have a part in it
    everyone = torch.ones(4, dtype=torch.bool)
    with torch.inference_mode():
        found, _ = method.streams[m - 1].adapters[block](own, others, [everyone, everyone], tokens=17)
    torch.testing.assert_close(found, sum(outputs), rtol=1e-4, atol=1e-5)


def scores(method, state):
    load(method, state)
    images = torch.randn(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return method.score(Inputs(*images, present=torch.ones(4, 3, dtype=torch.bool), black=torch.zeros(3, 3)))


def test_index_1_of_the_head_is_live(state, method):
    state["fc_all.0.weight"] = torch.zeros(2, 3 * 64)
    state["fc_all.0.bias"] = torch.tensor([0.5, 2.5])
    assert scores(method, state).tolist() == pytest.approx(4 * [1 / (1 + math.exp(-2.0))])


@pytest.mark.parametrize("m", [1, 2, 3])
@pytest.mark.parametrize("name", ["class_token_{}", "pos_{}", "visual_proj_{}", "conv_pass_{}.1.adapter_up.weight"])
def test_weights_of_a_modality_change_its_own_part_of_the_score(state, method, m, name):
    """The head sees modality m alone, and nothing passes between modalities before the last block."""
    columns = slice(64 * (m - 1), 64 * m)
    head = torch.zeros(2, 3 * 64)
    head[:, columns] = 3 * state["fc_all.0.weight"][:, columns]
    state["fc_all.0.weight"] = head
    if "conv_pass" not in name:  # class tokens and positions of one would reach the others through the adapters
        state |= {key: torch.zeros_like(t) for key, t in state.items() if "adapter_up" in key}
    before = scores(method, state)
    changed = {
        other
        for other in (1, 2, 3)
        if not torch.equal(scores(method, {**state, name.format(other): state[name.format(other)].flip(0)}), before)
    }
    assert changed == {m}


def test_prompts_arrive_in_the_order_of_the_text_classes(state, method):
    for m in (1, 2, 3):
        rows = torch.arange(5.0)[:, None, None] + 10 * m
        state[f"prompts_{m}"] = rows.expand(5, 5, 64)
    load(method, state)
    assert [stream.prompts[:, 0, 0].tolist() for stream in method.streams] == [
        [10, 11, 12, 13, 14],
        [20, 21, 22, 23, 24],
        [30, 31, 32, 33, 34],
    ]
    # Spoof of WMCA, live, spoof of CeFA, SURF, PADISI; the sources are CeFA, PADISI, SURF.
    assert method.classes.index == ((2, 4, 3), (1, 1, 1))


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["release.pth", "release.pt", "release.safetensors"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_is_loaded_whole(state, method, tmp_path, name, prefix):
    load(method, {key: torch.zeros_like(tensor) for key, tensor in state.items()})
    method.momentum.fill_(3)
    held = {prefix + key: tensor for key, tensor in state.items()}
    if name.endswith(".safetensors"):
        del held[f"{prefix}model.visual.class_embedding"]  # it writes a shared tensor once
        safetensors.torch.save_file(held, tmp_path / name)
    else:
        torch.save(held, tmp_path / name)
    load_release(method, tmp_path / name)
    loaded = method.state_dict()
    assert loaded.pop("momentum").tolist() == [3, 3, 3]
    assert_equal(loaded, from_release(state))


def refusal(function, *arguments):
    with pytest.raises(FasbenchError) as raised:
        function(*arguments)
    return str(raised.value)


def test_one_error_lists_every_problem(state):
    del state["fc_all.0.bias"], state["conv_pass_3.1.ln_q.weight"]
    state["optimizer"] = torch.zeros(1)
    state["pos_1"] = torch.zeros(50, 96)
    state["visual_proj_2"] = torch.zeros(96)
    for block in range(2):
        for m in (1, 2, 3):
            state[f"conv_pass_{m}.{block}.adapter_down_q.weight"] = torch.zeros(4, 96)
    assert refusal(from_release, state) == (
        "this is not the state dict of a released MMDG++ model\n"
        "2 missing:\n"
        "  - fc_all.0.bias\n"
        "  - conv_pass_3.1.ln_q.weight\n"
        "1 unknown:\n"
        "  - optimizer\n"
        "8 of another shape:\n"
        "  - pos_1: 5x96 expected, 50x96 found\n"
        "  - conv_pass_1.0.adapter_down_q.weight: 8x96 expected, 4x96 found\n"
        "  - conv_pass_1.1.adapter_down_q.weight: 8x96 expected, 4x96 found\n"
        "  - visual_proj_2: 96x64 expected, 96 found\n"
        "  ... and 4 more\n"
        "Pass the model's state dict itself, without a wrapper, an optimiser's state or a prefix: the names are those "
        "of the released class, with CLIP under 'model.'"
    )


def test_without_a_clip_its_tensors_are_missing(state):
    without = {name: t for name, t in state.items() if not name.startswith("model.")}
    depth = TINY_BLOCKS + 12  # image blocks as there are adapters; text blocks of ViT-B/16
    assert f"{len(CLIP) + depth * len(CLIP_BLOCK)} missing" in refusal(from_release, without)


def test_of_nothing_a_full_release_is_missing():
    assert f"{302 + 23 * 36 + 4 * 3 + 2} missing" in refusal(from_release, {})


def test_a_wrapped_state_dict_is_refused(state, method, tmp_path):
    assert "2 unknown:\n  - epoch\n  - state_dict\n" in refusal(from_release, {"epoch": 3, "state_dict": state})
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "wrapped.pth")
    text = refusal(load_release, method, tmp_path / "wrapped.pth")
    assert text.startswith(f"{tmp_path / 'wrapped.pth'}: holds epoch, state_dict, not a state dict\n")
    assert "from_release" in text


def test_a_method_without_adapters_has_no_counterpart():
    text = refusal(to_release, tiny_method(adapter=False).state_dict())
    assert "138 missing:\n  - streams.0.adapters.0.down_own.weight\n" in text
    assert "adapter: true" in text


def test_a_method_of_another_configuration_is_told_how_to_build_it(state, tmp_path):
    torch.save(state, tmp_path / "release.pth")
    text = refusal(load_release, tiny_method(fidelity="intended"), tmp_path / "release.pth")
    assert text.startswith(f"{tmp_path / 'release.pth'} is not for a method of this configuration\n3 of another shape:")
    assert "prompts_1: 4x5x64 expected, 5x5x64 found" in text  # the held-out domain has no class there
    assert "Build the method as the release is: fidelity: released" in text
    text = refusal(load_release, tiny_method(image_size=64), tmp_path / "release.pth")
    assert "pos_1: 17x96 expected, 5x96 found" in text


def test_files_that_cannot_be_read_are_refused(method, tmp_path):
    assert refusal(load_release, method, tmp_path / "none.pth") == f"{tmp_path / 'none.pth'}: there is no such file"
    for name in ("broken.pth", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"not weights")
        text = refusal(load_release, method, tmp_path / name)
        assert text.startswith(f"{tmp_path / name}: cannot be read as weights: ")
        assert "torch.save(model.state_dict(), path)" in text
    torch.save(torch.nn.Linear(1, 1), tmp_path / "pickled.pth")
    assert "save the state dict first" in refusal(load_release, method, tmp_path / "pickled.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "holds list, not a state dict" in refusal(load_release, method, tmp_path / "list.pth")
