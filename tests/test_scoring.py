"""Scoring: every row gets the score of its own image, whatever the order and the batches, and nothing leaks in."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from fasbench.config import ModelConfig
from fasbench.data.loading import COLUMNS, Rows
from fasbench.data.sample import Inputs
from fasbench.data.store import Images
from fasbench.data.taxonomy import family
from fasbench.errors import FasbenchError
from fasbench.method import Method
from fasbench.protocol import Condition, Part
from fasbench.registry import find_method
from fasbench.scoring import as_scores, score_rows

CPU = torch.device("cpu")
PLAIN = ModelConfig(image_size=16, mean=(0, 0, 0), std=(1, 1, 1))
ROWS = 40


class ShadesStore:
    """A store in memory: rgb of row k is full of k, depth of 100 + k, ir of 200 + k; the first half is live."""

    name, shape = "shades", (16, 16)

    def __init__(self, ids=None):
        self.ids = ids or [f"shades/v{row}/0" for row in range(ROWS)]
        self.present = np.ones((len(self.ids), 3), bool)

    def column(self, name):
        count = len(self.ids)
        labels = np.array([int(row < count / 2) for row in range(count)])
        if name == "label":
            return labels
        values = {
            "id": self.ids,
            "split": ["test"] * count,
            "attack": ["live" if label else "print" for label in labels],
        }
        return np.array(values.get(name, [f"shades/{name}{row}" for row in range(count)]), dtype=object)

    def read(self, rows):
        full = np.ones((1, 16, 16), np.uint8) * rows[:, None, None].astype(np.uint8)
        return Images(np.repeat(full[..., None], 3, -1), full + 100, full + 200, np.ones((len(rows), 3), bool))


def rows_of(store):
    return Rows((Part("shades", "test"),), {"shades": store})


@pytest.fixture
def rows():
    return rows_of(ShadesStore())


class Spy(Method):
    """Scores a sample by its first rgb pixel, and notes what it was given."""

    def __init__(self, config=PLAIN):
        super().__init__(config, ())
        self.seen = []

    def score(self, inputs):
        assert not self.training and not torch.is_grad_enabled()
        self.seen.append(inputs)
        return inputs.rgb[:, 0, 0, 0].double()

    def order(self):
        return (torch.cat([inputs.rgb[:, 0, 0, 0] for inputs in self.seen]) * 255).round().int().tolist()


def test_scores_land_at_their_rows_though_the_order_is_shuffled(rows):
    spy = Spy().train()
    scores = score_rows(spy, rows, CPU, 16)
    np.testing.assert_allclose(scores, np.arange(ROWS) / 255, rtol=1e-6)
    assert scores.dtype == np.float64
    assert [len(inputs) for inputs in spy.seen] == [16, 16, 8]
    assert sorted(spy.order()) == list(range(ROWS))
    live = np.array(spy.order()) < ROWS / 2
    assert min(live[:16].sum(), live[16:32].sum()) > 2 and max(live[:16].sum(), live[16:32].sum()) < 14  # mixed


def test_the_order_is_the_same_every_time_and_for_every_batch_size(rows):
    orders = []
    for size, seed in ((16, 0), (16, 1), (7, 2)):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the global state must not matter
        spy = Spy()
        score_rows(spy, rows, CPU, size)
        orders.append(spy.order())
    assert orders[0] == orders[1] == orders[2]


@pytest.mark.parametrize("size", [1, 3, 16, 1000])
def test_batches_of_every_size_give_the_same_scores(rows, linear_method, size):
    torch.manual_seed(0)
    method = find_method(linear_method).load()(PLAIN, ())

    reference = score_rows(method, rows, CPU, 8)
    assert np.ptp(reference) > 1e-4
    np.testing.assert_allclose(score_rows(method, rows, CPU, size), reference, atol=1e-6)


def test_a_repeated_list_row_inherits_the_first_one_s_score_and_is_not_scored_itself():
    ids = ["shades/b/0#2", "shades/a/0", "shades/b/0", "shades/a/0#2", "shades/c/0", "shades/a/0#3"]
    spy = Spy()
    scores = score_rows(spy, rows_of(ShadesStore(ids)), CPU, 4)
    b, a, c = scores[0], scores[1], scores[4]
    np.testing.assert_array_equal(scores, [b, a, b, a, c, a])
    assert (a * 255, c * 255) == (pytest.approx(1), pytest.approx(4))
    assert len(spy.order()) == 3 and b * 255 == pytest.approx(0)  # the row that stands first in the list


@pytest.mark.parametrize("absent", [(), ("depth",), ("rgb", "ir")])
def test_the_condition_s_absence_reaches_the_method(rows, absent):
    spy = Spy()
    score_rows(spy, rows, CPU, 16, Condition(absent=absent))
    for inputs in spy.seen:
        for m, name in enumerate(("rgb", "depth", "ir")):
            assert (inputs.present[:, m] == (name not in absent)).all()
            if name in absent:
                assert not inputs.images()[m].any()
    if "depth" not in absent:
        assert spy.seen[0].depth.min() >= 100 / 255


def test_the_condition_s_degradation_reaches_each_row_whatever_its_batch(rows):
    condition = Condition(degrade={"depth-noise": 5}, validation="full")
    pixels = []
    for batch_size in (16, 5):
        spy = Spy()
        score_rows(spy, rows, CPU, batch_size, condition)
        order = spy.order()
        pixels.append(torch.cat([inputs.depth for inputs in spy.seen])[np.argsort(order)])
        assert [int(inputs.rgb[0, 0, 0, 0] * 255 + 0.5) for inputs in spy.seen] == order[::batch_size]  # left alone
    assert torch.equal(*pixels)
    clean = Spy()
    score_rows(clean, rows, CPU, 16)
    undisturbed = torch.cat([inputs.depth for inputs in clean.seen])[np.argsort(clean.order())]
    assert ((pixels[0] - undisturbed).abs().amax((1, 2, 3)) > 1 / 255).all()  # every row
    assert Condition(degrade={"blur": 1}, validation="full").of("validation") == Condition()
    assert condition.of("test") == condition


def test_a_method_sees_images_and_presence_only(rows):
    spy = Spy()
    score_rows(spy, rows, CPU, 16)
    assert {type(inputs) for inputs in spy.seen} == {Inputs}
    assert [field.name for field in fields(Inputs)] == ["rgb", "depth", "ir", "present", "black"]
    assert set(vars(spy.seen[0])) == {"rgb", "depth", "ir", "present", "black"}


class Bad(Method):
    def __init__(self, answer):
        super().__init__(PLAIN, ())
        self.answer = answer

    def score(self, inputs):
        return self.answer(torch.full((len(inputs),), 0.5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda s: s.float(),
            r"Bad.score returned torch.float32 \(16,\), expected float64 \(16,\). See live_probability",
        ),
        (lambda s: s[:, None], r"Bad.score returned torch.float64 \(16, 1\), expected float64 \(16,\)"),
        (lambda s: s[1:], r"returned torch.float64 \(15,\)"),
        (lambda s: s.mean(), r"returned torch.float64 \(\)"),
        (lambda s: s.tolist(), "Bad.score returned list, expected float64"),
        (lambda s: s.numpy(), "Bad.score returned ndarray"),
        (lambda s: s.index_fill(0, torch.tensor([3]), float("nan")), r"returned nan, expected values in \[0, 1\]"),
        (lambda s: s.index_fill(0, torch.tensor([3]), 1.5), r"returned 1.5, expected values in \[0, 1\]"),
        (lambda s: s - 1, r"returned -0.5, expected values in \[0, 1\]"),
        (lambda s: s / 0, r"returned inf, expected"),
    ],
    ids=["float32", "column", "too-few", "scalar", "list", "numpy", "nan", "above", "below", "infinite"],
)
def test_anything_but_a_score_a_sample_is_refused(rows, answer, message):
    with pytest.raises(FasbenchError, match=message):
        score_rows(Bad(answer), rows, CPU, 16)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_ends_of_the_interval_are_scores(rows, value):
    assert (score_rows(Bad(lambda s: s * 0 + value), rows, CPU, 16) == value).all()


def test_scores_are_joined_with_the_columns_of_their_rows(rows):
    values = np.linspace(0, 1, ROWS)
    scores = as_scores(rows, values)
    np.testing.assert_array_equal(scores.scores, values)
    names = {
        "ids": "id",
        "labels": "label",
        "units": "unit",
        "videos": "video",
        "domains": "domain",
        "attacks": "attack",
    }
    assert set(names.values()) < set(COLUMNS)
    for name, column in names.items():
        np.testing.assert_array_equal(getattr(scores, name), rows[column])
    assert list(scores.groups) == ["attack_fine", "race", "attack_family"]
    for name in ("attack_fine", "race"):
        np.testing.assert_array_equal(scores.groups[name], rows[name])
    assert scores.groups["attack_family"].tolist() == [family(attack) for attack in rows["attack"]]


def test_who_presents_is_told_without_a_name(rows):
    attacks = np.flatnonzero(rows["label"] == 0)
    rows.columns["domain"] = np.full(ROWS, "wmca", dtype=object)
    rows.columns["presenter"] = np.full(ROWS, "wmca/903", dtype=object)
    rows.columns["presenter"][attacks[0]] = ""
    found = as_scores(rows, np.linspace(0, 1, ROWS)).groups["presented_by"]
    assert found[attacks[0]] == "support" and set(found[attacks[1:]]) == {"person"}
    assert set(found[rows["label"] == 1]) == {""}
    rows.columns["domain"][:] = "surf"  # nobody says who presents there
    assert "presented_by" not in as_scores(rows, np.linspace(0, 1, ROWS)).groups


def test_a_group_that_no_row_has_is_left_out(rows):
    rows.columns["race"] = np.full(ROWS, "", dtype=object)
    assert list(as_scores(rows, np.linspace(0, 1, ROWS)).groups) == ["attack_fine", "attack_family"]
