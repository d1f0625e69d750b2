"""Bootstrap replicates inside a result: what an interval of a mean over splits or seeds is made of.

They are kept in the result itself, sealed by its hash, and for the headline numbers only: no second file can go missing
or stale, and a table of a hundred results needs no bootstrap. 4 bytes a replicate, in base64: 5 KB a number.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from fasbench.metrics import Bootstrap, Interval, interval, mean_replicates

Packed = dict[str, str]


def pack(drawn: Bootstrap, policy: str) -> Packed:
    """AUC, and HTER at a policy's threshold, of both levels as `<level>/auc` and `<level>/hter`."""
    paths: dict[str, tuple[str, ...]] = {}
    for level in ("frame", "video"):
        paths |= {f"{level}/auc": (level, "auc"), f"{level}/hter": (level, "policies", policy, "hter")}
    arrays = {name: drawn.arrays[path].astype("<f4") for name, path in paths.items()}
    return {name: base64.b64encode(values.tobytes()).decode("ascii") for name, values in arrays.items()}


def unpack(packed: Packed, name: str) -> np.ndarray | None:
    """The replicates of a number, (R,) float64 with the precision of float32; None where there are none."""
    if name not in packed:
        return None
    return np.frombuffer(base64.b64decode(packed[name], validate=True), dtype="<f4").astype(np.float64)


def mean_interval(splits: Sequence[Sequence[Packed]], name: str, unreliable: str | None) -> Interval | None:
    """The interval of the mean over splits of the mean over seeds; None unless every result has as many replicates.

    Args:
        splits: for each split, the replicates of its seeds.
    """
    found = [[unpack(packed, name) for packed in seeds] for seeds in splits]
    known = [[values for values in seeds if values is not None] for seeds in found]
    lengths = {len(values) for seeds in known for values in seeds}
    if len(lengths) != 1 or [len(seeds) for seeds in known] != [len(seeds) for seeds in found]:
        return None
    return interval(mean_replicates([mean_replicates(seeds) for seeds in known]), unreliable)
