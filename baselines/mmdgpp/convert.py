"""Weights of the released MMDG++ code, to and from the names that `MMDGpp` gives them.

    from fasbench.baselines.mmdgpp.convert import load_release
    from fasbench.baselines.mmdgpp.method import MMDGpp

    config = MMDGpp.Config(fidelity="released", pretrained=None)  # CLIP's weights are in the file
    method = MMDGpp(config, sources=("cefa", "padisi", "surf"))
    load_release(method, "mmdg_plus_plus.pth")

or in pieces, for a checkpoint that holds more than the state dict:

    state = from_release(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])
    method.load_state_dict({**state, "momentum": method.momentum})  # the one thing a release does not have

Rows of the prompts are text classes: they mean what they did in training as long as `sources` are of wmca, cefa, surf
and padisi. Scores do not depend on them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from fasbench.errors import FasbenchError, problem_list

if TYPE_CHECKING:
    from fasbench.baselines.mmdgpp.method import MMDGpp

# The correspondence. Shapes: D width of the image tower, N its tokens, P its patch; W width of the text tower, T its
# positions, V its words; E embedding, C text classes.

_STREAM = {  # {release}_{m}, m = 1, 2, 3: streams.{m - 1}.{ours}
    "class_token": ("class_token", "D"),
    "pos": ("position", "N D"),
    "visual_proj": ("projection", "D E"),
    "prompts": ("prompts", "C 5 W"),
}
_ADAPTER = {  # conv_pass_{m}.{block}.{release}: streams.{m - 1}.adapters.{block}.{ours}
    "adapter_down_k_v.weight": ("down_own.weight", "8 D"),
    "adapter_down_k_v.bias": ("down_own.bias", "8"),
    "adapter_down_q.weight": ("down_auxiliary.weight", "8 D"),
    "adapter_down_q.bias": ("down_auxiliary.bias", "8"),
    "ln_k_v.weight": ("norm_own.weight", "8"),
    "ln_k_v.bias": ("norm_own.bias", "8"),
    "ln_q.weight": ("norm_auxiliary.weight", "8"),
    "ln_q.bias": ("norm_auxiliary.bias", "8"),
    "cross_attention.q_linear_1.weight": ("candidate_auxiliary.query.weight", "8 8"),
    "cross_attention.mean_mlp_1.weight": ("candidate_auxiliary.mean.weight", "8 8"),
    "cross_attention.std_mlp_1.weight": ("candidate_auxiliary.log_variance.weight", "8 8"),  # "std" by name only
    "cross_attention.q_linear_2.weight": ("candidate_own.query.weight", "8 8"),
    "cross_attention.mean_mlp_2.weight": ("candidate_own.mean.weight", "8 8"),
    "cross_attention.std_mlp_2.weight": ("candidate_own.log_variance.weight", "8 8"),
    "cross_attention.k_linear.weight": ("key.weight", "8 8"),
    "cross_attention.v_linear.weight": ("value.weight", "8 8"),
    "cross_attention.proj.weight": ("project.weight", "8 8"),
    "cross_attention.proj.bias": ("project.bias", "8"),
    "adapter_mlp.weight": ("linear.weight", "8 8"),
    "adapter_mlp.bias": ("linear.bias", "8"),
    "adapter_conv.conv.weight": ("convolution.weight", "8 8 3 3"),
    "adapter_up.weight": ("up.weight", "D 8"),
    "adapter_up.bias": ("up.bias", "D"),
}
_HEAD = {"fc_all.0.weight": ("head.weight", "2 3E"), "fc_all.0.bias": ("head.bias", "2")}
_CLIP = {  # model.{name}: clip.{name}; open_clip keeps OpenAI's names
    "positional_embedding": "T W",
    "text_projection": "W E",
    "logit_scale": "",
    "token_embedding.weight": "V W",
    "ln_final.weight": "W",
    "ln_final.bias": "W",
    "visual.class_embedding": "D",
    "visual.positional_embedding": "N D",
    "visual.proj": "D E",
    "visual.conv1.weight": "D 3 P P",
    "visual.ln_pre.weight": "D",
    "visual.ln_pre.bias": "D",
    "visual.ln_post.weight": "D",
    "visual.ln_post.bias": "D",
}
_CLIP_BLOCK = {  # of both towers; {w} is the tower's width
    "ln_1.weight": "{w}",
    "ln_1.bias": "{w}",
    "attn.in_proj_weight": "3{w} {w}",
    "attn.in_proj_bias": "3{w}",
    "attn.out_proj.weight": "{w} {w}",
    "attn.out_proj.bias": "{w}",
    "ln_2.weight": "{w}",
    "ln_2.bias": "{w}",
    "mlp.c_fc.weight": "4{w} {w}",
    "mlp.c_fc.bias": "4{w}",
    "mlp.c_proj.weight": "{w} 4{w}",
    "mlp.c_proj.bias": "{w}",
}
_JIT_ENTRIES = {"model.input_resolution", "model.context_length", "model.vocab_size"}  # of OpenAI's own archives
_RGB_TOKENS = ("class_token_1", "model.visual.class_embedding")  # one parameter in the release

_AS_RELEASED = (
    "build the method as the release is: fidelity: released, adapter: true, prompts: asymmetric, "
    "clip: ViT-B-16-quickgelu and image_size: 224"
)


def from_release(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under our names: all of `MMDGpp.state_dict()` but `momentum`. The inverse of `to_release`.

    Raises:
        FasbenchError: keys that are missing, unknown or of a shape that does not go with the others.
    """
    state = {name: tensor for name, tensor in state.items() if name not in _JIT_ENTRIES}
    rows = _rows(state)
    title = "this is not the state dict of a released MMDG++ model"
    remedy = (
        "Pass the model's state dict itself, without a wrapper, an optimiser's state or a prefix: the names are those "
        "of the released class, with CLIP under 'model.'"
    )
    _check(state, _expected(state, {row.release: row.shape for row in rows}), title, remedy)
    ours = {row.release: row.ours for row in rows}
    return {ours[name]: tensor for name, tensor in state.items()}


