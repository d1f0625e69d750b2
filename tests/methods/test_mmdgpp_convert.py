"""Weights of the released MMDG++ code arrive where they belong: its names and shapes, and what its tensors compute."""

import math
import re

import pytest
import safetensors.torch
import torch
from fasbench.baselines.mmdgpp.convert import load_release, to_release
from mmdgpp_samples import FULL, build, without_memory
from torch.nn import functional as F

from fasbench.errors import FasbenchError

SOURCES = ("cefa", "padisi", "surf")
ADAPTER = """
    adapter_conv.conv.weight 8 8 3 3            ln_k_v.weight 8
    cross_attention.q_linear_1.weight 8 8       ln_k_v.bias 8
    cross_attention.q_linear_2.weight 8 8       ln_q.weight 8
    cross_attention.k_linear.weight 8 8         ln_q.bias 8
    cross_attention.v_linear.weight 8 8         adapter_down_k_v.weight 8 768
    cross_attention.proj.weight 8 8             adapter_down_k_v.bias 8
    cross_attention.proj.bias 8                 adapter_down_q.weight 8 768
    cross_attention.mean_mlp_1.weight 8 8       adapter_down_q.bias 8
    cross_attention.mean_mlp_2.weight 8 8       adapter_mlp.weight 8 8
    cross_attention.std_mlp_1.weight 8 8        adapter_mlp.bias 8
    cross_attention.std_mlp_2.weight 8 8        adapter_up.weight 768 8
    adapter_up.bias 768                         """
MODALITY = "class_token_{m} 768  pos_{m} 197 768  visual_proj_{m} 768 512  prompts_{m} 5 5 512"
HEAD = "fc_all.0.weight 2 1536  fc_all.0.bias 2"


def table(text):
    """{name: shape} of names followed by their numbers."""
    rows = re.findall(r"(\S*[a-z]\S*)((?: \d+)+)", text)
    return {name: tuple(map(int, shape.split())) for name, shape in rows}


def tiny(**settings):
    """As released, but without random numbers."""
    given = {"fidelity": "released", "image_size": 32, "samples": None, **settings}
    return build(SOURCES, **given).eval()


@pytest.fixture(scope="module")
def _method():
    return tiny()


