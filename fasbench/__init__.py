"""fasbench: the benchmark suite for multimodal face anti-spoofing (RGB + depth + infrared)."""

from pathlib import Path

__version__ = "0.1.0"

# In a checkout, baselines/, protocols/ and leaderboards/ stand beside this package; in a wheel they lie inside it.
_root = Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file():
    __path__.append(str(_root))
