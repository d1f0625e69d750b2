"""Keys of rows: what lets anyone check which rows were scored without the lists, and without a name.

The hash of a part is that of its sorted lines `key label`. Protocols state it for every split, and a result for the
rows it was computed from.
"""

from __future__ import annotations

from collections.abc import Iterable

from fasbench.resources import sha256


def row_key(protocol: str, part: str, identifier: str) -> str:
    """A row's key in files of licensed data, which carry no names: 16 hex digits of sha256(protocol, part, id).

    Args:
        protocol: with its version, `mmdg/fixed@1`.
        part: `validation` or `test`.
    """
    return sha256(protocol, part, identifier)[:16]


def key_lines(protocol: str, part: str, identifiers: Iterable[str], labels: Iterable[int]) -> list[str]:
    """The lines `key label` of the rows of one part."""
    return [
        f"{row_key(protocol, part, identifier)} {label}" for identifier, label in zip(identifiers, labels, strict=True)
    ]


def rows_sha256(lines: Iterable[str]) -> str:
    """Hash over lines of `key_lines`, in whatever order."""
    return sha256("\n".join(sorted(lines)))
