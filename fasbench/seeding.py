"""All randomness derives from (seed, purpose, epoch, step): no generator state is stored, a resumed run is the same."""

from __future__ import annotations

import random

import numpy as np
import torch

PURPOSES = ("weights", "order", "step", "augment", "score-order", "modality-dropout", "epoch", "look")


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for one purpose at one position (epoch, step)."""
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose), *position])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def seed_everything(seed: int, purpose: str, *position: int) -> None:
    """Seed every global generator a method may draw from: torch's (CPU and accelerator), numpy's and Python's."""
    derived = derive(seed, purpose, *position)
    torch.manual_seed(derived)
    np.random.seed(derived % 2**32)  # noqa: NPY002 - the legacy generator is what strangers' code draws from
    random.seed(derived)


def torch_generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, purpose, *position))


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, purpose, *position))
