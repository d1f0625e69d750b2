"""Official lists that name videos and no frames -> one row a video; `sources.frames` chooses frames from the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fasbench.data.lists.grammar import GRAMMARS, VIDEO_GRAMMARS
from fasbench.data.lists.reading import ListRow, row_of
from fasbench.errors import DataError, problem_list

LABELS = {"0": 1, "1": 0}  # as in every list of CASIA-FAS-Dataset: 0 = bona fide, the reverse of the frame lists


def read_video_lists(paths: Sequence[Path], dataset: str, split: str) -> list[ListRow]:
    """The videos of some lists, each once, in the order of the lists.

    Args:
        dataset: a name of `VIDEO_GRAMMARS`.
        split: train, validation or test: whose lists they are.

    Raises:
        DataError: everything that is wrong with the lists, with line numbers.
    """
    rows: dict[str, ListRow] = {}
    problems: list[str] = []
    for path in paths:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as an ASCII list: {error}") from None
        here: set[str] = set()
        for number, line in enumerate(lines, start=1):
            try:
                row = _parse_line(line, number, dataset, split)
            except DataError as error:
                problems.append(f"{path}:{number}: {error}")
                continue
            if row.id in here:
                problems.append(f"{path}:{number}: '{line}': the video is listed twice")
            here.add(row.id)
            rows.setdefault(row.id, row)
        if not lines:
            problems.append(f"{path}: the list is empty")
    if problems:
        names = ", ".join(map(str, paths))
        raise DataError(problem_list(f"{names}: {len(problems)} problem(s) in these {dataset} video lists", problems))
    return list(rows.values())


def _parse_line(line: str, number: int, dataset: str, split: str) -> ListRow:
    path, label = line.split() if line.count(" ") == 1 else ("", "")
    if label not in LABELS:
        raise DataError(f"'{line}': expected the folder of a video and a label, 0 (bona fide) or 1 (attack)")
    name, colour = VIDEO_GRAMMARS[dataset](path)
    try:
        return row_of(name, _modalities(colour, dataset), LABELS[label], dataset, split, number)
    except DataError as error:
        raise DataError(f"'{line}', where 0 is bona fide and 1 an attack: as a row, {error}") from None


def _modalities(colour: str, dataset: str) -> tuple[str, str, str]:
    folder, _, file = colour.rpartition("/")
    video = folder.removesuffix(f"/{GRAMMARS[dataset].colour}")
    return colour, f"{video}/depth/{file}", f"{video}/ir/{file}"
