"""What a run leaves behind, as hashes: equal for two runs that came to the same, whatever happened on the way."""

from __future__ import annotations

import json
from pathlib import Path

from fasbench.resources import canonical_json, sha256, sha256_file
from fasbench.results import read_result

_HISTORY = ("log.jsonl", ".lock")  # what happened on the way, and when


def fingerprint(out: Path, data: Path) -> dict[str, str]:
    """File name -> hash of every file below the output folder of a run and below its prepared data.

    Files are hashed byte for byte, so floats are equal to the last bit. Two kinds also say how long it took: a result
    is represented by its content hash, which leaves out the `runtime` block, and a training's state goes without its
    seconds.

    Raises:
        DataError: a result is damaged.
    """
    found = {}
    for kind, root in (("out", out), ("data", data)):
        for path in sorted(path for path in root.rglob("*") if path.is_file() and path.name not in _HISTORY):
            if path.name == "state.json":
                content = sha256(canonical_json({**json.loads(path.read_text()), "seconds": None}))
            elif path.suffix == ".json" and "results" in path.parts[len(root.parts) :]:
                content = read_result(path).content_sha256
            else:
                content = sha256_file(path)
            found[f"{kind}/{path.relative_to(root).as_posix()}"] = content
    return found


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """The files that are missing or differ; files that are there in addition are `leftovers`."""
    return [name for name in sorted(expected) if found.get(name) != expected[name]]


def leftovers(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    return sorted(found.keys() - expected.keys())
