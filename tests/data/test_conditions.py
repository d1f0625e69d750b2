"""Sensor degradations: what they touch, what they leave alone, and that nothing but the row decides them."""

import subprocess
import sys

import numpy as np
import pytest

from fasbench.data.conditions import DEGRADATIONS, SEVERITIES, degrade
from fasbench.data.loading import Group
from fasbench.data.record import MODALITIES
from fasbench.errors import ConfigError

IDS = [f"synth-x/s000/live-{row}/0" for row in range(6)]
EVERYTHING = dict.fromkeys(DEGRADATIONS, 3)


def faces(height=64, width=64, rows=6):
    """Something like faces: a head with eyes before a striped wall; depth has no background and a hole in the face."""
    side = min(height, width)
    y = ((np.arange(height) + 0.5 - height / 2) / side)[:, None]
    x = ((np.arange(width) + 0.5 - width / 2) / side)[None, :]
    radius = np.hypot(x / 0.3, y / 0.4)
    head = radius < 1
    eyes = np.hypot(np.abs(x) - 0.12, y + 0.08) < 0.04
    skin = np.where(eyes, 50, 170 - 50 * radius)
    wall = 100 + 60 * np.sin(25 * x + 12 * y)
    colour = np.where(head, skin, wall)
    hole = np.hypot(x - 0.1, y - 0.2) < 0.04
    depth = np.where(head & ~hole, 190 - 40 * radius**2, 0)
    ir = np.where(head, skin, 25)
    images = (np.stack([colour, 0.8 * colour, 0.7 * colour], axis=-1), depth, ir)
    rgb, depth, ir = (np.repeat(np.rint(image).astype(np.uint8)[None], rows, axis=0) for image in images)
    return Group(np.arange(rows), rgb, depth, ir, np.ones((rows, 3), bool))


def without(group, modality):
    """The group with one modality absent: not present and all zeros, as the store gives it."""
    present = group.present.copy()
    present[:, MODALITIES.index(modality)] = False
    return group._replace(present=present, **{modality: np.zeros_like(getattr(group, modality))})


def rows_of(group, rows):
    return Group(*(column[rows] for column in group))


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def change(group, kinds, modality):
    """Mean absolute difference of every row, (G,)."""
    before, after = (getattr(g, modality).astype(float) for g in (group, degrade(group, IDS, kinds)))
    return np.abs(after - before).reshape(len(before), -1).mean(axis=1)


