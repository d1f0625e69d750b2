"""One official list -> typed rows. A row that is malformed, or says two things, is an error with file and line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from fasbench.data.lists.grammar import GRAMMARS, NO_FRAME, Grammar, Name, modality_paths
from fasbench.data.record import SPLITS
from fasbench.data.taxonomy import lookup
from fasbench.errors import ConfigError, DataError, problem_list, suggest

LABELS = {"1": 1, "0": 0}  # as in every MMDG and Flex-Modal list: 1 = bona fide


@dataclass(frozen=True, slots=True)
class ListRow:
    """One row of an official list: a frame triplet, by the paths at which its images lie.

    A row of a list of videos stands for a whole video: `frame` is NO_FRAME, `id` the video, and the paths hold `*`.
    `id`, `video`, `subject`, `presenter` and `unit` are prefixed with the data set, as in `Record`.
    None = the list does not say: PADISI-Face's participants and attacks are in its ground-truth CSV.
    """

    dataset: str
    split: str  # train | validation | test
    id: str  # <dataset>/<video>/<frame>; a repeated row gets #2, #3
    label: int  # 1 = bona fide, 0 = attack
    attack: str | None  # coarse class of the taxonomy
    attack_fine: str | None
    subject: str | None  # the identity shown to the camera
    presenter: str  # "" = on a support or unknown
    session: str | None
    unit: str | None  # the person; WMCA attacks: the instrument; CeFA masks: the mask
    video: str
    frame: int
    race: str | None  # CeFA's 2-D part only
    rgb: str  # as written in the list; PADISI-Face: one file holds all three
    depth: str
    ir: str
    line: int  # in the list, from 1

    @property
    def is_video(self) -> bool:
        return self.frame == NO_FRAME


class Trial(NamedTuple):
    """What PADISI-Face's ground truth says about a sample."""

    code: str  # m00000 bona fide, else m5<class><species>
    participant: str


GROUND_TRUTH_COLUMNS = ("trial_id", "ground_truth", "participant_id")


def read_list(path: Path, dataset: str, split: str, ground_truth: Mapping[str, Trial] | None = None) -> list[ListRow]:
    """The rows of a list, in its order.

    Args:
        dataset: a name of `GRAMMARS`: cefa, padisi, surf, wmca.
        split: train, validation or test: whose list it is.
        ground_truth: PADISI-Face, by trial id (`read_ground_truth`); without it the participant and the class of an
            attack are None.

    Raises:
        ConfigError: an unknown data set or split.
        DataError: everything that is wrong with the list, with line numbers.
    """
    if dataset not in GRAMMARS:
        raise ConfigError(f"no list grammar for '{dataset}'.{suggest(dataset, GRAMMARS)} Known: {', '.join(GRAMMARS)}")
    if split not in SPLITS:
        raise ConfigError(f"split '{split}': expected one of {', '.join(SPLITS)}")
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as an ASCII list: {error}") from None
    rows: list[ListRow] = []
    problems: list[str] = []
    first: dict[str, ListRow] = {}  # by id
    repeats: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = _parse_line(line, number, repeats, dataset, split, ground_truth)
            earlier = first.setdefault(row.id.split("#")[0], row)
            if earlier.label != row.label:
                raise DataError(
                    f"label {row.label} contradicts label {earlier.label} of the same row in line {earlier.line}"
                )
        except DataError as error:
            problems.append(f"{path}:{number}: {error}")
        else:
            rows.append(row)
    if not lines:
        problems.append(f"{path}: the list is empty")
    if problems:
        raise DataError(problem_list(f"{path}: {len(problems)} problem(s) in this {dataset} list", problems))
    return rows


def _parse_line(
    line: str,
    number: int,
    repeats: dict[str, int],
    dataset: str,
    split: str,
    ground_truth: Mapping[str, Trial] | None,
) -> ListRow:
    grammar = GRAMMARS[dataset]
    paths, label = _columns(line, grammar)
    row = row_of(grammar.parse(paths[0]), modality_paths(grammar, paths), label, dataset, split, number, ground_truth)
    repeats[row.id] = repeats.get(row.id, 0) + 1
    return row if repeats[row.id] == 1 else replace(row, id=f"{row.id}#{repeats[row.id]}")


