"""`fasbench list methods` and `show method`: what is said of a method without loading it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import fasbench.cli as cli
from fasbench.about import about, fidelities
from fasbench.config import MethodFile
from fasbench.new_method import new_method
from fasbench.registry import find_method, methods

BUNDLED = {name: entry for name, entry in methods().items() if entry.origin == "bundled"}


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty Hugging Face cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def invoke(*arguments: str) -> str:
    cli._register()
    result = CliRunner().invoke(cli.app, list(arguments), env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.stdout


def keep(cache: Path, repository: str, file: str) -> None:
    path = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / "abc" / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")


# --- what the bundled methods say -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLED)
def test_fidelities_are_those_of_the_class(name):
    assert fidelities(BUNDLED[name]) == tuple(BUNDLED[name].load().fidelities)


@pytest.mark.parametrize("name", BUNDLED)
def test_the_weights_named_are_those_that_the_library_would_fetch(name):
    file = MethodFile.model_validate(BUNDLED[name].config())
    model = {**file.model, **(file.presets["paper"] or {}).get("model", {})}
    if not model.get("pretrained"):
        assert file.weights == ""
    elif "clip" in model:
        import open_clip

        found = open_clip.get_pretrained_cfg(model["clip"], model["pretrained"])
        assert file.weights == found["hf_hub"].strip("/")
    elif "backbone" in model:
        import timm

        assert file.weights == timm.get_pretrained_cfg(model["backbone"]).hf_hub_id
    else:
        assert file.weights.startswith("timm/")


# --- list -------------------------------------------------------------------------------------------------------------


def test_the_list_fits_80_columns_and_names_every_method(cache):
    shown = invoke("list", "methods")
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    assert set(BUNDLED) <= {line.split()[0] for line in shown.splitlines() if line.strip()}
    (line,) = (line for line in shown.splitlines() if line.startswith("vp-fas "))
    assert (
        "TDSC 2024" in line and "ViT-B/16" in line and "reconstruction" in line and line.rstrip().endswith("download")
    )


def test_the_list_is_fast():
    start = time.process_time()
    for entry in BUNDLED.values():
        about(entry)
    assert time.process_time() - start < 1


def test_weights_in_the_cache_are_here(cache):
    assert about(BUNDLED["mmdg++"]).weights == "download"
    keep(cache, "timm/vit_base_patch16_clip_224.openai", "open_clip_model.safetensors")
    keep(cache, "timm/resnet18.a1_in1k", "config.json")  # of no use alone
    assert about(BUNDLED["mmdg++"]).weights == "here"
    assert about(BUNDLED["erm"]).weights == "download"
    keep(cache, "timm/resnet18.a1_in1k-other", "model.safetensors")
    assert about(BUNDLED["erm"]).weights == "download"


@pytest.mark.parametrize(
    ("config", "weights"),
    [
        ("presets: {paper: {}, tiny: {}}", "none"),
        ("model: {pretrained: true}\npresets: {paper: {}, tiny: {}}", ""),
        ("model: {pretrained: true}\npresets: {paper: {model: {pretrained: false}}, tiny: {}}", "none"),
        ("presets: {paper: {model: {pretrained: openai}}, tiny: }", ""),
        ("weights: a/b\npresets: {paper: {}, tiny: {}}", "download"),
    ],
)
def test_weights_nobody_names_are_unknown_and_no_weights_are_none(config, weights, cache, tmp_path):
    new_method("my-method", tmp_path)
    (tmp_path / "config.yaml").write_text(config)
    assert about(find_method(f"{tmp_path / 'method.py'}:MyMethod")).weights == weights


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("class M(Method):\n    pass", ("intended",)),
        ("class M(Method):\n    fidelities = ('intended', 'released')", ("intended", "released")),
        ("class M(Method):\n    fidelities: ClassVar = ('reconstruction',)", ("reconstruction",)),
        ("class B(Method):\n    fidelities = ('released',)\nclass M(B):\n    pass", ("released",)),
    ],
)
def test_fidelities_are_read_from_the_source(body, expected, tmp_path):
    (tmp_path / "m.py").write_text(f"this_cannot_be_imported\n{body}\n")
    assert fidelities(find_method(f"{tmp_path / 'm.py'}:M")) == expected


# --- show -------------------------------------------------------------------------------------------------------------


def test_the_card_has_a_head_and_fits_80_columns():
    shown = invoke("show", "method", "vp-fas")
    assert shown.startswith("vp-fas  VP-FAS (reconstruction)")
    for line in ("venue: TDSC 2024", "modalities: rgb, depth, ir", "fidelity: reconstruction", "presets: paper, tiny"):
        assert f"\n  {line}\n" in shown
    assert "Known traps" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_a_method_without_a_card_says_so(linear_method, tmp_path):
    new_method("my-method", tmp_path)
    assert "Known traps" in invoke("show", "method", f"{tmp_path / 'method.py'}:MyMethod")
    (tmp_path / "README.md").unlink()
    assert "It has no card" in invoke("show", "method", f"{tmp_path / 'method.py'}:MyMethod")
