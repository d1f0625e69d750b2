"""Scores: checks of a whole part, and the mean score of a video."""

import numpy as np
import pytest

from fasbench.errors import DataError
from fasbench.metrics import Scores, columns
from fasbench.metrics.columns import encode, repeated_values

GOOD = {
    "scores": [0.2, 0.4, 0.9, 0.7, 0.1],
    "labels": [0, 0, 1, 1, 1],
    "units": ["a", "a", "b", "b", "b"],
    "videos": ["v2", "v2", "v1", "v1", "v3"],
    "domains": ["k"] * 5,
    "attacks": ["print", "print", "live", "live", "live"],
}


def with_column(**changes):
    return Scores(**(GOOD | changes))


def test_by_video_by_hand():
    # v1: (0.9 + 0.7) / 2 = 0.8, v2: (0.2 + 0.4) / 2 = 0.3, v3: 0.1
    videos = with_column().by_video()
    assert videos.scores.tolist() == pytest.approx([0.8, 0.3, 0.1])
    assert videos.labels.tolist() == [1, 0, 1]
    assert videos.units.tolist() == ["b", "a", "b"]
    assert videos.attacks.tolist() == ["live", "print", "live"]
    assert videos.ids.tolist() == videos.videos.tolist() == ["v1", "v2", "v3"]


def test_means_do_not_depend_on_the_order_or_number_of_frames():
    # In floating point (0.1 + 0.1 + 0.1) / 3 != 0.1 and (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3).
    frames = {"one": [0.1], "three": [0.1] * 3, "up": [0.1, 0.2, 0.3], "down": [0.3, 0.2, 0.1]}
    rows = [(video, score) for video, scores in frames.items() for score in scores]
    videos, scores = (list(column) for column in zip(*rows, strict=True))
    found = Scores(scores, [1] * 10, ["a"] * 10, videos, ["k"] * 10, ["live"] * 10).by_video()
    means = dict(zip(found.videos.tolist(), found.scores.tolist(), strict=True))
    assert means["one"] == means["three"] == 0.1
    assert means["up"] == means["down"] == pytest.approx(0.2)


def test_counts_by_hand():
    assert with_column().counts() == {
        "samples": 5,
        "live": 3,
        "attack": 2,
        "units": 2,
        "live_units": 1,
        "attack_units": 1,
        "videos": 3,
        "live_videos": 2,
        "attack_videos": 1,
        "live_effective_units": 1.0,
        "attack_effective_units": 1.0,
        "domains": 1,
    }


def test_effective_units_by_hand():
    # Live units of 1, 1 and 4 frames: (1 + 1 + 4)^2 / (1 + 1 + 16) = 2; attacks: two units of 2 frames.
    units = ["a", "b", "c", "c", "c", "c", "a", "a", "b", "b"]
    labels, videos = [1] * 6 + [0] * 4, [f"v{i}" for i in range(10)]
    part = Scores([0.5] * 10, labels, units, videos, ["k"] * 10, ["live"] * 6 + ["mask"] * 4)
    assert (part.counts()["live_effective_units"], part.counts()["attack_effective_units"]) == (2.0, 2.0)
    # The same name in another domain is another unit.
    apart = Scores([0.5] * 4, [1] * 4, ["a"] * 4, videos[:4], ["k", "k", "l", "l"], ["live"] * 4)
    assert (apart.counts()["units"], apart.counts()["live_effective_units"]) == (2, 2.0)


def test_groups_are_settled_and_follow_the_video():
    scores = with_column(groups={"race": ["A", "A", None, None, "B"]})
    assert scores.groups["race"].tolist() == ["A", "A", "", "", "B"]
    assert scores.by_video().groups["race"].tolist() == ["", "A", "B"]  # v1, v2, v3


def test_codes_are_those_of_numpy():
    generator = np.random.default_rng(0)
    for column in (
        generator.choice(["", "k", "synth-k", "synth-l", "é"], 50),
        generator.integers(-3, 3, 50),
        np.array([""] * 3),
        generator.choice(["k", "synth-k"], 50)[::2],
    ):
        values, first, codes = np.unique(column, return_index=True, return_inverse=True)
        found = encode(column)
        for one, other in zip((found.values, found.first, found.codes), (values, first, codes), strict=True):
            np.testing.assert_array_equal(one, other)


def test_texts_that_share_a_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(columns, "_hashes", lambda column: np.zeros(len(column), dtype=np.uint64))
    assert encode(np.array(["b", "a", "b"])).codes.tolist() == [1, 0, 1]
    assert repeated_values(np.array(["b", "a"])) == []
    assert repeated_values(np.array(["b", "a", "b"])) == ["b"]


def test_types_are_settled():
    scores = with_column(
        scores=np.array(GOOD["scores"], dtype=np.float32),
        labels=np.array(GOOD["labels"], dtype=bool),
        units=np.array([7, 7, 8, 8, 8]),
        attacks=np.array(["print", "print", None, None, None], dtype=object),
    )
    assert (scores.scores.dtype, scores.labels.dtype, scores.units.dtype.kind) == (np.float64, np.int64, "i")
    assert scores.attacks.tolist() == ["print", "print", "", "", ""]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": [0.2, 0.4, np.nan, 0.7, np.inf]}, "scores: 2 not finite, first at position 2"),
        ({"scores": ["0.2"] * 5}, "scores: <U3 instead of numbers"),
        ({"labels": [0, 0, 2, 1, 1]}, "labels: 1 neither 1"),
        ({"units": ["a", "a", "b"]}, "lengths differ: scores 5, labels 5, units 3"),
        ({"units": ["a", "", "b", "b", "b"]}, "units: 1 missing, first at position 1"),
        ({"domains": ["k", "k", None, "k", "k"]}, "domains: 1 missing, first at position 2"),
        ({"attacks": ["print", None, "live", "live", "live"]}, "attacks: 1 missing, first at position 1"),
        ({"labels": [0, 1, 1, 1, 1]}, r"videos: 1 with more than one of labels, first v2 \(0, 1\)"),
        ({"units": ["a", "c", "b", "b", "b"]}, r"videos: 1 with more than one of units, first v2 \(a, c\)"),
        ({"labels": [1, 1, 0, 0, 0]}, "attacks: 3 labelled 0 .attack. but called 'live', first at position 2"),
        ({"labels": [1, 1, 0, 0, 0]}, "attacks: 2 labelled 1 .bona fide. but with an attack type"),
        (
            {"groups": {"race": ["A", "B", "A", "A", ""]}},
            r"videos: 1 with more than one of group race, first v2 \(A, B\)",
        ),
        ({"groups": {"race": ["A"]}}, "lengths differ: .*, group race 1"),
        ({"ids": ["p", "q", "p", "r", "s"]}, "ids: 1 occur more than once, first p"),
        ({"videos": ["v"] * 5, "scores": [0.1] * 4}, "lengths differ"),
        ({name: [] for name in GOOD}, "no samples"),
    ],
)
def test_problems(changes, message):
    with pytest.raises(DataError, match=message):
        with_column(**changes)


def test_problems_are_reported_together():
    with pytest.raises(DataError) as caught:
        with_column(scores=[np.nan] * 5, labels=[3] * 5, units=[""] * 5)
    assert str(caught.value).splitlines() == [
        "3 problems in the scores",
        "  - scores: 5 not finite, first at position 0",
        "  - labels: 5 neither 1 (bona fide) nor 0 (attack), first at position 0",
        "  - units: 5 missing, first at position 0",
    ]