def shrunk(image, factor):
    """(G, kH, kW, ...) -> (G, H, W, ...), the mean of k x k pixels."""
    count, height, width = image.shape[:3]
    cells = image.reshape(count, height // factor, factor, width // factor, factor, -1)
    return cells.mean(axis=(2, 4)).reshape(count, height // factor, width // factor, *image.shape[3:])


each_kind = pytest.mark.parametrize("kind", DEGRADATIONS)
each_pair = pytest.mark.parametrize(
    ("kind", "modality"), [(k, m) for k, d in DEGRADATIONS.items() for m in d.modalities]
)


# --- what decides a row -----------------------------------------------------------------------------------------------


@each_kind
def test_the_same_row_is_degraded_the_same_way_and_rows_differ(kind):
    group = faces()
    first = degrade(group, IDS, {kind: 3})
    assert same(first, degrade(group, IDS, {kind: 3}))
    for modality in DEGRADATIONS[kind].modalities:
        image = getattr(first, modality)
        assert all((image[0] != image[row]).any() for row in range(1, len(IDS)))  # one picture, six ids


def test_the_batch_and_its_order_do_not_matter():
    group = faces()
    whole = degrade(group, IDS, EVERYTHING)
    order = np.array([3, 0, 5, 1, 4, 2])
    assert same(degrade(rows_of(group, order), [IDS[row] for row in order], EVERYTHING), rows_of(whole, order))
    for row in range(len(IDS)):
        assert same(degrade(rows_of(group, [row]), [IDS[row]], EVERYTHING), rows_of(whole, [row]))


def test_a_repeated_list_row_is_degraded_as_the_first():
    result = degrade(faces(rows=2), ["a/b/0", "a/b/0#2"], EVERYTHING)
    assert same(rows_of(result, [0])[1:], rows_of(result, [1])[1:])


def test_global_random_state_is_neither_used_nor_moved():
    np.random.seed(1)  # noqa: NPY002
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = degrade(faces(), IDS, EVERYTHING)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert same(first, degrade(faces(), IDS, EVERYTHING))


@each_kind
def test_what_a_row_lacks_changes_nothing_in_the_rest(kind):
    group = faces()
    whole = degrade(group, IDS, {kind: 4})
    for absent in MODALITIES:
        partial = degrade(without(group, absent), IDS, {kind: 4})
        for modality in set(MODALITIES) - {absent}:
            assert np.array_equal(getattr(partial, modality), getattr(whole, modality))


# --- severities -------------------------------------------------------------------------------------------------------


@each_pair
def test_every_severity_changes_more_than_the_one_before(kind, modality):
    group = faces(96, 96)
    means = [change(group, {kind: severity}, modality).mean() for severity in SEVERITIES]
    assert means[0] > 0
    assert np.all(np.diff(means) > 0), means


@each_kind
def test_severity_5_leaves_something_to_see(kind):
    """Structure of the face survives: the degraded image still correlates with the clean one."""
    group = faces(96, 96)
    result = degrade(group, IDS, {kind: 5})
    for modality in DEGRADATIONS[kind].modalities:
        before, after = (getattr(g, modality).reshape(len(IDS), -1) for g in (group, result))
        correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(before, after, strict=True)]
        assert np.mean(correlations) > 0.4, modality


# --- what is touched --------------------------------------------------------------------------------------------------


@each_kind
def test_only_declared_modalities_change_and_all_of_them_do(kind):
    group = faces()
    result = degrade(group, IDS, {kind: 5})
    for modality in MODALITIES:
        changed = (getattr(result, modality) != getattr(group, modality)).reshape(len(IDS), -1).any(axis=1)
        assert changed.all() if modality in DEGRADATIONS[kind].modalities else not changed.any()
    assert result.where is group.where and result.present is group.present


@pytest.mark.parametrize("absent", MODALITIES)
def test_an_absent_modality_stays_all_zeros(absent):
    group = without(faces(), absent)
    for severity in (1, 5):
        result = degrade(group, IDS, dict.fromkeys(DEGRADATIONS, severity))
        assert not getattr(result, absent).any()


def test_absence_is_a_matter_of_the_row():
    group = faces()
    mixed = group._replace(present=group.present.copy(), ir=group.ir.copy())
    mixed.present[2, 2], mixed.ir[2] = False, 0
    result, whole = degrade(mixed, IDS, {"ir-saturation": 5}), degrade(group, IDS, {"ir-saturation": 5})
    assert not result.ir[2].any()
    others = [0, 1, 3, 4, 5]
    assert np.array_equal(result.ir[others], whole.ir[others])


def test_the_images_given_are_left_as_they_were_even_when_read_only():
    group = faces()
    for image in group:
        image.flags.writeable = False  # as of a memory-mapped store
    degrade(group, IDS, EVERYTHING)
    assert same(group, faces())


def test_nothing_asked_is_nothing_done():
    group = faces()
    assert same(degrade(group, IDS, {}), group)


@pytest.mark.parametrize("shape", [(48, 48), (224, 224), (60, 96), (97, 50)])
def test_any_image_size_works(shape):
    group = faces(*shape, rows=2)
    for kinds in [*({kind: 5} for kind in DEGRADATIONS), EVERYTHING]:
        result = degrade(group, IDS[:2], kinds)
        for modality in MODALITIES:
            image = getattr(result, modality)
            assert image.dtype == np.uint8 and image.shape == getattr(group, modality).shape
            assert image.any()


@each_pair
def test_a_row_looks_alike_at_every_image_size(kind, modality):
    """Degraded at 192 px and then shrunk is close to shrunk and then degraded."""
    large, small = faces(192, 192), faces(64, 64)
    degraded = {size: degrade(group, IDS, {kind: 5}) for size, group in ((192, large), (64, small))}
    ours, theirs = (
        shrunk(getattr(degraded[192], modality).astype(float), 3),
        getattr(degraded[64], modality).astype(float),
    )
    effect = change(small, {kind: 5}, modality).mean()
    baseline = np.abs(shrunk(getattr(large, modality).astype(float), 3) - getattr(small, modality)).mean()
    assert np.abs(ours - theirs).mean() - baseline < 0.5 * effect


@each_kind
def test_black_and_white_and_empty_images_are_survived(kind):
    for value in (0, 255):
        flat = faces()
        flat = flat._replace(**{m: np.full_like(getattr(flat, m), value) for m in MODALITIES})
        result = degrade(flat, IDS, {kind: 5})
        assert result.depth.any() == (value > 0)  # nobody measures where nothing was measured


# --- what each of them means ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("severity", SEVERITIES)
def test_depth_noise_keeps_holes_and_makes_none(severity):
    group = faces()
    result = degrade(group, IDS, {"depth-noise": severity})
    assert np.array_equal(result.depth == 0, group.depth == 0)
    dark = group._replace(depth=np.where(group.depth > 0, 1, 0).astype(np.uint8))  # the far limit of the range
    assert np.array_equal(degrade(dark, IDS, {"depth-noise": severity}).depth == 0, dark.depth == 0)


def test_depth_noise_comes_in_steps():
    group = faces()
    result = degrade(group, IDS, {"depth-noise": 5})
    for image in result.depth:
        values = np.unique(image[image > 0])
        assert len(values) > 4 and set(np.diff(values).tolist()) <= {6, 7, 8}  # 7, rounded to whole grey values


def test_depth_holes_only_add_zeros_in_the_share_stated_and_grow():
    group = faces(96, 96)
    lost, before = [], group.depth == 0
    previous = before
    for severity in SEVERITIES:
        result = degrade(group, IDS, {"depth-holes": severity})
        holes = result.depth == 0
        assert np.array_equal(result.depth[~holes], group.depth[~holes])
        assert (holes | ~previous).all()  # holes of a severity hold those of the one before
        previous = holes
        lost.append((holes & ~before).sum() / (~before).sum())
    np.testing.assert_allclose(lost, (0.04, 0.1, 0.2, 0.32, 0.45), atol=0.005)


def test_sunlight_takes_depth_where_it_brightens_the_infrared():
    group = faces(96, 96)._replace(depth=np.full((6, 96, 96), 150, np.uint8), ir=np.full((6, 96, 96), 80, np.uint8))
    result = degrade(group, IDS, {"sunlight": 5})
    for depth, ir in zip(result.depth, result.ir, strict=True):
        assert 0.1 < (depth == 0).mean() < 0.7
        assert ir[depth == 0].mean() > ir[depth > 0].mean() + 20


def test_saturation_clips_the_middle_and_not_the_corners():
    group = faces(96, 96)._replace(ir=np.full((6, 96, 96), 150, np.uint8))
    result = degrade(group, IDS, {"ir-saturation": 5})
    assert (result.ir[:, 40:56, 40:56] == 255).all()
    assert (result.ir[:, [0, 0, -1, -1], [0, -1, 0, -1]] < 190).all()
    assert (result.ir >= 150).all()


def test_blur_keeps_the_mean_of_light_and_invents_no_depth():
    group = faces(96, 96)
    result = degrade(group, IDS, {"blur": 5})
    for modality in ("rgb", "ir"):
        assert getattr(result, modality).mean() == pytest.approx(getattr(group, modality).mean(), rel=0.03)
    assert set(np.unique(result.depth)) <= set(np.unique(group.depth))


def test_low_light_is_darker_noisier_and_less_coloured():
    group = faces(96, 96)
    flat = group._replace(rgb=np.full_like(group.rgb, 1) * np.array([180, 120, 100], np.uint8))
    means, noises, colours = [], [], []
    for severity in SEVERITIES:
        image = degrade(flat, IDS, {"low-light": severity}).rgb.astype(float)
        means.append(image.mean())
        noises.append(image.std(axis=(1, 2)).mean() / image.mean())
        average = image.mean(axis=(0, 1, 2))
        colours.append((average.max() - average.min()) / average.mean())
    assert means == sorted(means, reverse=True) and means[-1] > 0.4 * flat.rgb.mean()
    assert noises == sorted(noises) and colours == sorted(colours, reverse=True)


def test_misalignment_moves_a_dot_by_the_shift_stated_in_depth_and_infrared_alike():
    side = 200
    dot = np.zeros((len(IDS), side, side), np.uint8)
    dot[:, 98:102, 98:102] = 255  # centred: scaling about the centre does not move it
    group = faces(side, side)._replace(depth=dot, ir=dot)
    for severity, share in zip(SEVERITIES, (0.015, 0.03, 0.045, 0.06, 0.08), strict=True):
        result = degrade(group, IDS, {"misalignment": severity})
        moved = np.empty((2, len(IDS), 2))
        for m, images in enumerate((result.depth, result.ir)):
            for row, image in enumerate(images):
                weights = image / image.sum()
                moved[m, row] = [(weights.sum(axis=1) @ np.arange(side)), (weights.sum(axis=0) @ np.arange(side))]
        moved -= (side - 1) / 2
        np.testing.assert_allclose(np.abs(moved[..., 1]), share * side, atol=0.6)
        assert (np.abs(moved[..., 0]) <= 0.4 * share * side + 0.6).all()
        np.testing.assert_allclose(moved[0], moved[1], atol=0.6)
        assert len(set(np.sign(moved[0, :, 1]))) == 2  # to the left in some rows, to the right in others


def test_misalignment_fills_depth_with_holes_and_infrared_with_its_border():
    group = faces()
    full = group._replace(depth=np.full_like(group.depth, 200), ir=np.full_like(group.ir, 90))
    result = degrade(full, IDS, {"misalignment": 5})
    assert (result.ir == 90).all()
    assert set(np.unique(result.depth)) == {0, 200}
    assert ((result.depth == 0).mean(axis=(1, 2)) < 0.25).all()


def test_several_are_applied_in_the_fixed_order():
    group = faces()
    together = degrade(group, IDS, {"misalignment": 2, "depth-holes": 4, "depth-noise": 5, "sunlight": 1})
    alone = group
    for kind, severity in (("sunlight", 1), ("depth-noise", 5), ("depth-holes", 4), ("misalignment", 2)):
        alone = degrade(alone, IDS, {kind: severity})
    assert same(together, alone)


# --- errors -----------------------------------------------------------------------------------------------------------


def test_unknown_kinds_and_severities_are_reported_together():
    with pytest.raises(ConfigError) as error:
        degrade(faces(), IDS, {"sunlite": 3, "blur": 6, "depth-holes": 0, "depth-noise": 2})
    text = str(error.value)
    assert "'sunlite'" in text and "Did you mean 'sunlight'?" in text
    assert "severity 6 of 'blur'" in text and "severity 0 of 'depth-holes'" in text
    assert "severity 2" not in text and len(text.splitlines()) == 4


@pytest.mark.parametrize("severity", [0, 6, -1, 2.0, "3", True, None])
def test_a_severity_is_a_whole_number_from_1_to_5(severity):
    with pytest.raises(ConfigError, match="expected a whole number from 1 to 5"):
        degrade(faces(), IDS, {"blur": severity})


def test_ids_must_fit_the_rows():
    with pytest.raises(ValueError):
        degrade(faces(), IDS[:-1], {"blur": 1})


def test_the_module_needs_no_torch():
    command = "import sys, fasbench.data.conditions; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)
