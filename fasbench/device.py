"""Device and precision, through Accelerate."""

from __future__ import annotations

import resource
import sys
from typing import TYPE_CHECKING

import torch

from fasbench.errors import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator


def resolve_device(name: str) -> str:
    """`auto` as the accelerator that is there, else the CPU; `cpu`, `cuda`, `cuda:1` as they are.

    Raises:
        ConfigError: no such device on this machine.
    """
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    if name == "auto":
        return "cuda" if gpus else "cpu"
    available = ["cpu", *(["cuda"] if gpus else []), *(f"cuda:{index}" for index in gpus)]
    if name not in available:
        raise ConfigError(f"--device {name}: this machine has {', '.join(available)}")
    return name


def resolve_precision(precision: str, device: str) -> str:
    """`auto` as bf16 on a GPU that computes in it, else fp32. Scores are always computed in fp32.

    Raises:
        ConfigError: bf16 on a GPU without it.
    """
    on_gpu = resolve_device(device).startswith("cuda")
    if precision == "auto":
        return "bf16" if on_gpu and torch.cuda.is_bf16_supported() else "fp32"
    if precision == "bf16" and on_gpu and not torch.cuda.is_bf16_supported():
        raise ConfigError("--precision bf16: this GPU does not compute in bf16; use --precision fp32")
    return precision


def make_accelerator(device: str, precision: str) -> Accelerator:
    """An Accelerator for one device; a second one in the same process may have another precision."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    name = resolve_device(device)
    if name.startswith("cuda:"):
        torch.cuda.set_device(name)
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=name == "cpu", mixed_precision="bf16" if precision == "bf16" else "no")
    if accelerator.gradient_accumulation_steps != 1:  # the environment can set it behind the training key's back
        raise ConfigError("gradient accumulation is not supported: unset ACCELERATE_GRADIENT_ACCUMULATION_STEPS")
    return accelerator


def describe_device(device: torch.device) -> str:
    """`NVIDIA H100 80GB HBM3`, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(device: torch.device) -> int:
    """Most memory held so far, bytes: of the GPU, or resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
