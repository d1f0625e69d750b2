"""The embedded data sets synth-k, synth-l, synth-m, synth-n: rendered from a seed, free of any licence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fasbench.data.synthetic.domains import NAMES

if TYPE_CHECKING:
    from fasbench.data.synthetic.source import SyntheticSource

__all__ = ["NAMES", "SyntheticSource"]


def __getattr__(name: str) -> Any:  # the renderer needs scipy and Pillow; the names do not
    if name == "SyntheticSource":
        from fasbench.data.synthetic.source import SyntheticSource

        return SyntheticSource
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
