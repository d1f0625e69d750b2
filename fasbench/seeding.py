"""All randomness derives from (seed, purpose, epoch, step): no generator state is stored, a resumed run is the same."""

from __future__ import annotations

import numpy as np
import torch

PURPOSES = ("weights", "order", "step", "augment", "score-order")


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for one purpose at one position (epoch, step)."""
    sequence = np.random.SeedSequence([seed, PURPOSES.index(purpose), *position])
    return int(sequence.generate_state(1, np.uint64)[0] >> 1)


def seed_torch(seed: int, purpose: str, *position: int) -> None:
    """Seed torch's global generators, CPU and accelerator, for what a method draws itself (dropout, sampling)."""
    torch.manual_seed(derive(seed, purpose, *position))


def torch_generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, purpose, *position))


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    return np.random.default_rng(derive(seed, purpose, *position))
