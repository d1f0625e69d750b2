"""How fast are batches: the prepared store against a loader that decodes image files in every epoch.

    python benchmarks/loading.py                        # 400 rows, images of 256 px, batches of 224 px
    python benchmarks/loading.py --rows 1000 --source-size 512 --seconds 10

Both loaders deliver the same thing in random order: 32 rows as normalised float tensors (32, 3, 224, 224) of colour,
depth and infrared. The store reads pixels that were decoded and resized once. The loader per item does what most
published code does: open three files, decode, resize, normalise, stack, in a torch DataLoader with 0 and 2 workers.
The files (JPEG colour and infrared, 16-bit PNG depth) are written to a temporary folder first, smooth as faces are, so
that decoding costs what it usually costs. Everything is read from the page cache, and torch has one thread in every
process: the other cores belong to the training. The time to prepare the store is printed separately: it is paid once.

Last, how long a training waits for its data: the share of a step that is spent on reading, augmenting and normalising
the batch, in the training loop itself (no worker processes), for the smallest network there is and for a usual one.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from fasbench.config import IMAGENET_MEAN, IMAGENET_STD, ModelConfig, resolve
from fasbench.data.loading import Rows, to_inputs, train_batch
from fasbench.data.sources.folder import FolderSource
from fasbench.data.store import Store, prepare
from fasbench.device import make_accelerator
from fasbench.protocol import Part
from fasbench.registry import find_method
from fasbench.training import make_optimizer, train_step

BATCH = 32
DEPTH_RANGE = (300, 1500)  # millimetres that become 0 and 255
MEAN = torch.tensor(IMAGENET_MEAN)[:, None, None]
STD = torch.tensor(IMAGENET_STD)[:, None, None]
HAS_CV2 = importlib.util.find_spec("cv2") is not None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=400, help="image triplets to write (default: 400)")
    parser.add_argument("--source-size", type=int, default=256, help="pixels of the files (default: 256)")
    parser.add_argument("--size", type=int, default=224, help="pixels of the batches (default: 224)")
    parser.add_argument("--seconds", type=float, default=5.0, help="time measured for each loader (default: 5)")
    options = parser.parse_args()

    torch.set_num_threads(1)
    versions = f"python {platform.python_version()}, torch {torch.__version__}"
    print(f"hardware: {processor()}, {os.cpu_count()} cores; {versions}, 1 thread a process")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_files(folder, options.rows, options.source_size)
        start = time.perf_counter()
        source = FolderSource(folder / "list.csv", "files", image_size=options.size, ranges={"depth": DEPTH_RANGE})
        store = prepare(source, folder / "stores", workers=2)
        seconds = time.perf_counter() - start
        size = sum(store.manifest["files"].values()) / 2**20
        print(
            f"preparing {len(store)} rows, once: {seconds:.1f} s ({len(store) / seconds:.0f} rows/s, 2 workers), "
            f"{size:.0f} MiB"
        )
        check_same(store, FileRows(folder, options.size))

        read = measure(copies(store), options.seconds)
        stored = measure(store_batches(store), options.seconds)
        print(f"{'':44}{'rows/s':>10}{'store is faster by':>22}")
        print(f"{'store, copy of the uint8 pixels alone':44}{read:10,.0f}")
        print(f"{'store, normalised float tensors':44}{stored:10,.0f}")
        decoder = "cv2" if HAS_CV2 else "Pillow"
        for workers in (0, 2):
            rate = measure(file_batches(FileRows(folder, options.size), workers), options.seconds)
            print(f"{f'files per item, {decoder}, {workers} DataLoader workers':44}{rate:10,.0f}{stored / rate:21.0f}x")
        torch.set_num_threads(os.cpu_count() or 1)
        for preset in ("tiny", "paper"):
            step, waited = waiting(store, preset, options.seconds)
            print(f"{f'training erm, preset {preset}':44}{step:8.2f} s a step, {waited:.1%} of it waiting for data")


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write_files(folder: Path, rows: int, size: int) -> None:
    lines = ["id,subject,unit,video,attack,label,split,rgb,depth,ir"]
    for row in range(rows):
        rng = np.random.default_rng(row)
        planes = []
        for _ in range(5):  # coarse noise, enlarged: about as hard to compress as a face
            coarse = Image.fromarray(rng.integers(0, 256, (size // 8, size // 8), np.uint8))
            fine = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), np.int16)
            planes.append(np.clip(fine + rng.integers(-4, 5, fine.shape), 0, 255).astype(np.uint8))
        images = {
            f"rgb-{row}.jpg": np.stack(planes[:3], axis=2),
            f"depth-{row}.png": (300 + planes[3].astype(np.uint16) * 1200 // 255).astype(np.uint16),
            f"ir-{row}.jpg": planes[4],
        }
        for name, image in images.items():
            Image.fromarray(image).save(folder / name, quality=92)  # PNG has no quality and ignores it
        lines.append(f"{row},s{row // 20},s{row // 20},v{row // 10},live,1,train,{','.join(images)}")
    (folder / "list.csv").write_text("\n".join(lines))


def normalise(image: torch.Tensor) -> torch.Tensor:
    return image.float().div_(255).sub_(MEAN).div_(STD)  # in place, as torchvision does it


def copies(store: Store) -> Iterator[int]:
    """Random batches of uint8 pixels in one set of arrays that is used again."""
    rng = np.random.default_rng(0)
    batch = store.read(np.arange(BATCH) % len(store))
    while True:
        store.read(rng.integers(0, len(store), BATCH), out=batch)
        yield BATCH


def store_batches(store: Store) -> Iterator[int]:
    """What a training step waits for, without augmentation: `Rows.read` and `to_inputs`."""
    rng = np.random.default_rng(0)
    rows = Rows((Part(store.name, "train"),), {store.name: store})
    while True:
        tensors(rows, rng.integers(0, len(rows), BATCH))
        yield BATCH


def tensors(rows: Rows, positions: np.ndarray) -> tuple[torch.Tensor, ...]:
    """Normalised (B, 3, H, W) of rgb, depth, ir."""
    config = ModelConfig(image_size=rows.stores[0].shape[0])
    return to_inputs(rows.read(positions), config, torch.device("cpu")).images()


def waiting(store: Store, preset: str, seconds: float) -> tuple[float, float]:
    """Seconds of a training step of `erm` with random weights, and the share of it before the batch is there."""
    entry = find_method("erm")
    kind, device = entry.load(), torch.device("cpu")
    config = resolve(kind.Config, entry.config(), preset, {}, ["model.pretrained=false"], "erm")
    method, accelerator = kind(config.model, (store.name,)), make_accelerator("cpu", "fp32")
    optimizer = make_optimizer(list(method.parameter_groups()), config.optim)
    rows = Rows((Part(store.name, "train"),), {store.name: store})
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    waited, steps, start = 0.0, -1, time.perf_counter()
    while steps < 1 or time.perf_counter() - start < seconds:
        before = time.perf_counter()
        positions = rng.integers(0, len(rows), config.train.batch_size)
        batch = train_batch(rows, positions, (store.name,), config.model, (config.augment, generator), device)
        waited += time.perf_counter() - before
        train_step(method, batch, optimizer, accelerator)
        steps += 1
        if steps == 0:  # the first step builds what the others use
            waited, start = 0.0, time.perf_counter()
    elapsed = time.perf_counter() - start
    return elapsed / steps, waited / elapsed


class FileRows(Dataset[tuple[torch.Tensor, ...]]):
    """One item = three files, decoded and resized each time it is asked for."""

    def __init__(self, folder: Path, size: int) -> None:
        lines = (folder / "list.csv").read_text().splitlines()[1:]
        self.files = [[str(folder / name) for name in line.split(",")[-3:]] for line in lines]
        self.size = size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        images = (self.decode(path, k) for k, path in enumerate(self.files[index]))
        return tuple(normalise(torch.from_numpy(image).permute(2, 0, 1)) for image in images)

    def decode(self, path: str, modality: int) -> np.ndarray:
        """(H, W, 3) uint8 of modality 0 = rgb, 1 = depth, 2 = ir."""
        shape = (self.size, self.size)
        if HAS_CV2:
            import cv2  # type: ignore[import-not-found,unused-ignore]

            if modality == 0:
                return cv2.resize(cv2.imread(path), shape)[..., ::-1].copy()
            gray = cv2.imread(path, cv2.IMREAD_UNCHANGED)
            if modality == 1:
                gray = cv2.resize(eight_bits(gray), shape, interpolation=cv2.INTER_NEAREST)
            else:
                gray = cv2.resize(gray, shape)
            return np.repeat(gray[..., None], 3, axis=2)
        with Image.open(path) as file:
            if modality == 0:
                return np.array(file.resize(shape, Image.Resampling.BILINEAR))
            image = Image.fromarray(eight_bits(np.asarray(file))) if modality == 1 else file
            method = Image.Resampling.NEAREST if modality == 1 else Image.Resampling.BILINEAR
            return np.repeat(np.asarray(image.resize(shape, method))[..., None], 3, axis=2)


def eight_bits(depth: np.ndarray) -> np.ndarray:
    low, high = DEPTH_RANGE
    scaled = np.floor((depth.astype(np.float32) - low) / (high - low) * 255 + 0.5)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def file_batches(files: FileRows, workers: int) -> Iterator[int]:
    loader = DataLoader(files, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        for rgb, *_ in loader:
            yield len(rgb)


def check_same(store: Store, files: FileRows) -> None:
    """Both loaders must deliver the same tensors, or comparing their speed means nothing."""
    rows = Rows((Part(store.name, "train"),), {store.name: store})
    for image, expected in zip(tensors(rows, np.array([0])), files[0], strict=True):
        if not HAS_CV2 and not torch.allclose(image[0], expected, atol=1e-6):
            raise SystemExit("the two loaders disagree")


def measure(batches: Iterator[int], seconds: float) -> float:
    """Rows per second, after the first two batches (worker processes start, pages are mapped)."""
    next(batches), next(batches)
    start = time.perf_counter()
    rows = 0
    while time.perf_counter() - start < seconds:
        rows += next(batches)
    return rows / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
