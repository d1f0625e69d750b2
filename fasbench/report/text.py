"""Numbers and intervals as text."""

from __future__ import annotations

import re
from typing import Any

from fasbench.summary import UNRELIABLE

NA = "n/a"
_FOLDERS = re.compile(r"(?<![\w.])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\,;:'\"<>]+)+[/\\](?=[^\s/\\])")


def percent(value: float | None) -> str:
    """
    >>> percent(0.125), percent(None)
    ('12.50', 'n/a')
    """
    return NA if value is None else f"{100 * value:.2f}"


def interval_text(interval: dict[str, Any] | None) -> str:
    """
    >>> interval_text({"low": 0.1, "high": 0.25, "unreliable": "fewer than 20 effective units"})
    '[10.00, 25.00]†'
    """
    if interval is None or interval["low"] is None or interval["high"] is None:
        return ""
    mark = UNRELIABLE if interval["unreliable"] else ""
    return f"[{percent(interval['low'])}, {percent(interval['high'])}]{mark}"


def rate(block: dict[str, Any], name: str) -> dict[str, Any]:
    """A number of a block with its interval, or the reason why it is undefined."""
    text = interval_text(block["intervals"].get(name))
    return {"value": percent(block[name]), "interval": text, "reason": block["undefined"].get(name)}


def without_folders(text: str) -> str:
    """The text with only the last part of every absolute path: folders say who ran it where.

    >>> without_folders("model.weights=/home/anna/clip.pt, protocol synth/fixed/lmn-k")
    'model.weights=…/clip.pt, protocol synth/fixed/lmn-k'
    """
    return _FOLDERS.sub("…/", text)
