"""What is said of a method without loading it: `fasbench list methods` must not wait for torch."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fasbench.config import MethodFile
from fasbench.registry import MethodEntry
from fasbench.resources import bundled
from fasbench.yamlfile import merge, validate

# What timm (the first two) and open_clip call the file of weights in a repository.
_WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class About:
    """A method as a list shows it, with its preset `paper`. Empty or None: nobody says."""

    name: str
    title: str
    venue: str
    modalities: tuple[str, ...]
    backbone: str
    presets: tuple[str, ...]
    fidelities: tuple[str, ...]  # the default first
    trained: int | None  # parameters, as measured
    weights: str  # "none" needed, "here" on this machine, "download"


def about(entry: MethodEntry) -> About:
    """What config.yaml, the class's source and the measured costs say.

    Raises:
        ConfigError: a broken config.yaml.
    """
    file = validate(MethodFile, entry.config(), str(entry.config_path or entry.name))
    cost = costs().get(entry.name, {}) if entry.origin == "bundled" else {}
    return About(
        name=entry.name,
        title=file.title,
        venue=file.venue,
        modalities=file.modalities,
        backbone=file.backbone,
        presets=tuple(file.presets),
        fidelities=fidelities(entry),
        trained=cost.get("trained"),
        weights=_weights(file),
    )


def card(entry: MethodEntry) -> Path | None:
    """The method's README.md, if it has one."""
    path = entry.config_path.with_name("README.md") if entry.config_path else None
    return path if path and path.is_file() else None


@cache
def costs() -> dict[str, dict[str, Any]]:
    """What `benchmarks/costs.py` measured, by method."""
    path = bundled("baselines") / "costs.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def fidelities(entry: MethodEntry) -> tuple[str, ...]:
    """`fidelities` of the method's class, read from its source; () where the source is elsewhere."""
    path = Path(entry.module)
    if entry.origin != "file":
        name = f"{entry.module.rpartition('.')[2]}.py"
        path = entry.config_path.with_name(name) if entry.config_path else Path(name)
    if not path.is_file():
        return ()
    classes = {node.name: node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef)}
    return _fidelities(entry.class_name, classes)


def _fidelities(name: str, classes: dict[str, ast.ClassDef]) -> tuple[str, ...]:
    """Of a class, or of the first of its bases in the same file."""
    if name not in classes:
        return ("intended",)  # fasbench.method.Method's
    for statement in classes[name].body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "fidelities" for target in targets):
            return tuple(ast.literal_eval(statement.value))  # type: ignore[attr-defined]
    bases = [base.id for base in classes[name].bases if isinstance(base, ast.Name)]
    return _fidelities(next((base for base in bases if base in classes), ""), classes)


def _weights(file: MethodFile) -> str:
    if file.weights:
        return "here" if _cached(file.weights) else "download"
    paper = merge({"model": file.model}, file.presets.get("paper") or {})
    return "" if paper["model"].get("pretrained") else "none"


def _cached(repository: str) -> bool:
    """Whether the Hugging Face cache holds weights of a repository. Looks at its folder only, which takes no time."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    return any(path.is_file() for name in _WEIGHT_FILES for path in folder.glob(f"*/{name}"))
