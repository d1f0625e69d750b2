"""Typed configuration of a training: model, optim, train, augment, and how the layers of it are merged."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, model_validator

from fasbench.data.record import MODALITIES
from fasbench.errors import ConfigError
from fasbench.yamlfile import Strict, merge, parse_scalar, validate

Fidelity = Literal["intended", "released", "reconstruction"]
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ModelConfig(Strict):
    """What every method's `model:` section holds; a method adds its own fields in a subclass."""

    image_size: int = Field(224, ge=16, description="side of the square input, pixels")
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    ir_channels: Literal["plain", "descriptors", "clean-descriptors"] = Field(
        "plain",
        description="infrared three times, or [ir, hog, plgf] by the recipe `released` or `clean`: see "
        "fasbench.data.descriptors",
    )
    fidelity: Fidelity = "intended"


class OptimConfig(Strict):
    name: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = Field(1e-4, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    schedule: Literal["constant", "cosine", "step"] = "constant"
    step_epochs: int = Field(20, ge=1, description="step only: epochs between two drops")
    step_factor: float = Field(0.5, gt=0, le=1, description="step only: what a drop multiplies the rate with")
    warmup_steps: int = Field(0, ge=0)


Modality = Literal["rgb", "depth", "ir"]


class TrainConfig(Strict):
    epochs: int = Field(20, ge=1, description="an epoch ends with a validation")
    steps_per_epoch: int | None = Field(None, ge=1, description="None = one pass over the training rows")
    batch_size: int = Field(16, ge=2)
    score_batch_size: int = Field(64, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    modality_dropout: dict[Modality, Annotated[float, Field(ge=0, le=1)]] = Field(
        default={},
        description="probability of taking a modality away from a training sample, each on its own; never the last",
    )


class AugmentConfig(Strict):
    """The field's usual training augmentation; see `fasbench.data.augment`."""

    flip: float = Field(0.5, ge=0, le=1, description="probability of a horizontal flip, shared by the modalities")
    shift: float = Field(40, ge=0, le=255, description="per-channel shift U[-shift, shift], of 255")
    gamma: tuple[float, float] = (0.5, 1.5)
    photometric: tuple[Modality, ...] = MODALITIES  # type: ignore[assignment]
    noise: float = Field(0, ge=0, le=255, description="Gaussian noise, its standard deviation U[0, noise] an image")
    brightness: float = Field(0, ge=0, le=255, description="a shift U[-brightness, brightness] of all channels alike")
    erase: float = Field(0, ge=0, le=1, description="probability of a black rectangle, 1 to 5 % of the area, or two")
    cutout: int = Field(0, ge=0, description="largest side of a black square, pixels; 1 to this, in every sample")

    @model_validator(mode="after")
    def _positive_gamma(self) -> AugmentConfig:
        if not 0 < self.gamma[0] <= self.gamma[1]:
            raise ValueError("gamma needs 0 < low <= high")
        return self


M = TypeVar("M", bound=ModelConfig)


class Config(Strict, Generic[M]):
    model: M
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    augment: AugmentConfig = AugmentConfig()


SECTIONS = ("model", "optim", "train", "augment")
Section = dict[str, Any]


class MethodFile(Strict):
    """A method's config.yaml. The sections are checked once they are merged, see `resolve`."""

    methods: dict[str, str] = Field(default={}, description="bundled methods: name -> class in method.py")
    title: str = ""
    venue: str = Field("", description="where it was published: CVPR 2024")
    modalities: tuple[Modality, ...] = Field((), description="those it looks at, with its paper preset")
    backbone: str = Field("", description="what it builds on, in a word or two: ViT-B/16")
    weights: str = Field("", description="Hugging Face repository of the paper preset's weights; empty = none needed")
    published_as: tuple[str, ...] = Field((), description="its names in leaderboards/published")
    model: Section = {}
    optim: Section = {}
    train: Section = {}
    augment: Section = {}
    presets: dict[str, Section | None] = {}


def resolve(
    model: type[M], file: dict[str, Any], preset: str, rules: dict[str, Any], sets: list[str], name: str
) -> Config[M]:
    """The configuration of one training: config < preset < protocol's training rules < `--set`.

    Args:
        model: the method's `model:` section.
        file: the method's config.yaml (sections and `presets`).
        preset: one of the file's presets.
        rules: the protocol's `training:` section.
        sets: `--set` items, `optim.lr=1e-4`.
        name: what errors call the file.
    Raises:
        ConfigError: unknown preset, unknown key or illegal value, all problems together.
    """
    presets = validate(MethodFile, file, name).presets
    if preset not in presets:
        raise ConfigError(f"{name}: no preset '{preset}'. Presets: {', '.join(presets) or 'none'}")
    merged: dict[str, Any] = {"model": {}}
    for layer in ({key: file[key] for key in SECTIONS if key in file}, presets[preset] or {}, rules):
        merged = merge(merged, layer)
    for item in sets:
        merged = merge(merged, parse_set(item))
    return validate(Config[model], merged, name)  # type: ignore[valid-type]


def parse_set(item: str) -> dict[str, Any]:
    """`optim.lr=1e-4` as `{"optim": {"lr": 1e-4}}`; the value is read as YAML."""
    path, equals, text = item.partition("=")
    keys = path.strip().split(".")
    if not equals or len(keys) < 2 or not all(keys):
        raise ConfigError(f"--set '{item}': expected section.key=value, e.g. --set optim.lr=1e-4")
    value: Any = parse_scalar(text)
    for key in reversed(keys):
        value = {key: value}
    return value
