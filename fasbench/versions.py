"""What fasbench itself adds to a number: results of different versions are not comparable."""

from __future__ import annotations

from fasbench.metrics import METRICS_VERSION
from fasbench.plan import shared_layers_sha256
from fasbench.scoring import SCORING_VERSION
from fasbench.training import TRAINING_VERSION


def current_versions() -> dict[str, int | str]:
    """As a result's provenance holds them."""
    return {
        "training": TRAINING_VERSION,
        "scoring": SCORING_VERSION,
        "metrics": METRICS_VERSION,
        "layers": shared_layers_sha256()[:16],
    }
