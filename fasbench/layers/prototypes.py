"""Prototypes: the mean feature of each modality and class, and the loss that pulls features to them (MMDG's SSP)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fasbench.layers.domains import domain_classes
from fasbench.method import Batch, Inputs

_TINY = 1e-12  # under the square root of a distance, whose gradient at 0 would be infinite


class Prototypes(nn.Module):
    """p_{m,c} of every modality m and class c: one live class of all domains, one spoof class for each.

    L_m = CE(-|f_m - p_{m,c}|_2 over c, class of the sample): Euclidean distances, not squared, no temperature. What no
    sample of the training belonged to yet has no prototype and stays out of the softmax. All are buffers.

    Args:
        sources: of the training; they make the classes, see `domain_classes`.
        width: D of a feature.
        momentum: weight of the old prototype in an update.
        released: defects of the released code. Held-out domains keep a class; a class without samples has the zero
            vector for a prototype, in the softmax and in the updates; the memories of depth and infrared are swapped
            at each update, since a function takes them in another order than it returns them.
    """

    index: Tensor
    vectors: Tensor
    known: Tensor

    def __init__(self, sources: Sequence[str], width: int, momentum: float = 0.2, released: bool = False) -> None:
        super().__init__()
        self.momentum, self.released = momentum, released
        classes = domain_classes(sources, released)
        self.register_buffer("index", torch.tensor(classes.index), persistent=False)  # (label, domain)
        self.register_buffer("vectors", torch.zeros(3, classes.count, width))  # p
        self.register_buffer("known", torch.zeros(3, classes.count, dtype=torch.bool))

    def classes_of(self, batch: Batch) -> Tensor:
        """Class of each sample, (B,)."""
        return self.index[batch.label, batch.domain]

    def loss(self, modality: int, features: Tensor, classes: Tensor) -> Tensor:
        """L_m of features (B, D), of classes (B,), a scalar: the mean over the samples; 0 if none has a prototype."""
        with torch.autocast(features.device.type, enabled=False):
            square = (features.float()[:, None] - self.vectors[modality]).square().sum(-1)  # (B, C)
            logits = -(square + _TINY).sqrt()
            if self.released:
                return F.cross_entropy(logits, classes)
            known = self.known[modality]
            counted = known[classes]  # (B,)
            logits = torch.where(known, logits, torch.finfo(logits.dtype).min)
            each = F.cross_entropy(logits, classes, reduction="none")
            return torch.where(counted, each, 0.0).sum() / counted.sum().clamp_min(1)

    @torch.no_grad()
    def update(self, features: Tensor, classes: Tensor, present: Tensor) -> None:
        """p <- (1 - momentum) mean + momentum p, from features (3, B, D) of samples of `classes` (B,) that have the
        modality, `present` (B, 3); p <- mean at first sight, and p stays where no sample is of the class."""
        self._move(*self._sums(features, classes, present))

    @torch.no_grad()
    def renew(self, batches: Iterable[Batch], encode: Callable[[Inputs], tuple[Tensor, Tensor]]) -> None:
        """An update from a random half of the batches: each is taken with probability 1/2, the first always.

        Args:
            encode: gives features (3, B, D) of inputs, and which of them count, (B, 3). The caller sees to evaluation
                mode.
        """
        sums, counts = torch.zeros_like(self.vectors), torch.zeros_like(self.known, dtype=torch.long)
        for number, batch in enumerate(batches):
            if float(torch.rand(())) < 0.5 or number == 0:
                features, present = encode(batch.inputs)
                more, members = self._sums(features, self.classes_of(batch), present)
                sums, counts = sums + more, counts + members
        self._move(sums, counts)

    def _sums(self, features: Tensor, classes: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of the features of each class, (3, C, D), and how many they are, (3, C)."""
        member = F.one_hot(classes, self.vectors.shape[1]) * present.T[:, :, None]  # (3, B, C)
        return member.mT.to(self.vectors) @ features.to(self.vectors), member.sum(1)

    def _move(self, sums: Tensor, counts: Tensor) -> None:
        mean, found = sums / counts.clamp_min(1)[..., None], counts > 0
        if self.released:
            old = self.vectors[[0, 2, 1]]
            started = bool(self.known.any())
            self.vectors.copy_((1 - self.momentum) * mean + self.momentum * old if started else mean)
        else:
            mixed = (1 - self.momentum) * mean + self.momentum * self.vectors
            moved = torch.where(self.known[..., None], mixed, mean)
            self.vectors.copy_(torch.where(found[..., None], moved, self.vectors))
        self.known |= found