@pytest.fixture(scope="module")
def _state(_method):
    generator = torch.Generator().manual_seed(1)
    shapes = {name: tensor.shape for name, tensor in to_release(_method.state_dict()).items()}
    state = {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return {**state, "model.visual.class_embedding": state["class_token_1"]}


@pytest.fixture
def method(_method):
    """A tiny method that holds zeros."""
    with torch.no_grad():
        for tensor in _method.state_dict().values():
            tensor.zero_()
    return _method


@pytest.fixture
def state(_state):
    """Random numbers under the release's names."""
    return dict(_state)


def assert_holds(method, state):
    held = to_release(method.state_dict())
    assert held.keys() == state.keys()
    assert [name for name in held if not torch.equal(held[name], state[name])] == []


def refusal(*arguments):
    with pytest.raises(FasbenchError) as raised:
        load_release(*arguments)
    return str(raised.value)


# --- names and shapes -------------------------------------------------------------------------------------------------


def test_a_full_size_method_has_the_names_and_shapes_of_the_release():
    released = to_release(without_memory(SOURCES, **FULL, fidelity="released").state_dict())
    shapes = {name: tuple(tensor.shape) for name, tensor in released.items()}
    clip = {name: shapes.pop(name) for name in list(shapes) if name.startswith("model.")}
    rows = [  # of the release: names, their shapes, and how many tensors each stands for
        (MODALITY, "{name}", 3),
        (ADAPTER, "conv_pass_{{m}}.{{block}}.{name}", 36),
        (HEAD, "{name}", 1),
    ]
    for text, pattern, count in rows:
        for name, shape in table(text).items():
            key = pattern.format(name=name)
            keys = {key.format(m=m, block=block) for m in (1, 2, 3) for block in range(12)}
            assert len(keys) == count
            assert {shapes.pop(key, None) for key in keys} == {shape}, name
    assert not shapes
    # OpenAI's own names, by samples: both towers have 12 blocks of 12 tensors, and there are 14 others.
    assert len(clip) == 302
    assert clip["model.visual.transformer.resblocks.11.attn.in_proj_weight"] == (2304, 768)
    assert clip["model.transformer.resblocks.11.mlp.c_fc.weight"] == (2048, 512)
    assert clip["model.visual.conv1.weight"] == (768, 3, 16, 16)
    assert clip["model.visual.class_embedding"] == (768,)
    assert clip["model.token_embedding.weight"] == (49_408, 512)
    assert clip["model.logit_scale"] == ()
    # The RGB class token has two names there, and is one tensor.
    assert sum(tensor.numel() for tensor in released.values()) == 152_034_563 + 768


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("class_token_2", "streams.1.class_token"),
        ("pos_1", "streams.0.position"),
        ("visual_proj_3", "streams.2.projection"),
        ("prompts_3", "streams.2.prompts"),
        ("fc_all.0.weight", "head.weight"),
        ("model.visual.ln_pre.bias", "clip.visual.ln_pre.bias"),
        ("model.text_projection", "clip.text_projection"),
        ("conv_pass_2.1.cross_attention.q_linear_1.weight", "streams.1.adapters.1.candidate_auxiliary.query.weight"),
        ("conv_pass_3.0.cross_attention.mean_mlp_2.weight", "streams.2.adapters.0.candidate_own.mean.weight"),
        (
            "conv_pass_1.0.cross_attention.std_mlp_1.weight",
            "streams.0.adapters.0.candidate_auxiliary.log_variance.weight",
        ),
        ("conv_pass_2.0.adapter_down_k_v.bias", "streams.1.adapters.0.down_own.bias"),
        ("conv_pass_2.1.adapter_down_q.weight", "streams.1.adapters.1.down_auxiliary.weight"),
        ("conv_pass_1.1.ln_q.bias", "streams.0.adapters.1.norm_auxiliary.bias"),
    ],
)
def test_a_marked_tensor_arrives_and_nothing_else_is_marked(state, method, name, ours):
    load_release(method, {key: torch.full_like(tensor, float(key == name)) for key, tensor in state.items()})
    assert {key for key, tensor in method.state_dict().items() if bool((tensor == 1).any())} == {ours}


def test_there_and_back_again(state, method):
    method.momentum.fill_(3)
    load_release(method, state)
    assert_holds(method, state)
    assert method.momentum.tolist() == [3, 3, 3]  # the release does not keep it


def test_the_rgb_class_token_is_one_tensor_in_a_release(method):
    with torch.no_grad():
        method.streams[0].class_token.fill_(5)  # trained apart from CLIP's
    released = to_release(method.state_dict())
    assert released["class_token_1"] is released["model.visual.class_embedding"]
    assert bool((released["class_token_1"] == 5).all())


# --- what the weights do ----------------------------------------------------------------------------------------------


def released_adapter(state, m, block, own, auxiliary):
    """A_m(own <- auxiliary) in closed form, r = 2.5, and where the auxiliary's query was taken."""
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