def row_of(
    name: Name,
    paths: tuple[str, str, str],
    label: int,
    dataset: str,
    split: str,
    line: int,
    ground_truth: Mapping[str, Trial] | None = None,
) -> ListRow:
    """The row that a path's name and the label come to.

    Raises:
        DataError: name, label and split contradict one another.
    """
    rgb, depth, ir = paths
    if name.split not in (None, split):
        raise DataError(f"'{rgb}' lies in the {name.split} part, but this is a list for {split}")
    code, subject, unit, presenter = name.code, name.subject, name.unit, name.presenter
    if dataset == "padisi" and ground_truth is not None:
        if name.video not in ground_truth:
            raise DataError(f"trial '{name.video}' is not in the ground truth")
        trial = ground_truth[name.video]
        code, subject, unit, presenter = trial.code[:4], *(trial.participant,) * 3  # the wearer is the person shown
    attack = lookup(dataset, code) if code else None
    if attack and (attack.coarse == "live") != (label == 1):
        raise DataError(f"label {label} contradicts the name: {code} is {attack.coarse} ({attack.fine}); 1 = bona fide")
    if attack is None and label == 1:
        attack = lookup("padisi", "m000")
    return ListRow(
        dataset=dataset,
        split=split,
        id=f"{dataset}/{name.video}" + ("" if name.frame == NO_FRAME else f"/{name.frame}"),
        label=label,
        attack=attack.coarse if attack else None,
        attack_fine=attack.fine if attack else None,
        subject=subject and f"{dataset}/{subject}",
        presenter=presenter and f"{dataset}/{presenter}",
        session=name.session,
        unit=unit and f"{dataset}/{unit}",
        video=f"{dataset}/{name.video}",
        frame=name.frame,
        race=name.race,
        rgb=rgb,
        depth=depth,
        ir=ir,
        line=line,
    )


def _columns(line: str, grammar: Grammar) -> tuple[list[str], int]:
    """The paths and the label of a line."""
    *paths, label = line.split() or [""]
    if len(paths) != grammar.paths or label not in LABELS:
        columns = "colour, depth and ir paths" if grammar.paths == 3 else "a file name"
        raise DataError(f"'{line}': expected {columns} and a label, 1 (bona fide) or 0 (attack)")
    return paths, LABELS[label]


def read_ground_truth(path: Path) -> dict[str, Trial]:
    """PADISI-Face's `padisi_USC_FACE_ground_truth.csv` by trial id; other columns than the three needed are not kept.

    Raises:
        DataError: everything that is wrong with the file, with line numbers.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [name for name in GROUND_TRUTH_COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(f"{path}: no column {', '.join(missing)}: not PADISI-Face's ground truth")
            rows = [(reader.line_num, [row[name] or "" for name in GROUND_TRUTH_COLUMNS]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV: {error}") from None
    trials: dict[str, Trial] = {}
    problems = []
    for line, (trial, code, participant) in rows:
        problems += [f"{path}:{line}: {text}" for text in _trial_problems(trials, trial, code, participant)]
        trials[trial] = Trial(code, participant)
    if not rows:
        problems.append(f"{path}: no rows")
    if problems:
        raise DataError(problem_list(f"{path}: {len(problems)} problem(s) in the ground truth", problems))
    return trials


def _trial_problems(trials: dict[str, Trial], trial: str, code: str, participant: str) -> Iterator[str]:
    if not trial or not participant:
        yield "trial_id or participant_id is empty"
    if trial in trials:
        yield f"trial '{trial}' was already given"
    if not re.fullmatch(r"m00000|m5\d{4}", code):
        yield f"ground_truth '{code}': expected m00000 (bona fide) or m5 and four digits"
