"""What the methods cost: parameters, operations of a score, memory and speed of a training step; preset `paper`.

    python benchmarks/costs.py                       # every bundled method on the CPU: minutes each
    python benchmarks/costs.py erm ama --device cuda # batch 16 in bf16, 20 steps
    python benchmarks/cards.py --write               # then the cards

Weights are random, so nothing is downloaded: no number here depends on their values. Images are random too. Every
method has a process of its own, as the peak of resident memory is that of a process, and a time limit. What is measured
goes into `baselines/costs.json` at once, the device measured beside what is there of the other. A score is counted in
fp32 with attention as plain matrix products, since fused kernels are not counted everywhere; a multiply-add is two.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from fasbench.config import Config, ModelConfig, resolve
from fasbench.data.sample import Batch, Inputs
from fasbench.device import describe_device, make_accelerator, peak_memory
from fasbench.method import Method
from fasbench.registry import find_method, methods
from fasbench.resources import bundled, write_json
from fasbench.seeding import seed_everything
from fasbench.training import make_optimizer, train_step

SOURCES = ("cefa", "padisi", "surf")
WORK = {"cpu": ("fp32", 2, 2), "cuda": ("bf16", 16, 20)}  # precision, batch, steps
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", help="default: all bundled")
    parser.add_argument("--device", choices=list(WORK), default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--limit", type=int, default=1800, help="seconds a method may take (default: 1800)")
    parser.add_argument("--out", type=Path, default=bundled("baselines") / "costs.json", help="the file to update")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.methods[0], options.device)))
        return
    for name in options.methods or [name for name, entry in methods().items() if entry.origin == "bundled"]:
        find_method(name)  # a wrong name is an error before anything is measured
        result = in_fresh_process(name, options)
        print(f"{name}: {json.dumps(result)}", flush=True)
        known = json.loads(options.out.read_text(encoding="utf-8")) if options.out.is_file() else {}
        write_json(options.out, {**known, name: {**known.get(name, {}), **result}})


def in_fresh_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, name, "--device", options.device, "--worker"]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # or idle threads burn the cores of a shared machine
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, timeout=options.limit)
    except subprocess.TimeoutExpired:
        return {options.device: {"skipped": f"took over {options.limit} s"}}
    if done.returncode:  # the worker's traceback is on the terminal; a kill for memory has none
        killed = " (killed, by lack of memory?)" if done.returncode < 0 else ""
        return {options.device: {"skipped": f"failed with {done.returncode}{killed}"}}
    return json.loads(done.stdout.splitlines()[-1])


def measure(name: str, device_name: str) -> dict[str, Any]:
    """The entry of one method: what any machine counts alike, and what this device took."""
    device = torch.device(device_name)
    precision, batch_size, steps = WORK[device_name]
    accelerator = make_accelerator(device_name, precision)
    config = random_weights(name)
    before = resident() if device_name == "cpu" else 0
    seed_everything(0, "weights")
    method = find_method(name).load()(config.model, SOURCES)
    parameters = sum(parameter.numel() for parameter in method.parameters())
    trained = sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)
    method = accelerator.prepare_model(method)
    seconds, peak = training(method, config, accelerator, batch_size, steps, device)
    taken: dict[str, Any] = {
        "batch": batch_size,
        "precision": precision,
        "peak_mib": round((peak - before) / MIB),
        "hardware": describe_device(device) if device_name == "cuda" else cpu_in_words(),
        "versions": ", ".join(f"{package} {version(package)}" for package in ("torch", "timm", "open_clip_torch")),
    }
    if device_name == "cuda":
        taken |= {"samples_per_second": round(batch_size / seconds, 1), "steps": steps}
    return {
        "preset": "paper",
        "sources": len(SOURCES),
        "image_size": config.model.image_size,
        "parameters": parameters,
        "trained": trained,
        "gflops": round(operations(method, config, device) / 1e9, 2),
        device_name: taken,
    }


def random_weights(name: str) -> Config[Any]:
    """The `paper` preset without pretrained weights, whatever the method's option for them takes."""
    entry = find_method(name)
    kind: type[ModelConfig] = entry.load().Config
    sets = []
    if "pretrained" in kind.model_fields:
        takes_bool = kind.model_fields["pretrained"].annotation is bool
        sets.append(f"model.pretrained={'false' if takes_bool else 'null'}")
    return resolve(kind, entry.config(), "paper", {}, sets, name)


def training(
    method: Method, config: Config[Any], accelerator: Any, batch_size: int, steps: int, device: torch.device
) -> tuple[float, int]:
    """(seconds of the median step, most bytes held), the first step, which warms up, included in the second only."""
    batch = random_batch(batch_size, config.model.image_size, device)
    optimizer = accelerator.prepare_optimizer(make_optimizer(list(method.parameter_groups()), config.optim))
    method.train()
    reset_peak(device)
    method.on_epoch_start(0, iter([batch]))
    taken = []
    for step in range(steps + 1):
        start = time.perf_counter()
        train_step(method, batch, optimizer, accelerator)
        method.on_step_end(step)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - start)
    return sorted(taken[1:])[steps // 2], peak_memory(device)


def operations(method: Method, config: Config[Any], device: torch.device) -> int:
    """Floating-point operations of one score; what a method computes once and keeps (texts) is not counted."""
    inputs = random_batch(2, config.model.image_size, device).inputs.select(torch.tensor([0], device=device))
    method.eval().requires_grad_(False)  # the counter cannot follow expanded parameters with gradients
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), torch.autocast(device.type, enabled=False):
        method.score(inputs)
        with FlopCounterMode(display=False) as counter:
            method.score(inputs)
    return counter.get_total_flops()


def random_batch(size: int, pixels: int, device: torch.device) -> Batch:
    """Noise: live and attack in turn, the sources in turn, every modality there."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, size, 3, pixels, pixels, generator=generator).to(device)
    row = torch.arange(size, device=device)
    present = torch.ones(size, 3, dtype=torch.bool, device=device)
    inputs = Inputs.of(list(images), present, torch.full((3, 3), -1.0, device=device))
    attacks = tuple("live" if index % 2 else "print" for index in range(size))
    return Batch(inputs=inputs, label=row % 2, domain=row % len(SOURCES), attack=attacks)


def resident() -> int:
    """Bytes this process holds now."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory(torch.device("cpu"))  # not Linux: at least what it held at most so far


def reset_peak(device: torch.device) -> None:
    """Forget what building the model took for a moment."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):  # not Linux, or not allowed: then the peak includes the building
            Path("/proc/self/clear_refs").write_text("5")


def cpu_in_words() -> str:
    names = []
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {threads} thread{'s' * (threads > 1)}"


if __name__ == "__main__":
    main()