def to_release(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `MMDGpp.state_dict()` under the release's names, without `momentum`.

    The release has one parameter for `class_token_1` and CLIP's own class token, and keeps the one loaded last. Before
    a model trained here is loaded there, set `state["model.visual.class_embedding"] = state["class_token_1"]`.

    Raises:
        FasbenchError: as `from_release`; such as a method without adapters, which the release always has.
    """
    state = {name: tensor for name, tensor in state.items() if name != "momentum"}
    rows = _rows(state)
    title = "this is not the state dict of an MMDGpp that the release could hold"
    remedy = f"Pass MMDGpp.state_dict() itself, and {_AS_RELEASED}"
    _check(state, _expected(state, {row.ours: row.shape for row in rows}), title, remedy)
    release = {row.ours: row.release for row in rows}
    return {release[name]: tensor for name, tensor in state.items()}


def load_release(method: MMDGpp, path: str | Path) -> None:
    """Load a checkpoint of the released code: everything but `momentum`, which stays as it is.

    Args:
        method: built as the release is, see the top of this file.
        path: .safetensors, or what `torch.save(model.state_dict())` wrote. A `module.` prefix is taken off.
    Raises:
        FasbenchError: a file that cannot be read, that is no such checkpoint, or that is not for this method.
    """
    built = to_release(method.state_dict())
    try:
        state = from_release(_read(Path(path)))
    except FasbenchError as error:
        raise FasbenchError(f"{path}: {error}") from error
    expected = {name: tuple(tensor.shape) for name, tensor in built.items()}
    remedy = _AS_RELEASED[0].upper() + _AS_RELEASED[1:]
    _check(to_release(state), expected, f"{path} is not for a method of this configuration", remedy)
    method.load_state_dict({**state, "momentum": method.momentum})


# --- what a state dict should hold ------------------------------------------------------------------------------------


class _Row(NamedTuple):
    release: str
    ours: str
    shape: str


def _rows(state: Mapping[str, Tensor]) -> list[_Row]:
    """The correspondence spelled out for as many blocks as the names of `state`, ours or the release's, tell of."""
    blocks = range(
        _depth(r"(?:model|clip)\.visual\.transformer\.resblocks|conv_pass_[123]|streams\.[012]\.adapters", state)
    )
    rows = [_Row(release, ours, shape) for release, (ours, shape) in _HEAD.items()]
    for m in (1, 2, 3):
        rows += [_Row(f"{name}_{m}", f"streams.{m - 1}.{ours}", shape) for name, (ours, shape) in _STREAM.items()]
        rows += [
            _Row(f"conv_pass_{m}.{block}.{release}", f"streams.{m - 1}.adapters.{block}.{ours}", shape)
            for block in blocks
            for release, (ours, shape) in _ADAPTER.items()
        ]
    clip = dict(_CLIP)
    text_blocks = range(_depth(r"(?:model|clip)\.transformer\.resblocks", state))
    for tower, width, depth in (("visual.", "D", blocks), ("", "W", text_blocks)):
        for block in depth:
            prefix = f"{tower}transformer.resblocks.{block}."
            clip |= {prefix + name: shape.format(w=width) for name, shape in _CLIP_BLOCK.items()}
    return rows + [_Row(f"model.{name}", f"clip.{name}", shape) for name, shape in clip.items()]


def _depth(pattern: str, names: Mapping[str, Tensor]) -> int:
    """Number of blocks under the prefix; ViT-B/16's where there is none, so that they are reported as missing."""
    numbers = [int(found[1]) for name in names if (found := re.match(rf"(?:{pattern})\.(\d+)\.", name))]
    return max(numbers, default=11) + 1


def _expected(state: Mapping[str, Tensor], shapes: Mapping[str, str]) -> dict[str, tuple[int | str, ...]]:
    """Shapes in numbers. A letter stands for the size that most tensors give it: a wrong one is then outvoted."""
    terms = {
        name: [re.fullmatch(r"(\d*)([A-Z]?)", term).groups() for term in shape.split()]  # type: ignore[union-attr]
        for name, shape in shapes.items()
    }
    votes: dict[str, Counter[int]] = defaultdict(Counter)
    for name, shape in terms.items():
        if name in state and len(shape) == state[name].ndim:
            for (factor, letter), size in zip(shape, state[name].shape, strict=True):
                votes[letter][size // int(factor or 1)] += 1
    sizes = {letter: counter.most_common(1)[0][0] for letter, counter in votes.items()} | {"": 1}

    def number(factor: str, letter: str) -> int | str:
        return int(factor or 1) * sizes[letter] if letter in sizes else factor + letter

    return {name: tuple(number(*term) for term in shape) for name, shape in terms.items()}


def _check(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int | str, ...]], title: str, remedy: str) -> None:
    """Names and shapes as expected, or a FasbenchError that lists what is not."""
    problems = {
        "missing": [name for name in expected if name not in state],
        "unknown": [name for name in state if name not in expected],
        "of another shape": [
            f"{name}: {_shape(shape)} expected, {_shape(tuple(state[name].shape))} found"
            for name, shape in expected.items()
            if name in state and tuple(state[name].shape) != shape
        ],
    }
    if any(problems.values()):
        lists = [problem_list(f"{len(found)} {kind}:", found, limit=4) for kind, found in problems.items() if found]
        raise FasbenchError("\n".join([title, *lists, remedy]))


def _shape(sizes: tuple[int | str, ...]) -> str:
    return "x".join(map(str, sizes)) or "a number"


# --- files ------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FasbenchError("there is no such file")
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, header and memory errors of two libraries
        reason = str(error).strip().split("\n")[0]
        raise FasbenchError(
            f"cannot be read as weights: {reason}\n"
            "Only files of plain tensors are opened. Of a pickled model or a JIT archive, save the state dict first, "
            "where you trust it: torch.save(model.state_dict(), path)"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        holds = ", ".join(map(str, list(state)[:8])) if isinstance(state, Mapping) else type(state).__name__
        raise FasbenchError(f"holds {holds}, not a state dict\nTake the state dict out and give it to from_release")
    if all(name.startswith("module.") for name in state):  # saved from DataParallel
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    state = dict(state)
    for kept, dropped in (_RGB_TOKENS, _RGB_TOKENS[::-1]):  # safetensors writes a shared tensor once
        if kept in state:
            state.setdefault(dropped, state[kept])
    return state
