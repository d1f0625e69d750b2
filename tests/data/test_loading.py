"""Store + split -> batches: the right image of the right row in the right tensor, exactly 0 where absent."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fasbench.config import AugmentConfig, ModelConfig
from fasbench.data.descriptors import descriptor_channels
from fasbench.data.loading import Group, Rows, drop_modalities, epoch_order, to_inputs, train_batch
from fasbench.data.record import MODALITIES, Record
from fasbench.data.sample import Inputs
from fasbench.data.sources.base import Source
from fasbench.data.spec import PartCounts
from fasbench.data.splits import open_split
from fasbench.data.store import prepare
from fasbench.errors import DataError
from fasbench.protocol import Condition, KnownIssue, Part, Protocol
from fasbench.resources import sha256

CPU = torch.device("cpu")
PLAIN = ModelConfig(image_size=16, mean=(0, 0, 0), std=(1, 1, 1))


class Given(Source):
    """The records it is given."""

    def __init__(self, records, shape):
        self.records, self.shape, self.name = records, shape, records[0].domain

    def recipe(self):
        return {"kind": "given"}

    def __len__(self):
        return len(self.records)

    def read(self, index):
        return self.records[index]


def record(dataset, video, frame=0, *, value=0, shape=(16, 16), split="train", label=1, **changes):
    """One frame: rgb is full of `value`, depth of `value + 1`, ir of `value + 2`."""
    whole = Record(
        id=f"{dataset}/{video}/{frame}",
        domain=dataset,
        split=split,
        label=label,
        attack="live" if label else "print",
        attack_fine="live" if label else "laser",
        subject=f"{dataset}/s-{video}",
        presenter="",
        unit=f"{dataset}/u-{video}",
        video=f"{dataset}/{video}",
        frame=frame,
        rgb=np.full((*shape, 3), value, np.uint8),
        depth=np.full(shape, value + 1, np.uint8),
        ir=np.full(shape, value + 2, np.uint8),
    )
    return replace(whole, **changes)


def stores_of(folder, *data_sets):
    """Prepared stores by name; each argument is the list of records of one data set."""
    sources = [Given(records, records[0].ir.shape if records[0].ir is not None else (16, 16)) for records in data_sets]
    return {source.name: prepare(source, folder, workers=1) for source in sources}


def rows_of(folder, records):
    """All training rows of one data set."""
    stores = stores_of(folder, records)
    return Rows((Part(records[0].domain, "train"),), stores)


def inputs_of(folder, records, config=PLAIN, **options):
    rows = rows_of(folder, records)
    return to_inputs(rows.read(np.arange(len(rows))), config, CPU, **options)


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def two_stores(tmp_path):
    """Small 16 x 16 px images in a, larger 20 x 24 px in b; train and test rows in turn."""
    a = [record("a", f"v{k}", value=10 * k, split=("train", "test")[k % 2]) for k in range(6)]
    b = [record("b", f"v{k}", value=100 + 10 * k, shape=(20, 24), label=0) for k in range(3)]
    return stores_of(tmp_path, a, b)


PARTS = (Part("b", "train"), Part("a", "test"), Part("a", "train"))


def test_rows_stand_in_the_order_of_the_parts_then_of_the_store(two_stores):
    rows = Rows(PARTS, two_stores)
    assert len(rows) == 9
    a_test, a_train = ["a/v1/0", "a/v3/0", "a/v5/0"], ["a/v0/0", "a/v2/0", "a/v4/0"]
    assert rows["id"].tolist() == ["b/v0/0", "b/v1/0", "b/v2/0", *a_test, *a_train]
    assert rows["label"].tolist() == [0] * 3 + [1] * 6
    assert rows["domain"].tolist() == ["b"] * 3 + ["a"] * 6
    assert rows["attack"].tolist() == ["print"] * 3 + ["live"] * 6
    assert rows["unit"].tolist() == [text.replace("/v", "/u-v").removesuffix("/0") for text in rows["id"]]


def test_groups_of_two_image_sizes_cover_the_batch_once_with_the_rows_asked_for(two_stores):
    rows = Rows(PARTS, two_stores)
    positions = np.array([8, 0, 3, 2, 8, 5])  # a/v4 b/v0 a/v1 b/v2 a/v4 a/v5
    groups = rows.read(positions)
    assert [group.rgb.shape for group in groups] == [(4, 16, 16, 3), (2, 20, 24, 3)]
    assert [group.where.tolist() for group in groups] == [[0, 2, 4, 5], [1, 3]]
    for group, values in zip(groups, ([40, 10, 40, 50], [100, 120]), strict=True):
        for image, offset in ((group.rgb, 0), (group.depth, 1), (group.ir, 2)):
            for sample, value in zip(image, values, strict=True):
                assert (sample == value + offset).all()
        assert group.present.all()
    inputs = to_inputs(groups, PLAIN, CPU)
    assert inputs.rgb.shape == inputs.depth.shape == inputs.ir.shape == (6, 3, 16, 16)
    expected = torch.tensor([40.0, 100, 10, 120, 40, 50])
    for offset, image in enumerate(inputs.images()):
        torch.testing.assert_close(image.amax((1, 2, 3)) * 255, expected + offset)
        torch.testing.assert_close(image.amin((1, 2, 3)) * 255, expected + offset)


@pytest.mark.parametrize("shape", [(16, 16), (20, 24)], ids=["one-size", "two-sizes"])
def test_pixels_and_presence_of_several_stores_stay_with_their_rows(tmp_path, shape):
    a = [record("a", f"v{k}", value=10 * (k + 1)) for k in range(3)]
    b = [record("b", f"v{k}", value=100 + 10 * k, shape=shape) for k in range(3)]
    a[1], b[0], b[2] = replace(a[1], depth=None), replace(b[0], rgb=None), replace(b[2], depth=None)
    rows = Rows((Part("b", "train"), Part("a", "train")), stores_of(tmp_path, a, b))
    groups = rows.read(np.array([4, 0, 3, 2, 1, 4]))  # a/v1 b/v0 a/v0 b/v2 b/v1 a/v1
    assert len(groups) == (1 if shape == (16, 16) else 2)
    inputs = to_inputs(groups, PLAIN, CPU)
    expected = [(20, 0, 22), (0, 101, 102), (10, 11, 12), (120, 0, 122), (110, 111, 112), (20, 0, 22)]
    found = torch.stack([image.mean((1, 2, 3)) for image in inputs.images()], dim=1)
    torch.testing.assert_close(found * 255, torch.tensor(expected, dtype=torch.float32))
    assert torch.equal(inputs.present, torch.tensor(expected) > 0)


@pytest.fixture
def videos(tmp_path):
    """In each of a and b: live and attack videos in turn (v0 live, v1 attack, ...), two frames each, interleaved."""
    data = [
        [record(name, f"v{video}", frame, label=1 - video % 2) for frame in range(2) for video in range(6)]
        for name in "ab"
    ]
    return stores_of(tmp_path, *data)


@pytest.mark.parametrize(("limit", "kept"), [(1, [0, 1]), (2, [0, 1, 2, 3]), (3, range(6)), (99, range(6))])
def test_limit_videos_keeps_the_first_of_each_data_set_and_class_with_all_their_frames(videos, limit, kept):
    parts = (Part("a", "train"), Part("b", "train"))
    rows = Rows(parts, videos, limit)
    assert rows["id"].tolist() == [f"{name}/v{video}/{frame}" for name in "ab" for frame in range(2) for video in kept]


def test_content_sha256_follows_pixels_metadata_and_order_but_not_the_place(tmp_path):
    records = [record("a", f"v{k}", value=k) for k in range(3)]
    changed = {
        "pixel": [*records[:2], replace(records[2], ir=records[2].ir + np.eye(16, dtype=np.uint8))],
        "label": [*records[:2], record("a", "v2", value=2, label=0)],
        "order": records[::-1],
        "fewer": records[:2],
    }
    whole = rows_of(tmp_path / "one", records).content_sha256()
    assert whole == rows_of(tmp_path / "two", records).content_sha256()
    others = [rows_of(tmp_path / name, value).content_sha256() for name, value in changed.items()]
    assert len({whole, *others}) == 5


# --- splits -----------------------------------------------------------------------------------------------------------


def protocol(known_issues=(), **expect):
    splits = {"a-b": {"train": ["a/train"], "validation": ["a/validation"], "test": ["b/test"]}}
    datasets = {"a": {"size": "tiny", "expect": expect}, "b": {"size": "tiny"}}
    return Protocol(id="t/p", version=2, title="t", datasets=datasets, splits=splits, known_issues=tuple(known_issues))


def sound_split():
    a = [
        record("a", f"{split}{label}", split=split, label=label)
        for split in ("train", "validation")
        for label in (0, 1)
    ]
    return a, [record("b", "v0", split="test")]


def test_a_sound_split_opens_with_its_roles_and_sources(tmp_path):
    stores = stores_of(tmp_path, *sound_split())
    split = open_split(
        protocol(train=PartCounts(rows=2, live=1, attack=1, videos=2, subjects=2)), "a-b", ["full"], stores
    )
    assert split.train["video"].tolist() == ["a/train0", "a/train1"]
    assert split.validation["video"].tolist() == ["a/validation0", "a/validation1"]
    assert split.test["video"].tolist() == ["b/v0"]
    assert split.sources == ("a",)


def test_all_problems_of_a_split_are_in_one_error(tmp_path):
    a = [
        record("a", "v0"),
        record("a", "v1"),
        record("a", "v2", split="validation", subject="a/s-v0"),
        record("a", "v1", 1, split="validation", label=0, subject="a/s-v9"),
    ]
    b = [record("b", "v0")]
    expected = PartCounts(rows=3, live=2, attack=1, videos=2, subjects=5)
    with pytest.raises(DataError) as caught:
        open_split(protocol(train=expected), "a-b", ["full"], stores_of(tmp_path, a, b))
    assert [line.removeprefix("  - ") for line in str(caught.value).splitlines()] == [
        "t/p@2/a-b: 7 problem(s)",
        "a/train: rows expected 3, found 2",
        "a/train: attack expected 1, found 0",
        "a/train: subjects expected 5, found 2",
        "b has no rows in 'test'",
        "train has no attack rows: both classes are needed",
        "leak: 1 subject(s) in both train and validation, e.g. 'a/s-v0'. Separate them, or document them under "
        "known_issues with 'permits: {subject: [a/s-v0, ...]}'",
        "leak: 1 video(s) in both train and validation, e.g. 'a/v1'. Separate them, or document them under "
        "known_issues with 'permits: {video: [a/v1, ...]}'",
    ]


@pytest.mark.parametrize("role", ["train", "validation"])
@pytest.mark.parametrize(("label", "name"), [(1, "bona fide"), (0, "attack")])
def test_training_and_validation_need_both_classes_and_the_test_does_not(tmp_path, role, label, name):
    a, b = sound_split()
    a = [row for row in a if (row.split, row.label) != (role, label)]
    with pytest.raises(DataError, match=f"{role} has no {name} rows") as caught:
        open_split(protocol(), "a-b", ["full"], stores_of(tmp_path, a, b))
    assert "1 problem(s)" in str(caught.value)


@pytest.mark.parametrize("key", ["subject", "video"])
def test_a_known_issue_permits_what_it_names_and_nothing_else(tmp_path, key):
    a, b = sound_split()
    a[2] = replace(a[2], **{key: getattr(a[0], key)})  # validation shares it with train, both attacks
    stores = stores_of(tmp_path, a, b)
    named = KnownIssue(id="named", text="known", permits={key: (getattr(a[0], key),)})
    others = [
        KnownIssue(id="other-value", text="known", permits={key: ("a/somebody-else",)}),
        KnownIssue(id="other-kind", text="known", permits={"id": (getattr(a[0], key),)}),
    ]
    assert len(open_split(protocol([named]), "a-b", ["full"], stores).train) == 2
    with pytest.raises(DataError, match=rf"leak: 1 {key}\(s\) in both train and validation"):
        open_split(protocol(others), "a-b", ["full"], stores)


def test_a_repeated_row_in_another_role_is_a_leak_of_its_id(tmp_path):
    a, b = sound_split()
    a[2] = replace(a[2], id=f"{a[0].id}#2")
    with pytest.raises(DataError, match=r"leak: 1 id\(s\) in both train and validation"):
        open_split(protocol(), "a-b", ["full"], stores_of(tmp_path, a, b))


def test_the_rows_of_a_split_are_those_its_hash_names(tmp_path):
    stores = stores_of(tmp_path, *sound_split())
    line = f"{sha256('t/p@2', 'test', 'b/v0/0')[:16]} 1"  # the one test row, bona fide

    def with_hash(**hashes):
        plain = protocol()
        return plain.model_copy(
            update={"splits": {"a-b": plain.splits["a-b"].model_copy(update={"rows_sha256": hashes})}}
        )

    open_split(with_hash(test=sha256(line)), "a-b", ["full"], stores)
    wrong = with_hash(test="0" * 64, validation="1" * 64)
    with pytest.raises(DataError, match="2 problem") as caught:
        open_split(wrong, "a-b", ["full"], stores)
    assert f"test: rows_sha256 expected {'0' * 64}, found {sha256(line)}: other rows or labels" in str(caught.value)
    open_split(wrong, "a-b", ["full"], stores, limit_videos=1)  # a partial run has other rows by design


def test_expected_attacks_and_units_are_checked(tmp_path):
    expected = PartCounts(rows=2, live=1, attack=1, units=7, attacks={"replay": 1})
    with pytest.raises(DataError) as caught:
        open_split(protocol(train=expected), "a-b", ["full"], stores_of(tmp_path, *sound_split()))
    assert "a/train: units expected 7, found 2" in str(caught.value)
    assert "a/train: attacks expected {'replay': 1}, found {'print': 1}" in str(caught.value)


def test_rows_that_lose_every_modality_are_refused_not_scored(tmp_path):
    a, b = sound_split()
    stores = stores_of(tmp_path, a, [replace(row, depth=None, ir=None) for row in b])
    sensors = {"full": Condition(), "no-rgb": Condition(absent=("rgb",))}
    changed = protocol().model_copy(update={"conditions": sensors})
    assert len(open_split(changed, "a-b", ["full"], stores).test) == 1
    with pytest.raises(DataError, match=r"no-rgb: 1 test row\(s\) have no modality left, e\.g\. 'b/v0"):
        open_split(changed, "a-b", ["full", "no-rgb"], stores)


# --- inputs -----------------------------------------------------------------------------------------------------------


def test_black_and_white_are_normalised_exactly(tmp_path):
    config = ModelConfig(image_size=16, mean=(0.25, 0.5, 0.75), std=(0.5, 0.25, 0.125))
    rgb = {value: np.full((16, 16, 3), value, np.uint8) for value in (0, 255)}
    black, white = (record("a", f"v{v}", rgb=rgb[v], depth=rgb[v][..., 0], ir=rgb[v][..., 0]) for v in (0, 255))
    inputs = inputs_of(tmp_path, [black, white], config)
    for image in inputs.images():
        for sample, values in zip(image, ([-0.5, -2.0, -6.0], [1.5, 2.0, 2.0]), strict=True):
            assert torch.equal(sample, torch.tensor(values)[:, None, None].expand(3, 16, 16))
    assert torch.equal(inputs.black, torch.tensor([[-0.5, -2.0, -6.0]] * 3))


def test_black_is_the_value_of_a_black_pixel_to_the_last_bit(tmp_path):
    records = [record("a", "v0", value=0, depth=np.zeros((16, 16), np.uint8)), record("a", "v1", rgb=None, depth=None)]
    inputs = inputs_of(tmp_path, records, ModelConfig(image_size=16)).filled("black")
    assert torch.equal(inputs.rgb[0], inputs.rgb[1]) and torch.equal(inputs.depth[0], inputs.depth[1])
    assert bool(inputs.rgb[0].all())


def test_channels_are_red_green_blue_and_gray_is_repeated(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    gray = np.random.default_rng(0).integers(0, 256, (2, 16, 16), np.uint8)
    inputs = inputs_of(tmp_path, [record("a", "v0", rgb=red, depth=gray[0], ir=gray[1])])
    assert inputs.rgb[0].amin((1, 2)).tolist() == inputs.rgb[0].amax((1, 2)).tolist() == [1, 0, 0]
    for image, stored in ((inputs.depth, gray[0]), (inputs.ir, gray[1])):
        for channel in range(3):
            assert torch.equal(image[0, channel], torch.from_numpy(stored) / 255)


def test_rows_and_columns_are_not_exchanged(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    inputs = inputs_of(tmp_path, [record("a", "v0", rgb=image)])
    assert torch.equal(inputs.rgb[0], torch.from_numpy(image / np.float32(255)).permute(2, 0, 1))


def test_each_modality_ends_up_in_its_own_tensor(tmp_path):
    inputs = inputs_of(tmp_path, [record("a", "v0", value=30), record("a", "v1", value=90)])
    for offset, image in enumerate((inputs.rgb, inputs.depth, inputs.ir)):
        torch.testing.assert_close(image.mean((1, 2, 3)) * 255, torch.tensor([30.0, 90.0]) + offset)


AUGMENTED = (AugmentConfig(), torch.Generator().manual_seed(0))


@pytest.mark.parametrize("augmentation", [None, AUGMENTED], ids=["plain", "augmented"])
@pytest.mark.parametrize("condition", [(), ("ir",), ("rgb", "ir")], ids=["full", "no-ir", "depth-only"])
def test_what_is_absent_in_the_store_or_by_the_condition_is_exactly_zero(tmp_path, condition, augmentation):
    gone = [(), ("depth",), ("rgb",)]
    records = [record("a", f"v{k}", value=200, **dict.fromkeys(names)) for k, names in enumerate(gone)]
    inputs = inputs_of(tmp_path, records, ModelConfig(image_size=16), absent=condition, augmentation=augmentation)
    for sample, names in enumerate(gone):
        for m, modality in enumerate(MODALITIES):
            there = modality not in (*names, *condition)
            assert inputs.present[sample, m] == there
            assert bool(inputs.images()[m][sample].count_nonzero()) == there


def test_images_of_the_right_size_are_not_touched_and_others_are_resized_as_pillow_does(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (32, 32), np.uint8)
    records = [record("a", "v0", shape=(32, 32), ir=image)]
    same = inputs_of(tmp_path, records, PLAIN.model_copy(update={"image_size": 32}))
    assert torch.equal(same.ir[0, 0], torch.from_numpy(image) / 255)
    for size in (16, 20, 48):
        resized = inputs_of(tmp_path, records, PLAIN.model_copy(update={"image_size": size}))
        expected = Image.fromarray(image.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(resized.ir[0, 2] * 255, np.asarray(expected), atol=1e-2)


def test_groups_are_put_where_they_belong():
    def group(where, size, value):
        count = len(where)
        rgb, gray = np.full((count, size, size, 3), value, np.uint8), np.full((count, size, size), value, np.uint8)
        return Group(np.array(where), rgb, gray, gray, np.ones((count, 3), bool))

    inputs = to_inputs([group([2, 0], 16, 51), group([1], 32, 102)], PLAIN, CPU)
    torch.testing.assert_close(inputs.rgb[:, 0, 0, 0], torch.tensor([0.2, 0.4, 0.2]))


# --- batches ----------------------------------------------------------------------------------------------------------


def test_infrared_descriptors_are_the_three_channels_and_nothing_where_it_is_absent():
    rng = np.random.default_rng(0)

    def group(where, size):
        count = len(where)
        rgb = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        depth, ir = rng.integers(0, 256, (2, count, size, size), np.uint8)
        present = np.ones((count, 3), bool)
        present[0, 2] = False
        ir[0] = 0  # as a store gives it
        return Group(np.array(where), rgb, depth, ir, present)

    groups = [group([0, 3], 32), group([1, 2], 48)]
    plain = to_inputs(groups, PLAIN.model_copy(update={"image_size": 32}), CPU)
    config = PLAIN.model_copy(update={"image_size": 32, "ir_channels": "descriptors"})
    found = to_inputs(groups, config, CPU)
    for same in ("rgb", "depth", "present"):
        assert torch.equal(getattr(found, same), getattr(plain, same))
    assert torch.equal(found.ir[:, 0], plain.ir[:, 0])
    expected = descriptor_channels(torch.from_numpy(groups[0].ir[1:])) / 255
    assert torch.allclose(found.ir[3], expected[0], atol=1e-6)
    assert not found.ir[[0, 1]].any()  # descriptors of a black image are not black, but these rows have none
    assert found.ir[2, 1:].any()
    assert torch.equal(found.filled("black").ir[0], torch.zeros(3, 32, 32))  # PLAIN: black is 0
    assert not to_inputs(groups, config, CPU, absent=("ir",)).ir.any()


def test_a_training_batch_holds_labels_domains_by_sorted_source_and_attacks(two_stores):
    rows = Rows(PARTS, two_stores)
    plain = (AugmentConfig(flip=0, photometric=()), torch.Generator())
    batch = train_batch(rows, np.array([8, 0, 4]), ("a", "b"), PLAIN, plain, CPU)
    assert len(batch) == 3
    assert batch.label.tolist() == [1, 0, 1] and batch.label.dtype == torch.int64
    assert batch.domain.tolist() == [0, 1, 0] and batch.domain.dtype == torch.int64
    assert batch.attack == ("live", "print", "live")
    torch.testing.assert_close(batch.inputs.rgb.mean((1, 2, 3)) * 255, torch.tensor([40.0, 100, 30]))


# --- modality dropout -------------------------------------------------------------------------------------------------


def ones(rows, present=(True, True, True)):
    """Inputs full of ones where present; black is 1/2."""
    images = [torch.ones(rows, 3, 2, 2) for _ in MODALITIES]
    return Inputs.of(images, torch.tensor(present).expand(rows, 3), torch.full((3, 3), 0.5))


def dropped(inputs, probabilities, seed=0):
    return drop_modalities(inputs, probabilities, torch.Generator().manual_seed(seed))


def test_each_sample_loses_each_modality_by_its_own_draw():
    found = dropped(ones(4000), {"depth": 0.5, "ir": 0.25}).present
    rgb, depth, ir = found.float().mean(dim=0).tolist()
    assert rgb == 1 and abs(depth - 0.5) < 0.03 and abs(ir - 0.75) < 0.03  # over 3.5 standard deviations
    both = (found[:, 1] & found[:, 2]).float().mean().item()
    assert abs(both - 0.5 * 0.75) < 0.03  # independent of one another


def test_what_is_taken_away_is_absent_as_at_test_and_the_rest_untouched():
    whole = ones(50)
    found = dropped(whole, {"depth": 0.5, "ir": 0.5})
    for m, image in enumerate(found.images()):
        assert torch.equal(image, found.present[:, m, None, None, None].expand_as(image).float())
    assert torch.equal(found.black, whole.black) and whole.present.all()
    assert not found.present[:, 1:].all() and found.present[:, 1:].any()


@pytest.mark.parametrize(
    "probabilities", [{"rgb": 1.0, "depth": 1.0, "ir": 1.0}, {"rgb": 0.6, "depth": 0.6, "ir": 0.6}]
)
def test_no_sample_loses_everything(probabilities):
    assert dropped(ones(500), probabilities).present.any(dim=1).all()


def test_a_sample_that_would_lose_everything_keeps_what_it_has():
    assert dropped(ones(3, (True, False, False)), {"rgb": 1.0}).present.tolist() == [[True, False, False]] * 3
    assert dropped(ones(3, (True, False, True)), {"rgb": 1.0, "ir": 1.0}).present.tolist() == [[True, False, True]] * 3
    assert dropped(ones(3, (True, True, False)), {"rgb": 1.0}).present.tolist() == [[False, True, False]] * 3


def test_what_is_taken_away_follows_the_generator():
    probabilities = {"depth": 0.5, "ir": 0.5}
    first, again, other = (dropped(ones(64), probabilities, seed).present for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("probabilities", [{}, {"depth": 0.0}])
def test_without_a_probability_nothing_changes(probabilities):
    whole = ones(4)
    assert dropped(whole, probabilities) is whole


def test_dropout_does_not_move_the_augmentation(two_stores):
    rows, positions = Rows(PARTS, two_stores), np.arange(8)

    def batch(dropout):
        augmentation = (AugmentConfig(), torch.Generator().manual_seed(3))
        return train_batch(rows, positions, ("a", "b"), PLAIN, augmentation, CPU, dropout).inputs

    whole, reduced = batch(None), batch(({"depth": 1.0}, torch.Generator().manual_seed(1)))
    assert torch.equal(whole.rgb, reduced.rgb) and torch.equal(whole.ir, reduced.ir)
    assert whole.present.all() and reduced.present.tolist() == [[True, False, True]] * 8 and not reduced.depth.any()


# --- epochs -----------------------------------------------------------------------------------------------------------


def test_an_epoch_takes_every_row_once_a_pass():
    order = epoch_order(7, steps=4, batch_size=5, rng=np.random.default_rng(0))
    assert order.shape == (4, 5)
    stream = order.ravel()
    assert sorted(stream[:7]) == sorted(stream[7:14]) == list(range(7))
    assert len(set(stream[14:])) == 6
    assert stream[:7].tolist() != stream[7:14].tolist()


def test_an_epoch_drops_the_tail_that_fills_no_batch():
    order = epoch_order(7, steps=1, batch_size=5, rng=np.random.default_rng(0))
    assert order.shape == (1, 5) and len(set(order.ravel())) == 5


def test_the_order_of_an_epoch_follows_its_generator():
    first, second, other = (epoch_order(50, 4, 10, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert (first == second).all() and (first != other).any()
