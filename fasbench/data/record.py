"""Record: one frame of one presentation, as seen by up to three sensors. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fasbench.data.taxonomy import COARSE

MODALITIES = ("rgb", "depth", "ir")  # the fixed order, everywhere
SPLITS = ("train", "validation", "test")
LIVE, ATTACK = 1, 0  # labels; every score is "how live", higher = more live


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a store.

    `id` is `<dataset>/<video>/<frame>`, never a file path, and `video`, `subject`, `unit` are prefixed with the data
    set (`synth-k/s003`). Images are uint8: `rgb` (H, W, 3), `depth` (H, W), `ir` (H, W); None = the sensor delivered
    nothing, which is not the same as a black image.
    """

    id: str
    domain: str  # the data set
    split: str  # train | validation | test, as the data set defines it
    label: int  # 1 = bona fide, 0 = attack
    attack: str  # coarse class of the taxonomy, "live" for bona fide
    attack_fine: str  # the data set's own species or instrument
    subject: str  # the identity shown to the camera
    presenter: str  # who holds or wears it; "" = on a support or unknown; the subject for bona fide
    unit: str  # what the bootstrap resamples: the person, or the instrument (design: per data set)
    video: str
    frame: int
    rgb: np.ndarray | None
    depth: np.ndarray | None
    ir: np.ndarray | None
    session: str = ""  # of the recording; "" = the data set does not say
    race: str = ""  # of the subject, as the data set calls it; "" = not said

    @property
    def images(self) -> dict[str, np.ndarray | None]:
        return {"rgb": self.rgb, "depth": self.depth, "ir": self.ir}


# Data sets that name whoever presents an attack: an attack without a presenter stands on a support. Elsewhere an empty
# presenter may mean that nobody says (CeFA, CASIA-SURF, a CSV), and PADISI-Face names the person shown.
NAMES_PRESENTERS = ("wmca", "synth-k", "synth-l", "synth-m", "synth-n")


def presented_by(domains: np.ndarray, labels: np.ndarray, presenters: np.ndarray) -> np.ndarray:
    """`person` or `support` for attacks of data sets that say it, else "", (N,): a group for slices without a name.

    >>> columns = ["wmca", "wmca", "wmca", "surf"], [0, 0, 1, 0], ["wmca/903", "", "wmca/901", ""]
    >>> presented_by(*map(np.array, columns)).tolist()
    ['person', 'support', '', '']
    """
    known = np.isin(domains.astype(str), NAMES_PRESENTERS) & (labels == ATTACK)
    return np.where(known, np.where(presenters == "", "support", "person"), "")


METADATA = tuple(name for name in Record.__slots__ if name not in MODALITIES)


def check_record(record: Record, shape: tuple[int, int]) -> list[str]:
    """Everything that is wrong with a record whose images should be `shape` = (H, W); empty when it is sound."""
    problems = []
    if record.split not in SPLITS:
        problems.append(f"split is '{record.split}', expected one of {', '.join(SPLITS)}")
    if record.label not in (LIVE, ATTACK):
        problems.append(f"label is {record.label!r}, expected 1 (bona fide) or 0 (attack)")
    if record.attack not in COARSE:
        problems.append(f"attack is '{record.attack}', expected one of {', '.join(COARSE)}")
    if (record.label == LIVE) != (record.attack == "live"):
        problems.append(f"label {record.label} contradicts attack '{record.attack}' (live is 1, any attack is 0)")
    for name in ("id", "subject", "unit", "video"):
        if not getattr(record, name).startswith(f"{record.domain}/"):
            problems.append(f"{name} '{getattr(record, name)}' does not start with '{record.domain}/'")
    for modality, image in record.images.items():
        expected = (*shape, 3) if modality == "rgb" else shape
        if image is not None and (image.dtype != np.uint8 or image.shape != expected):
            problems.append(f"{modality} is {image.dtype} {image.shape}, expected uint8 {expected}")
    if all(image is None for image in record.images.values()):
        problems.append("no modality exists: at least one of rgb, depth, ir is needed")
    return problems
