"""The layers of a configuration: config < preset < protocol's rules < --set."""

import pytest

from fasbench.config import AugmentConfig, Config, ModelConfig, parse_set, resolve
from fasbench.errors import ConfigError


class Widths(ModelConfig):
    width: int = 1
    depths: tuple[int, ...] = (1, 2)


FILE = {
    "title": "a method",
    "methods": {"m": "M"},
    "model": {"width": 2, "image_size": 96},
    "optim": {"lr": 2e-3},
    "presets": {"paper": {"optim": {"lr": 3e-3}}, "tiny": None},
}


def resolved(file=FILE, preset="paper", rules=None, sets=()) -> Config:
    return resolve(Widths, file, preset, rules or {}, list(sets), "m.yaml")


def lr(**layers) -> float:
    return resolved(**layers).optim.lr


def test_each_layer_lies_over_the_one_before():
    rules, sets = {"optim": {"lr": 4e-3}}, ["optim.lr=5e-3"]
    assert lr(file={"presets": {"paper": {}}}) == 1e-4  # the default
    assert lr(preset="tiny") == 2e-3  # the file
    assert lr() == 3e-3  # the preset
    assert lr(rules=rules) == 4e-3  # the protocol
    assert lr(rules=rules, sets=sets) == 5e-3
    assert lr(sets=[*sets, "optim.lr=6e-3"]) == 6e-3  # the last --set


def test_a_layer_keeps_what_it_does_not_mention():
    config = resolved(rules={"model": {"depths": [7]}}, sets=["train.epochs=3"])
    assert (config.model.width, config.model.image_size, config.model.depths) == (2, 96, (7,))
    assert (config.train.epochs, config.train.batch_size) == (3, 16)


def test_the_model_section_may_be_left_out():
    assert resolved(file={"presets": {"paper": {}}}).model == Widths()


def test_resolve_does_not_change_the_file():
    before = repr(FILE)
    resolved(sets=["model.width=9"])
    assert repr(FILE) == before


@pytest.mark.parametrize(("presets", "listed"), [({"tiny": {}}, "tiny"), ({}, "none")])
def test_an_unknown_preset_names_those_that_exist(presets, listed):
    with pytest.raises(ConfigError, match=rf"m\.yaml: no preset 'paper'\. Presets: {listed}$"):
        resolved(file={"presets": presets})


def test_unknown_keys_and_illegal_values_of_all_layers_are_reported_together():
    file = {"model": {"widht": 3}, "presets": {"paper": {"optim": {"lr": 0}}}}
    with pytest.raises(ConfigError) as caught:
        resolved(file=file, rules={"trian": {"epochs": 1}}, sets=["train.epoch=2"])
    problems = str(caught.value)
    assert "4 problem(s)" in problems
    assert "model.widht: unknown key. Did you mean 'width'?" in problems
    assert "optim.lr: " in problems
    assert "trian: unknown key. Did you mean 'train'?" in problems
    assert "train.epoch: unknown key. Did you mean 'epochs'?" in problems


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ({"optin": {"lr": 1}, "presets": {"paper": {}}}, "optin: unknown key. Did you mean 'optim'?"),
        ({"presets": ["paper"]}, "presets: Input should be a valid dictionary"),
        ({"presets": {"paper": 3}}, "presets.paper: Input should be a valid dictionary"),
        ({"model": 3, "presets": {"paper": {}}}, "model: Input should be a valid dictionary"),
    ],
)
def test_a_misshapen_file_is_an_error(file, problem):
    with pytest.raises(ConfigError) as caught:
        resolved(file=file)
    assert f"m.yaml: {problem}" in str(caught.value)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("optim.lr=1e-4", {"optim": {"lr": 1e-4}}),
        ("model.a.b=[1, 2]", {"model": {"a": {"b": [1, 2]}}}),
        ("model.name=a=b", {"model": {"name": "a=b"}}),
        ("train.steps_per_epoch=null", {"train": {"steps_per_epoch": None}}),
        (" train.precision = fp32", {"train": {"precision": "fp32"}}),
    ],
)
def test_parse_set_reads_the_value_as_yaml(item, expected):
    assert parse_set(item) == expected


@pytest.mark.parametrize("item", ["optim.lr", "lr=1", "=1", "optim.=1", ".lr=1", "optim..lr=1", ""])
def test_parse_set_says_what_it_expects(item):
    with pytest.raises(ConfigError, match=r"expected section\.key=value, e\.g\. --set optim\.lr=1e-4") as caught:
        parse_set(item)
    assert f"--set '{item}'" in str(caught.value)


def test_parse_set_refuses_a_value_yaml_cannot_read():
    with pytest.raises(ConfigError, match=r"'\{1' is not a value YAML can read"):
        parse_set("optim.lr={1")


@pytest.mark.parametrize("gamma", [(0, 1), (-1, 1), (2, 1)])
def test_gamma_must_be_a_positive_range(gamma):
    with pytest.raises(ValueError, match="gamma needs 0 < low <= high"):
        AugmentConfig(gamma=gamma)


def test_gamma_may_be_a_single_value():
    assert AugmentConfig(gamma=(1, 1)).gamma == (1.0, 1.0)


@pytest.mark.parametrize(
    "setting",
    [
        "model.image_size=8",
        "model.fidelity=perfect",
        "optim.name=lion",
        "optim.weight_decay=-1",
        "optim.momentum=1",
        "train.epochs=0",
        "train.batch_size=1",
        "train.precision=fp16",
        "augment.flip=1.5",
        "augment.shift=256",
        "augment.photometric=[thermal]",
    ],
)
def test_illegal_values_are_refused_by_name(setting):
    key = setting.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"m\.yaml: {key}"):
        resolved(sets=[setting])
