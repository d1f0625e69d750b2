"""Errors a user can act on: the command line prints their text without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FasbenchError(Exception):
    """Base of every error that is the input's fault, not the program's. The message says what to do next."""


class DataError(FasbenchError):
    """Something is wrong with images, lists, stores or score files."""


class ConfigError(FasbenchError):
    """Something is wrong with a protocol, a configuration or a name."""


def suggest(name: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"`, or nothing when no known name is close."""
    spelled = {text.lower(): text for text in known}
    close = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.5)
    return f" Did you mean '{spelled[close[0]]}'?" if close else ""


def problem_list(title: str, problems: list[str], limit: int = 1000) -> str:
    """All problems of one input as one message, the first `limit` spelled out.

    >>> print(problem_list("faces.csv: 2 problems", ["row 2: no label", "row 7: no file"]))
    faces.csv: 2 problems
      - row 2: no label
      - row 7: no file
    """
    lines = [title, *(f"  - {problem}" for problem in problems[:limit])]
    if len(problems) > limit:
        lines.append(f"  ... and {len(problems) - limit} more")
    return "\n".join(lines)
