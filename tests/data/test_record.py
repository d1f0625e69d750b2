"""check_record finds each defect of a record, and all of them at once."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from fasbench.data.record import METADATA, Record, check_record

SHAPE = (4, 6)
GRAY = np.zeros(SHAPE, np.uint8)
SOUND = Record(
    id="mine/v1/0",
    domain="mine",
    split="train",
    label=0,
    attack="print",
    attack_fine="laser",
    subject="mine/s1",
    presenter="",
    unit="mine/s1",
    video="mine/v1",
    frame=0,
    rgb=np.zeros((*SHAPE, 3), np.uint8),
    depth=GRAY,
    ir=GRAY,
)


def test_a_sound_record_has_no_problems():
    assert check_record(SOUND, SHAPE) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"label": 1, "attack": "live", "presenter": "mine/s1"},
        {"split": "validation"},
        {"split": "test"},
        {"rgb": None},
        {"depth": None, "ir": None},
        {"rgb": None, "depth": None},
    ],
)
def test_bona_fide_other_splits_and_absent_sensors_are_sound(changes):
    assert check_record(replace(SOUND, **changes), SHAPE) == []


DEFECTS = {
    "split": ({"split": "dev"}, "split is 'dev', expected one of train, validation, test"),
    "label": ({"label": 2}, "label is 2, expected 1 (bona fide) or 0 (attack)"),
    "attack called live": ({"attack": "live"}, "label 0 contradicts attack 'live' (live is 1, any attack is 0)"),
    "live with an attack": ({"label": 1}, "label 1 contradicts attack 'print' (live is 1, any attack is 0)"),
    "unknown attack": ({"attack": "hologram"}, "attack is 'hologram', expected one of live, print, "),
    "id": ({"id": "v1/0"}, "id 'v1/0' does not start with 'mine/'"),
    "path as id": ({"id": "/data/mine/v1/0"}, "id '/data/mine/v1/0' does not start with 'mine/'"),
    "subject": ({"subject": "s1"}, "subject 's1' does not start with 'mine/'"),
    "unit": ({"unit": "other/s1"}, "unit 'other/s1' does not start with 'mine/'"),
    "video": ({"video": "mine-2/v1"}, "video 'mine-2/v1' does not start with 'mine/'"),
    "rgb without colour": ({"rgb": GRAY}, "rgb is uint8 (4, 6), expected uint8 (4, 6, 3)"),
    "channels first": (
        {"rgb": np.zeros((3, *SHAPE), np.uint8)},
        "rgb is uint8 (3, 4, 6), expected uint8 (4, 6, 3)",
    ),
    "depth in colour": ({"depth": SOUND.rgb}, "depth is uint8 (4, 6, 3), expected uint8 (4, 6)"),
    "16 bits": ({"ir": GRAY.astype(np.uint16)}, "ir is uint16 (4, 6), expected uint8 (4, 6)"),
    "turned": ({"ir": GRAY.T}, "ir is uint8 (6, 4), expected uint8 (4, 6)"),
    "no sensor": (
        {"rgb": None, "depth": None, "ir": None},
        "no modality exists: at least one of rgb, depth, ir is needed",
    ),
}


@pytest.mark.parametrize(("changes", "problem"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_found_and_nothing_else(changes, problem):
    (found,) = check_record(replace(SOUND, **changes), SHAPE)
    assert found.startswith(problem)


def test_all_defects_are_found_at_once():
    names = (
        "split",
        "unknown attack",
        "live with an attack",
        "id",
        "subject",
        "unit",
        "video",
        "channels first",
        "16 bits",
    )
    names += ("depth in colour",)
    changes: dict = {}
    for name in names:
        changes |= DEFECTS[name][0]
    assert len(check_record(replace(SOUND, **(changes | {"attack": "hologram"})), SHAPE)) == len(names)


def test_a_domain_that_is_only_a_beginning_does_not_count():
    found = check_record(replace(SOUND, domain="min"), SHAPE)
    assert [problem.split()[0] for problem in found] == ["id", "subject", "unit", "video"]


def test_metadata_are_all_fields_but_the_images():
    assert set(METADATA) == {
        *("id", "domain", "split", "label", "attack", "attack_fine", "subject", "presenter", "unit", "video", "frame"),
        *("session", "race"),
    }
    assert list(SOUND.images) == ["rgb", "depth", "ir"]


def test_a_record_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        SOUND.label = 1
