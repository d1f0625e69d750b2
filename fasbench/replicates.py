"""Bootstrap replicates inside a result: what an interval of a mean over splits or seeds is made of.

They are kept in the result itself, sealed by its hash, and for the headline numbers only: no second file can go missing
or stale, and a table of a hundred results needs no bootstrap. 2 bytes a replicate, in base64: 2.7 KB a number, exact to
0.0008 points of a rate in percent.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from fasbench.metrics import Bootstrap, Interval, interval, mean_replicates

Packed = dict[str, str]
_STEPS = 65_520  # of a rate in [0, 1]; divisible by 2 to 10, so that rates of few samples are exact
_UNDEFINED = 65_535
_TYPE = "<u2"


def pack(drawn: Bootstrap, policy: str) -> Packed:
    """AUC, and HTER at a policy's threshold, of both levels as `<level>/auc` and `<level>/hter`."""
    paths: dict[str, tuple[str, ...]] = {}
    for level in ("frame", "video"):
        paths |= {f"{level}/auc": (level, "auc"), f"{level}/hter": (level, "policies", policy, "hter")}
    return {
        name: base64.b64encode(_steps(drawn.arrays[path]).tobytes()).decode("ascii") for name, path in paths.items()
    }


def _steps(rates: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(rates), _UNDEFINED, np.rint(np.nan_to_num(rates) * _STEPS)).astype(_TYPE)


def unpack(packed: Packed, name: str) -> np.ndarray | None:
    """The replicates of a number, (R,) float64 to the nearest 1/65,520; None where there are none."""
    if name not in packed:
        return None
    steps = np.frombuffer(base64.b64decode(packed[name], validate=True), dtype=_TYPE)
    return np.where(steps == _UNDEFINED, np.nan, steps / _STEPS)


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
