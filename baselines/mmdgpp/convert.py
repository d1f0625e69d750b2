"""Weights of the released MMDG++ code, under the names that `MMDGpp` gives them.

    from fasbench.baselines.mmdgpp.convert import load_release
    from fasbench.baselines.mmdgpp.method import MMDGpp

    config = MMDGpp.Config(fidelity="released", pretrained=None)  # CLIP's weights are in the file
    method = MMDGpp(config, sources=("cefa", "padisi", "surf"))
    load_release(method, "mmdg_plus_plus.pth")

The names are those of the released class, with CLIP under `model.`; open_clip keeps OpenAI's names. Rows of the prompts
are text classes: they mean what they did in training as long as `sources` are of wmca, cefa, surf and padisi. Scores do
not depend on them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from fasbench.errors import FasbenchError, problem_list

_STREAM = {  # ours, and {release}_{m}
    "class_token": "class_token",
    "position": "pos",
    "projection": "visual_proj",
    "prompts": "prompts",
}
_ADAPTER = {  # streams.{m - 1}.adapters.{block}.{ours}, and conv_pass_{m}.{block}.{release}
    "down_own": "adapter_down_k_v",
    "down_auxiliary": "adapter_down_q",
    "norm_own": "ln_k_v",
    "norm_auxiliary": "ln_q",
    "candidate_auxiliary.query": "cross_attention.q_linear_1",
    "candidate_auxiliary.mean": "cross_attention.mean_mlp_1",
    "candidate_auxiliary.log_variance": "cross_attention.std_mlp_1",  # "std" by name only
    "candidate_own.query": "cross_attention.q_linear_2",
    "candidate_own.mean": "cross_attention.mean_mlp_2",
    "candidate_own.log_variance": "cross_attention.std_mlp_2",
    "key": "cross_attention.k_linear",
    "value": "cross_attention.v_linear",
    "project": "cross_attention.proj",
    "linear": "adapter_mlp",
    "convolution": "adapter_conv.conv",
    "up": "adapter_up",
}
_RGB_TOKENS = ("class_token_1", "model.visual.class_embedding")  # one parameter in the release
_JIT_ENTRIES = {"model.input_resolution", "model.context_length", "model.vocab_size"}  # of OpenAI's own archives


def released_name(ours: str) -> str:
    """`streams.0.position` -> `pos_1`, `clip.visual.proj` -> `model.visual.proj`, and so on."""
    if found := re.fullmatch(r"streams\.(\d)\.(\w+)", ours):
        return f"{_STREAM[found[2]]}_{int(found[1]) + 1}"
    if found := re.fullmatch(r"streams\.(\d)\.adapters\.(\d+)\.(.+)\.(weight|bias)", ours):
        return f"conv_pass_{int(found[1]) + 1}.{found[2]}.{_ADAPTER[found[3]]}.{found[4]}"
    return re.sub(r"^clip\.", "model.", re.sub(r"^head\.", "fc_all.0.", ours))


def to_release(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`MMDGpp.state_dict()` as the release would save it: its names, its one RGB class token, no `momentum`."""
    released = {released_name(name): tensor for name, tensor in state.items() if name != "momentum"}
    released[_RGB_TOKENS[1]] = released[_RGB_TOKENS[0]]
    return released


def load_release(method: nn.Module, weights: str | Path | Mapping[str, Tensor]) -> None:
    """Load weights of the released code into an `MMDGpp`: everything but `momentum`, which stays as it is.

    Args:
        method: built as the release is, see the top of this file.
        weights: a file (.safetensors, or what `torch.save(model.state_dict())` wrote), or a state dict.
    Raises:
        FasbenchError: a file that cannot be read, or keys that are missing, unknown or of another shape.
    """
    source = "the state dict" if isinstance(weights, Mapping) else str(weights)
    state = _plain(weights if isinstance(weights, Mapping) else _read(Path(weights)), source)
    ours = {released_name(name): (name, tensor) for name, tensor in method.state_dict().items() if name != "momentum"}
    problems = {
        "missing": [name for name in ours if name not in state],
        "unknown": [name for name in state if name not in ours],
        "of another shape": [
            f"{name}: {tuple(tensor.shape)} expected, {tuple(state[name].shape)} found"
            for name, (_, tensor) in ours.items()
            if name in state and state[name].shape != tensor.shape
        ],
    }
    if any(problems.values()):
        lists = [problem_list(f"{len(found)} {kind}:", found, limit=4) for kind, found in problems.items() if found]
        raise FasbenchError(
            "\n".join([f"{source} does not fit this method", *lists])
            + "\nGive the state dict of the released class itself, and build the method as the release is: fidelity: "
            "released, adapter: true, prompts: asymmetric, clip: ViT-B-16-quickgelu, image_size: 224"
        )
    method.load_state_dict({ours[name][0]: tensor for name, tensor in state.items()}, strict=False)


def _plain(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """A state dict without what wrappers and archives add to it, and with both names of the RGB class token."""
    if not all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()):
        holds = ", ".join(map(str, list(state)[:8]))
        raise FasbenchError(f"{source} holds {holds}, not a state dict. Take the state dict out of it")
    if all(name.startswith("module.") for name in state):  # saved from DataParallel
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    state = {name: tensor for name, tensor in state.items() if name not in _JIT_ENTRIES}
    for kept, dropped in (_RGB_TOKENS, _RGB_TOKENS[::-1]):  # safetensors writes a shared tensor once
        if kept in state:
            state.setdefault(dropped, state[kept])
    return state


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zip, pickle, header, file and memory errors of two libraries
        reason = str(error).strip().split("\n")[0]
        raise FasbenchError(
            f"{path} cannot be read as weights: {reason}\n"
            "Only files of plain tensors are opened. Of a pickled model or a JIT archive, save the state dict first, "
            "where you trust it: torch.save(model.state_dict(), path)"
        ) from error
    if not isinstance(state, Mapping):
        raise FasbenchError(f"{path} holds {type(state).__name__}, not a state dict")
    return state
