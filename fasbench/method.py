"""Method: the one interface of everything that is benchmarked. It gives losses and scores; the runner the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from fasbench.config import ModelConfig
from fasbench.data.sample import Batch, Inputs

if TYPE_CHECKING:
    from accelerate import Accelerator

    from fasbench.protocol import Protocol

__all__ = ["Batch", "Inputs", "Method", "ModelConfig", "live_probability"]


class Method(nn.Module):
    """Base class of a method. `loss` and `score` are all it must define.

    Args of the constructor:
        config: the `model:` section of the method's configuration, an instance of its `Config`.
        sources: names of the data sets the split trains on, sorted; `Batch.domain` indexes them.

    Rules the contract test checks (`fasbench check method`): a score depends on its own sample only, not on the rest
    of the batch or its order; scoring is deterministic in evaluation mode; whatever must survive an interrupted
    training is a parameter or a buffer; a modality that is absent (`inputs.present` False) is handled per sample.
    """

    Config: ClassVar[type[ModelConfig]] = ModelConfig
    fidelities: ClassVar[tuple[str, ...]] = ("intended",)
    """The `model.fidelity` values the method knows."""
    custom_backward: ClassVar[bool] = False
    """True when `backward` is overridden: gradients are then combined by the method, on one process."""

    def __init__(self, config: ModelConfig, sources: tuple[str, ...]) -> None:
        super().__init__()
        self.config: Any = config
        self.sources = sources

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Scalar losses of a training batch; `"total"` is minimised, the others are logged."""
        raise NotImplementedError(f"{type(self).__name__} does not define loss(batch)")  # abstract

    def score(self, inputs: Inputs) -> Tensor:
        """How live each sample is: (B,) float64 in (0, 1), higher = more live. See `live_probability`."""
        raise NotImplementedError(f"{type(self).__name__} does not define score(inputs)")  # abstract

    def backward(self, losses: dict[str, Tensor], accelerator: Accelerator) -> None:
        """Fill the gradients. Override to combine gradients of several losses (and set `custom_backward`)."""
        accelerator.backward(losses["total"])

    def parameter_groups(self) -> Iterable[dict[str, Any]]:
        """Parameter groups for the optimiser.

        A group has `params` and may have `lr_scale`, which multiplies the configured learning rate, and `weight_decay`.
        """
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def on_epoch_start(self, epoch: int, batches: Iterator[Batch]) -> None:
        """Called before the first step of an epoch (0, 1, ...), in training mode.

        A resumed training calls it for the epochs to come only: set what holds in this epoch, whatever came before.

        Args:
            batches: the training rows in an order and augmentation of their own, for methods that look through them
                before they learn (prototypes). Read as they are taken: what is not taken costs nothing.
        """

    def on_step_end(self, step: int) -> None:
        """Called after the optimiser's step; `step` counts from 0 over the whole training."""

    @classmethod
    def skip(cls, protocol: Protocol) -> str | None:
        """Why the method cannot run on `protocol`, or None. The reason appears in the tables."""
        return None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss(batch)


def live_probability(logits: Tensor) -> Tensor:
    """Score of two-class logits (B, 2), index 1 = live: sigmoid(z_live - z_spoof) in float64, (B,).

    Equal to softmax(logits)[:, 1], but a float32 softmax saturates at a logit gap of 17 and then ranks nothing.
    """
    gap = logits[:, 1].double() - logits[:, 0].double()
    return torch.sigmoid(gap)
