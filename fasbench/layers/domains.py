"""One live class shared by all domains, one spoof class for each: the labels of MMDG's and MMDG++'s extra losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LIVE = 1  # index of the live class; spoof classes are 0, 2, 3, ...
_RELEASED_ORDER = ("wmca", "cefa", "surf", "padisi")  # spoof classes of the lab's released code


@dataclass(frozen=True)
class DomainClasses:
    """`index[label][domain]` is the class of a sample, domain counting the sources; `count` classes in all."""

    index: tuple[tuple[int, ...], tuple[int, ...]]
    count: int


def domain_classes(sources: Sequence[str], released: bool = False) -> DomainClasses:
    """The classes of a training on `sources`: 1 + one for each.

    Args:
        released: as the released code, which has a spoof class for each of four data sets, also for the held-out one.
            Sources of other names take free ones.
    """
    domains = list(sources)
    if released:
        others = [name for name in sources if name not in _RELEASED_ORDER]
        free = [name for name in _RELEASED_ORDER if name not in sources]
        taken = dict(zip(free, others, strict=False))
        domains = [taken.get(name, name) for name in _RELEASED_ORDER] + others[len(free) :]
    spoof = {domain: place if place < LIVE else place + 1 for place, domain in enumerate(domains)}
    return DomainClasses((tuple(spoof[name] for name in sources), (LIVE,) * len(sources)), len(domains) + 1)