@pytest.mark.parametrize(("m", "block"), [(1, 0), (2, 1), (3, 0)])
def test_an_adapter_computes_what_the_released_one_does(state, method, m, block):
    load_release(method, state)
    own, *others = torch.randn(3, 4, 17, 96, generator=torch.Generator().manual_seed(1))
    outputs, first = zip(*(released_adapter(state, m, block, own, other) for other in others), strict=True)
    assert 0.1 < torch.stack(first).float().mean() < 0.9  # both candidates have a part in it
    everyone = torch.ones(4, dtype=torch.bool)
    with torch.inference_mode():
        found, _ = method.streams[m - 1].adapters[block](own, others, [everyone, everyone], tokens=17)
    torch.testing.assert_close(found, sum(outputs), rtol=1e-4, atol=1e-5)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize("dropped", ["class_token_1", "model.visual.class_embedding", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_file_is_loaded_whole(state, method, tmp_path, kind, dropped, prefix):
    """Under either name of the RGB class token, from DataParallel, with the entries of OpenAI's archives."""
    entries = {"input_resolution": 32, "context_length": 77, "vocab_size": 49_408}
    held = {**state, **{f"model.{name}": torch.tensor(value) for name, value in entries.items()}}
    held = {prefix + name: tensor.clone() for name, tensor in held.items() if name != dropped}
    path = tmp_path / f"release.{kind}"
    safetensors.torch.save_file(held, path) if kind == "safetensors" else torch.save(held, path)
    load_release(method, path if prefix else str(path))
    assert_holds(method, state)


def test_one_error_lists_every_problem(state, method, tmp_path):
    del state["fc_all.0.bias"], state["conv_pass_3.1.ln_q.weight"]
    state["optimizer"] = torch.zeros(1)
    state["pos_1"] = torch.zeros(50, 96)
    for m in (1, 2, 3):
        state[f"prompts_{m}"] = torch.zeros(4, 5, 64)
    state["visual_proj_2"] = torch.zeros(96)
    before = to_release({name: tensor.clone() for name, tensor in method.state_dict().items()})
    text = refusal(method, state)
    assert text == (
        "the state dict does not fit this method\n"
        "2 missing:\n"
        "  - conv_pass_3.1.ln_q.weight\n"
        "  - fc_all.0.bias\n"
        "1 unknown:\n"
        "  - optimizer\n"
        "5 of another shape:\n"
        "  - pos_1: (5, 96) expected, (50, 96) found\n"
        "  - prompts_1: (5, 5, 64) expected, (4, 5, 64) found\n"
        "  - visual_proj_2: (96, 64) expected, (96,) found\n"
        "  - prompts_2: (5, 5, 64) expected, (4, 5, 64) found\n"
        "  ... and 1 more\n"
        "Give the state dict of the released class itself, and build the method as the release is: fidelity: released, "
        "adapter: true, prompts: asymmetric, clip: ViT-B-16-quickgelu, image_size: 224"
    )
    assert_holds(method, before)  # nothing was loaded
    torch.save(state, tmp_path / "release.pth")
    assert refusal(method, tmp_path / "release.pth") == text.replace("the state dict", str(tmp_path / "release.pth"), 1)


def test_a_method_of_another_configuration_is_told_how_to_build_it(state):
    text = refusal(tiny(fidelity="intended"), state)
    assert "3 of another shape:\n  - prompts_1: (4, 5, 64) expected, (5, 5, 64) found" in text
    assert "build the method as the release is: fidelity: released" in text
    assert f"{6 * 23} unknown:" in refusal(tiny(adapter=False), state)


def test_what_is_no_state_dict_is_refused(state, method, tmp_path):
    wrapped = {"epoch": 3, "state_dict": state}
    text = "holds epoch, state_dict, not a state dict. Take the state dict out of it"
    assert refusal(method, wrapped) == f"the state dict {text}"
    torch.save(wrapped, tmp_path / "wrapped.pth")
    assert refusal(method, tmp_path / "wrapped.pth") == f"{tmp_path / 'wrapped.pth'} {text}"
    torch.save([1, 2], tmp_path / "list.pth")
    assert refusal(method, tmp_path / "list.pth") == f"{tmp_path / 'list.pth'} holds list, not a state dict"


def test_files_that_cannot_be_read_are_refused(method, tmp_path):
    for name in ("broken.pth", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"not weights")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "pickled.pth")
    for name in ("broken.pth", "broken.safetensors", "pickled.pth", "none.pth", "none.safetensors"):
        text = refusal(method, tmp_path / name)
        assert text.startswith(f"{tmp_path / name} cannot be read as weights: "), text
        assert "Of a pickled model or a JIT archive, save the state dict first, where you trust it" in text
