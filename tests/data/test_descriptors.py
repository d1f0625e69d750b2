"""HOG and PLGF pictures against their definitions, pixel by pixel, and by the properties they must have."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from fasbench.data import descriptors
from fasbench.data.descriptors import descriptor_channels, hog_picture, plgf_picture

RECIPES = ("released", "clean")
each_shape = pytest.mark.parametrize("shape", [(32, 32), (33, 47), (64, 40), (97, 61), (224, 224)], ids=str)
each_recipe = pytest.mark.parametrize("recipe", RECIPES)


def faces(shape=(64, 64), batch=3, seed=0):
    """From noise to smooth 8-bit images, partly saturated: uint8 (B, H, W)."""
    rng = np.random.default_rng(seed)
    images = [ndimage.gaussian_filter(rng.normal(size=shape), 1.5 * k) * 120 * (1 + 4 * k) + 110 for k in range(batch)]
    return torch.from_numpy(np.clip(images, 0, 255).astype(np.uint8))


def line(row, column, down, right):
    """The straight line from a pixel to the one so far from it, in whole numbers only."""
    n = max(abs(down), abs(right))
    return [(row + (2 * k * down + n) // (2 * n), column + (2 * k * right + n) // (2 * n)) for k in range(n + 1)]


def hog_by_hand(image):
    """The definition, a pixel at a time, before it is cut to 8 bits."""
    height, width = len(image), len(image[0])
    cells = [[[0.0] * 9 for _ in range(width // 8)] for _ in range(height // 8)]
    for i in range(height // 8 * 8):
        for j in range(width // 8 * 8):
            g_r = image[i + 1][j] - image[i - 1][j] if 0 < i < height - 1 else 0
            g_c = image[i][j + 1] - image[i][j - 1] if 0 < j < width - 1 else 0
            cells[i // 8][j // 8][int(math.degrees(math.atan2(g_r, g_c)) % 180 // 20)] += math.hypot(g_r, g_c) / 64
    picture = np.zeros((height, width))
    for R, row in enumerate(cells):
        for C, histogram in enumerate(row):
            y, x = 8 * R + 4, 8 * C + 4
            for t, h in zip(math.pi * (np.arange(9) + 0.5) / 9, histogram, strict=True):
                r0, r1 = int(y - 3 * math.cos(t)), int(y + 3 * math.cos(t))
                c0, c1 = int(x + 3 * math.sin(t)), int(x - 3 * math.sin(t))
                for pixel in line(r0, c0, r1 - r0, c1 - c0):
                    picture[pixel] += h
    return picture


def plgf_by_hand(image, recipe):
    """The definition, a pixel at a time, before it is cut to 8 bits."""
    height, width, mass = len(image), len(image[0]), [[max(value, 2) for value in row] for row in image]

    def at(i, j):
        if recipe == "released":
            return mass[i][j] if 0 <= i < height and 0 <= j < width else 0
        i, j = abs(i), abs(j)  # reflected, the border pixel itself not repeated
        return mass[i if i < height else 2 * height - 2 - i][j if j < width else 2 * width - 2 - j]

    force = np.empty((height, width))
    offsets = [(dx, dy, math.hypot(dx, dy)) for dx in range(-2, 3) for dy in range(-2, 3) if dx or dy]
    for i in range(height):
        for j in range(width):
            pulls = [(at(i - dy, j + dx) / r**3, dx, dy) for dx, dy, r in offsets]  # dy points up
            g_x, g_y = sum(v * dx for v, dx, _ in pulls), sum(v * dy for v, _, dy in pulls)
            force[i, j] = math.atan(math.hypot(g_x, g_y) / (mass[i][j] + 1e-4))
    if recipe == "clean":
        return 255 * force / (math.pi / 2)
    return (force - force.min()) / (force.max() - force.min()) * 254 + 1


def assert_is_cut_from(picture, exact, tolerance):
    """Whole numbers below `exact`, by less than 1; values within `tolerance` of a whole number may be cut to either."""
    picture, below = picture.numpy(), exact - picture.numpy()
    assert np.array_equal(picture, np.floor(picture)) and (picture != np.floor(exact)).mean() < 1e-3
    assert below.min() >= -tolerance and below.max() < 1 + tolerance


@each_shape
def test_the_pictures_are_their_definitions(shape):
    images = faces(shape, batch=1 if shape[0] > 100 else 3)
    for image, hog, *plgf in zip(images, hog_picture(images), *(plgf_picture(images, r) for r in RECIPES), strict=True):
        assert_is_cut_from(hog, hog_by_hand(image.tolist()).clip(0, 255), 1e-9)
        for picture, recipe in zip(plgf, RECIPES, strict=True):
            assert_is_cut_from(picture, plgf_by_hand(image.tolist(), recipe), 1e-3)


def test_the_forces_by_hand():
    def grey(force):
        return math.floor(255 * math.atan(force) / (math.pi / 2))

    spot = torch.full((1, 32, 32), 100.0)
    spot[0, 16, 16] = 200  # twice the mass: around it |g| / J = 1 / r^2
    picture = plgf_picture(spot, "clean")[0]
    for y, x in [(0, -1), (1, 1), (-2, 0), (2, -1), (-2, 2)]:
        assert picture[16 + y, 16 + x] == grey(1 / (y**2 + x**2 + 1e-4))
    assert picture[16, 16] == 0 and (picture > 0).sum() == 24
    edge = torch.full((1, 32, 32), 100.0).index_fill(2, torch.arange(16, 32), 200)
    assert (plgf_picture(edge, "clean")[0, :, 15] == grey(5.341 / 2)).all()  # half of the kernel's absolute sum


def test_every_8_bit_gradient_is_in_its_bin():
    down, right = np.mgrid[-255:256, -255:256]
    expected = np.rad2deg(np.arctan2(down, right)) % 180 // 20
    assert np.array_equal(descriptors._orientation(*torch.from_numpy(np.stack([down, right])).float()), expected)
    assert descriptors._orientation(torch.tensor(1e-5), torch.tensor(-200.0)) == 8  # of resized images: rounds to pi


@pytest.mark.parametrize("sign", [1, -1])
def test_an_upright_edge_is_drawn_10_degrees_off_the_vertical_and_stays_so_when_flipped(sign):
    edge, expected = torch.full((1, 16, 16), 100.0), torch.zeros(16, 16)
    edge[:, :, :4] -= 50 * sign  # gradients of 50 in columns 3 and 4: 16 of 64 pixels of the left cells
    for row, column in [(1, 4), (2, 4), (3, 4), (4, 3), (5, 3), (6, 3)]:
        expected[[row, row + 8], column] = 12  # 12.5, cut
    assert torch.equal(hog_picture(edge)[0], expected)
    assert torch.equal(hog_picture(edge.flip(-1))[0], expected.roll(8, 1))  # in the other cells, not mirrored


def test_the_strongest_gradients_are_clipped():
    i, j = torch.meshgrid(torch.arange(24), torch.arange(24), indexing="ij")
    stripes = 255 * ((i + j) // 2 % 2)  # a gradient of (255, 255) or its opposite everywhere: 361 in bin 2
    assert hog_picture(stripes[None])[0, 8:16, 8:16].unique().tolist() == [0, 255]


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_constant_image_has_no_gradient_but_the_released_recipe_frames_it(value):
    """Also of a black one: a modality that is absent must be blanked afterwards."""
    image = torch.full((1, 40, 56), value, dtype=torch.uint8)
    _, hog, plgf = descriptor_channels(image)[0]
    assert (plgf[2:-2, 2:-2] == 1).all() and (plgf[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    assert (plgf > 1).sum() == 40 * 56 - 36 * 52 and not hog.any()
    assert not descriptor_channels(image, "clean")[:, 1:].any()


@each_shape
@each_recipe
def test_channels_in_order_in_range_and_float32_from_any_type(shape, recipe):
    images = faces(shape)
    result = descriptor_channels(images, recipe)
    assert result.dtype == torch.float32 and result.shape == (3, 3, *shape)
    for channel, expected in enumerate((images.float(), hog_picture(images), plgf_picture(images, recipe))):
        assert torch.equal(result[:, channel], expected)
    assert result.min() >= 0 and result.max() <= 255
    assert 0.01 < (result[:, 1] > 0).float().mean() < 0.5  # lines on black
    assert recipe == "clean" or (result[:, 2].amin((1, 2)).eq(1).all() and result[:, 2].amax((1, 2)).eq(255).all())
    for dtype in (torch.float32, torch.float64, torch.float16, torch.int64):
        assert torch.equal(descriptor_channels(images.to(dtype)[:, None], recipe), result)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(descriptor_channels(images, recipe), result)


@each_shape
@each_recipe
def test_a_sample_does_not_depend_on_its_batch_nor_on_the_layout_of_memory(shape, recipe):
    images = faces(shape, batch=5)
    together, before = descriptor_channels(images, recipe), images.clone()
    alone = torch.cat([descriptor_channels(image[None], recipe) for image in images])
    strided = torch.stack([images, images], dim=-1)[..., 0]
    assert torch.equal(together, alone) and torch.equal(together, descriptor_channels(strided, recipe))
    assert torch.equal(together.flip(0), descriptor_channels(images.flip(0), recipe)) and torch.equal(images, before)


@each_recipe
def test_the_work_is_done_on_the_images_device(recipe):
    expected = descriptor_channels(images := faces((97, 61)), recipe)
    with torch.device("meta"):  # any tensor made without naming the device would be there
        assert torch.equal(descriptor_channels(images, recipe), expected)
    if torch.cuda.is_available():
        torch.testing.assert_close(descriptor_channels(images.cuda(), recipe).cpu(), expected, rtol=0, atol=1)


@each_recipe
def test_plgf_does_not_see_the_gain_but_an_offset(recipe):
    images = faces().float() / 8 + 10  # 10 .. 42: no pixel below the floor, none clipped
    brighter, offset = (plgf_picture(x, recipe) - plgf_picture(images, recipe) for x in (5 * images, images + 50))
    assert brighter.abs().max() <= 1 and brighter.abs().mean() < 0.02 and offset.abs().mean() > 2


@each_recipe
def test_plgf_turns_and_flips_with_the_image(recipe):
    images = faces((48, 64))
    for turn in (lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.flip(-1, -2), lambda x: x.mT):
        assert torch.equal(plgf_picture(turn(images), recipe), turn(plgf_picture(images, recipe)))


def test_a_crop_changes_the_released_picture_throughout_and_the_clean_one_at_its_border_only():
    images, crop = faces(batch=1), (..., slice(8, 56), slice(8, 56))
    released, clean = (plgf_picture(images[crop], recipe) != plgf_picture(images, recipe)[crop] for recipe in RECIPES)
    assert released[:, 2:-2, 2:-2].float().mean() > 0.3 and clean.any() and not clean[:, 2:-2, 2:-2].any()


@pytest.mark.parametrize("shape", [(7, 40), (2, 40, 7), (2, 3, 40, 40), (1, 1, 1, 40, 40)])
def test_other_shapes_and_recipes_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(B, 1, H, W\) or \(B, H, W\), 8 x 8 pixels or more"):
        descriptor_channels(torch.zeros(shape))
    with pytest.raises(ValueError, match="recipe 'verbatim': expected 'released' or 'clean'"):
        descriptor_channels(faces(), "verbatim")
