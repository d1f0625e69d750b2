"""Black borders: the box is exact, whole, and the same for all modalities only where that is asked for."""

from __future__ import annotations

import doctest
import io

import numpy as np
import pytest
from PIL import Image

from fasbench.data.layouts import crop as module
from fasbench.data.layouts.crop import BLACK, CROPS, Box, content_box, crop_frame
from fasbench.errors import ConfigError, DataError


def bordered(height: int, width: int, box: Box, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise from 50 up inside the box, black around it."""
    image = np.zeros((height, width, channels), np.uint8)
    inside = image[box.top : box.bottom, box.left : box.right]
    inside[:] = np.random.default_rng(seed).integers(50, 256, inside.shape)
    return image if channels == 3 else image[..., 0]


def frame() -> tuple[dict[str, np.ndarray], dict[str, Box]]:
    boxes = {"rgb": Box(10, 90, 20, 60), "depth": Box(3, 41, 12, 33), "ir": Box(6, 44, 8, 30)}
    sizes = {"rgb": (100, 80), "depth": (50, 40), "ir": (50, 40)}
    return {k: bordered(*sizes[k], box, 3 if k == "rgb" else 1) for k, box in boxes.items()}, boxes


def test_doctests():
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(20))
def test_the_box_of_any_image_is_found_and_is_whole(seed, channels):
    draw = np.random.default_rng(seed)
    top, left = draw.integers(0, 20, 2)
    box = Box(int(top), int(top + draw.integers(1, 20)), int(left), int(left + draw.integers(1, 20)))
    image = bordered(40, 45, box, channels, seed)
    assert content_box(image) == box
    assert content_box(box.of(image)) == Box(0, box.bottom - box.top, 0, box.right - box.left)


def test_an_image_without_borders_is_its_own_box():
    assert content_box(np.full((5, 7), 9, np.uint8)) == Box(0, 5, 0, 7)


def test_a_face_with_black_rows_in_the_middle_is_not_split():
    image = bordered(30, 30, Box(5, 25, 5, 25))
    image[10:15] = 0
    assert content_box(image) == Box(5, 25, 5, 25)


def test_one_bright_channel_is_content():
    image = np.zeros((6, 6, 3), np.uint8)
    image[2, 3, 2] = BLACK + 1
    assert content_box(image) == Box(2, 3, 3, 4)


@pytest.mark.parametrize("value", [0, 1, BLACK])
def test_an_all_black_image_has_no_box(value):
    with pytest.raises(DataError, match=r"is black all over \(no value above 8\), expected a face"):
        content_box(np.full((4, 4), value, np.uint8))


def test_the_noise_of_jpeg_does_not_widen_a_box_beyond_its_blocks():
    box = Box(21, 75, 18, 83)  # not on the grid of 8 (16 with subsampled colour)
    image = bordered(96, 112, box, 3)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=75)
    decoded = np.asarray(Image.open(buffer))
    found = content_box(decoded)
    assert found.top in range(16, 22) and found.bottom in range(75, 81)
    assert found.left in range(16, 19) and found.right in range(83, 97)


def test_each_modality_is_cut_to_its_own_box():
    images, boxes = frame()
    cut = crop_frame(images, "own-box")
    assert list(cut) == list(images)
    for modality, box in boxes.items():
        assert np.array_equal(cut[modality], images[modality][box.top : box.bottom, box.left : box.right])


def test_every_modality_is_cut_to_the_box_of_rgb_in_proportion():
    images, boxes = frame()
    cut = crop_frame(images, "rgb-box")
    assert np.array_equal(cut["rgb"], boxes["rgb"].of(images["rgb"]))
    for modality in ("depth", "ir"):
        assert np.array_equal(cut[modality], images[modality][5:45, 10:30])


def test_one_box_keeps_pixels_of_modalities_together():
    rgb = bordered(40, 50, Box(7, 31, 9, 44), 3)
    position = np.arange(40 * 50).reshape(40, 50) % 251
    images = {"rgb": rgb, "depth": position.astype(np.uint8), "ir": rgb[..., 0]}
    cut = crop_frame(images, "rgb-box")
    assert np.array_equal(cut["ir"], cut["rgb"][..., 0])
    assert cut["depth"][0, 0] == position[7, 9] and cut["depth"][-1, -1] == position[30, 43]


def test_none_keeps_everything():
    images, _ = frame()
    cut = crop_frame(images, "none")
    assert all(cut[modality] is images[modality] for modality in images)


def test_what_is_cut_does_not_keep_or_change_the_whole_image():
    images, _ = frame()
    before = {modality: image.copy() for modality, image in images.items()}
    for image in crop_frame(images, "own-box").values():
        assert image.flags.c_contiguous and image.base is None
        image[:] = 0
    assert all(np.array_equal(images[modality], before[modality]) for modality in images)


def test_black_modalities_are_named_together():
    images, _ = frame()
    images["depth"] = np.zeros_like(images["depth"])
    images["ir"] = np.zeros_like(images["ir"])
    with pytest.raises(DataError) as raised:
        crop_frame(images, "own-box")
    assert str(raised.value) == (
        "no box for the crop 'own-box': ir is black all over (no value above 8), expected a face"
    )
    assert not crop_frame(images, "rgb-box")[
        "depth"
    ].any()  # the box is that of rgb: a black depth is what was measured
    images["rgb"] = np.zeros_like(images["rgb"])
    with pytest.raises(DataError, match=r"no box for the crop 'own-box': rgb is black .*; ir is black "):
        crop_frame(images, "own-box")
    with pytest.raises(DataError, match="no box for the crop 'rgb-box': rgb is black"):
        crop_frame(images, "rgb-box")


def test_a_depth_that_is_one_hole_stays_whole():
    images, boxes = frame()
    images["depth"] = np.full_like(images["depth"], BLACK)
    cut = crop_frame(images, "own-box")
    assert np.array_equal(cut["depth"], images["depth"])
    assert np.array_equal(cut["ir"], boxes["ir"].of(images["ir"]))


def test_unknown_crops_are_refused():
    assert CROPS == ("rgb-box", "own-box", "none")
    with pytest.raises(
        ConfigError, match=r"no crop 'own_box'\. Did you mean 'own-box'\? Known: rgb-box, own-box, none"
    ):
        crop_frame({}, "own_box")
