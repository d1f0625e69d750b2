"""What a training step and an evaluation forward of MMDG++ cost: the plain transcription against fasbench's own.

    python benchmarks/mmdgpp_step.py                         # batch 4, 224 px, fp32, on the CPU: 10 to 30 minutes
    python benchmarks/mmdgpp_step.py --device cuda --precision bf16

The plain side is `mmdgpp_plain.py`: every part as it is defined, with 5 text classes. fasbench's side is the method as
it is trained with `train_step` and scored with `score`, on three sources. Both get the same random images, and score in
fp32 whatever the precision. Each measurement has a process of its own, because the peak of resident memory is that of a
process; the sides take turns, because a shared machine is not always equally fast. The table gives medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import open_clip
import torch
from mmdgpp_plain import LIVE, PlainMMDGpp

from fasbench.config import OptimConfig
from fasbench.data.sample import Batch, Inputs
from fasbench.device import describe_device, make_accelerator, peak_memory
from fasbench.training import make_optimizer, train_step

WORK = {"train": "training step", "score": "evaluation forward"}
SOURCES = ("cefa", "padisi", "surf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--batch", type=int, default=4, help="samples (default: 4)")
    add("--size", type=int, default=224, help="pixels (default: 224)")
    add("--device", default="cpu", help="cpu (default) or cuda")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of training (default: fp32)")
    add("--repeats", type=int, default=3, help="timed runs a process, after one untimed (default: 3)")
    add("--rounds", type=int, default=2, help="processes for each number, in turns (default: 2)")
    add("--model", default="ViT-B-16-quickgelu", help="of open_clip (default: ViT-B-16-quickgelu)")
    add("--only", choices=("plain", "fasbench"), help="measure one side alone")
    add("--worker", nargs=2, help=argparse.SUPPRESS)  # candidate and work, in a fresh process
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(*options.worker, options)))
        return

    print(f"MMDG++ on {options.model}: batch {options.batch}, {options.size} px, {options.precision}, {options.device}")
    hardware = f"{describe_device(torch.device(options.device))}, {torch.get_num_threads()} CPU threads"
    print(f"hardware: {hardware}; python {platform.python_version()}, torch {torch.__version__}")
    print("the weights are random, nothing is downloaded: time and memory do not depend on their values")
    candidates = [options.only] if options.only else ["plain", "fasbench"]
    results: dict[tuple[str, str], list[dict[str, Any]]] = {(c, w): [] for w in WORK for c in candidates}
    for c, w in list(results) * options.rounds:
        results[c, w].append(in_fresh_process(c, w))
    print(f"{'':34}{'seconds':>10}{'peak MiB':>10}{'peak over the model':>21}{'fastest - slowest':>20}")
    for work, label in WORK.items():
        rows = [summary(results[c, work]) for c in candidates]
        for c, (seconds, peak, over, span) in zip(candidates, rows, strict=True):
            print(f"{f'{label}, {c}':34}{seconds:10.3f}{peak:10,.0f}{over:21,.0f}{span:>20}")
        if len(rows) == 2:
            seconds, peak, over = (a / max(b, 1e-9) for a, b in zip(rows[0][:3], rows[1][:3], strict=True))
            print(f"{f'{label}, plain / fasbench':34}{seconds:9.2f}x{peak:9.2f}x{over:20.2f}x")


def in_fresh_process(candidate: str, work: str) -> dict[str, Any]:
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", candidate, work]
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # or idle threads burn the cores of a shared machine
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def summary(runs: list[dict[str, Any]]) -> tuple[float, float, float, str]:
    """Median seconds, peak and peak over the model in MiB, and the range of the seconds."""
    seconds = [value for run in runs for value in run["seconds"]]
    peak, over = (statistics.median(run[key] for run in runs) / 2**20 for key in ("peak", "over"))
    return statistics.median(seconds), peak, over, f"{min(seconds):.3f} - {max(seconds):.3f}"


def measure(candidate: str, work: str, options: argparse.Namespace) -> dict[str, Any]:
    device = torch.device(options.device)
    run = (plain if candidate == "plain" else fasbench)(work, options)
    built, seconds = reset_peak(device), []
    for _ in range(1 + options.repeats):
        start = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    peak = peak_memory(device)
    return {"seconds": seconds[1:], "peak": peak, "over": peak - built}


def reset_peak(device: torch.device) -> int:
    """Forget what building the model took for a moment; returns the bytes held now."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    with suppress(OSError):  # not Linux, or not allowed: then the peak includes the building
        Path("/proc/self/clear_refs").write_text("5")
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_memory(device)


def plain(work: str, options: argparse.Namespace) -> Callable[[], Any]:
    clip = open_clip.create_model(options.model, pretrained=None, force_image_size=options.size)
    model = PlainMMDGpp(clip, open_clip.get_tokenizer(options.model)).to(options.device)
    images, live, domain = synthetic(options)
    if work == "score":
        return lambda: torch.no_grad()(model.eval())(*images)
    text_class = torch.where(live == 1, LIVE, torch.where(domain < LIVE, domain, domain + 1))
    optimizer = make_optimizer([{"params": [p for p in model.train().parameters() if p.requires_grad]}], OptimConfig())
    return lambda: model.train_step(optimizer, images, live, text_class, bf16=options.precision == "bf16")


def fasbench(work: str, options: argparse.Namespace) -> Callable[[], Any]:
    from fasbench.baselines.mmdgpp.method import MMDGpp

    accelerator = make_accelerator(options.device, options.precision)
    config = MMDGpp.Config(pretrained=None, clip=options.model, image_size=options.size)
    method = accelerator.prepare_model(MMDGpp(config, SOURCES))
    images, live, domain = synthetic(options)
    inputs = Inputs.of(images, live.new_ones(len(live), 3, dtype=torch.bool), images[0].new_zeros(3, 3))
    if work == "score":
        return lambda: torch.no_grad()(method.eval().score)(inputs)
    batch = Batch(inputs, live, domain, tuple("live" if label else "print" for label in live.tolist()))
    optimizer = make_optimizer(list(method.train().parameter_groups()), OptimConfig())
    method.on_epoch_start(0, iter([]))
    return lambda: train_step(method, batch, optimizer, accelerator)


def synthetic(options: argparse.Namespace) -> tuple[tuple[torch.Tensor, ...], torch.Tensor, torch.Tensor]:
    """Random images (B, 3, H, W) of three modalities, labels and domains (B,): the same for both sides."""
    torch.manual_seed(0)
    rgb, depth, ir = torch.randn(3, options.batch, 3, options.size, options.size).to(options.device)
    row = torch.arange(options.batch, device=options.device)
    return (rgb, depth, ir), row % 2, row % len(SOURCES)


if __name__ == "__main__":
    main()
