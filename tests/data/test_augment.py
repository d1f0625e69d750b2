"""Training augmentation: what is drawn for whom, and by which formula."""

import pytest
import torch

from fasbench.config import AugmentConfig
from fasbench.data.augment import augment

BATCH = 64
FLIPS = AugmentConfig(flip=0.5, photometric=())


def settings(flip=0.0, shift=0.0, gamma=(1.0, 1.0), **changes):
    """Nothing happens unless it is asked for."""
    return AugmentConfig(flip=flip, shift=shift, gamma=gamma, **changes)


def noise(seed=0, size=6):
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(BATCH, 3, size, size, generator=generator) * 255).round() for _ in range(3)]


def constant(value):
    return [torch.full((BATCH, 3, 4, 4), float(value)) for _ in range(3)]


def run(images, config, seed=0):
    return augment(images, config, torch.Generator().manual_seed(seed))


def test_no_flip_no_shift_and_gamma_one_change_nothing():
    images = noise()
    for result, image in zip(run(images, settings()), images, strict=True):
        torch.testing.assert_close(result, image, rtol=0, atol=1e-3)
    for result, image in zip(run(images, settings(photometric=())), images, strict=True):
        assert torch.equal(result, image)


def test_a_flip_is_shared_by_the_modalities_and_independent_between_samples():
    images = noise()
    flipped = []
    for result, image in zip(run(images, FLIPS), images, strict=True):
        mirrored = (result == image.flip(-1)).flatten(1).all(1)
        kept = (result == image).flatten(1).all(1)
        assert (mirrored ^ kept).all()
        flipped.append(mirrored)
    assert torch.equal(flipped[0], flipped[1]) and torch.equal(flipped[0], flipped[2])
    assert BATCH / 4 < flipped[0].sum() < 3 * BATCH / 4
    assert len(set(flipped[0][:8].tolist())) == 2


@pytest.mark.parametrize("flip", [0, 1])
def test_the_probability_of_a_flip_reaches_its_ends(flip):
    images = noise()
    for result, image in zip(run(images, settings(flip=flip, photometric=())), images, strict=True):
        assert torch.equal(result, image.flip(-1) if flip else image)


def test_a_shift_is_one_number_a_channel_within_its_range():
    for result in run(constant(128), settings(shift=40)):
        assert torch.equal(result.amin((2, 3)), result.amax((2, 3)))
        shift = result[:, :, 0, 0] - 128  # (B, 3)
        assert shift.abs().max() <= 40
        assert shift.min() < -30 and shift.max() > 30
        assert shift.unique().numel() == 3 * BATCH


@pytest.mark.parametrize("value", [0, 5, 250, 255])
def test_a_shift_is_clipped_and_never_wraps(value):
    for result in run(constant(value), settings(shift=40)):
        assert result.min() >= max(0, value - 40) and result.max() <= min(255, value + 40)
        assert (result == (0 if value < 128 else 255)).any()


def test_modalities_and_samples_draw_independently():
    rgb, depth, ir = run(constant(128), AugmentConfig(flip=0))
    for first, second in ((rgb, depth), (rgb, ir), (depth, ir), (rgb, rgb.roll(1, 0))):
        assert (first != second).flatten(1).any(1).all()


@pytest.mark.parametrize(
    ("value", "gamma", "expected"), [(51, 2.0, 10.2), (63.75, 0.5, 127.5), (0, 0.5, 0), (255, 2, 255)]
)
def test_gamma_by_hand(value, gamma, expected):
    for result in run(constant(value), settings(gamma=(gamma, gamma))):
        torch.testing.assert_close(result, torch.full_like(result, expected))


def test_gamma_is_one_number_an_image_within_its_range():
    for result in run(constant(51), settings(gamma=(0.5, 1.5))):
        gamma = (result / 255).log() / torch.tensor(0.2).log()  # 51 / 255 = 0.2
        torch.testing.assert_close(gamma.amin((1, 2, 3)), gamma.amax((1, 2, 3)))
        assert gamma.min() >= 0.5 - 1e-4 and gamma.max() <= 1.5 + 1e-4
        assert gamma[:, 0, 0, 0].std() > 0.2


def test_shift_comes_before_gamma_by_the_formula_with_known_draws():
    images, generator = noise(), torch.Generator().manual_seed(7)
    for result, image in zip(run(images, AugmentConfig(flip=0), seed=7), images, strict=True):
        shift = 80 * torch.rand(BATCH, 3, 1, 1, generator=generator) - 40
        gamma = 0.5 + torch.rand(BATCH, 1, 1, 1, generator=generator)
        torch.testing.assert_close(result, 255 * ((image + shift).clamp(0, 255) / 255) ** gamma, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("off", range(3))
def test_one_modality_without_photometric_changes_no_other_and_no_flip(off):
    images = noise()
    names = ["rgb", "depth", "ir"]
    everything = run(images, AugmentConfig())
    partial = run(images, AugmentConfig(photometric=tuple(name for k, name in enumerate(names) if k != off)))
    flipped_only = run(images, AugmentConfig(photometric=()))
    for k in range(3):
        assert torch.equal(partial[k], flipped_only[k] if k == off else everything[k])


def test_draws_depend_on_the_generator_alone():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = run(noise(), AugmentConfig(), seed=3)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is not touched
    torch.manual_seed(2)
    second, other = run(noise(), AugmentConfig(), seed=3), run(noise(), AugmentConfig(), seed=4)
    for a, b, c in zip(first, second, other, strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)


def test_the_images_given_are_left_as_they_were():
    images = noise()
    run(images, AugmentConfig())
    for image, before in zip(images, noise(), strict=True):
        assert torch.equal(image, before)


def test_noise_is_one_value_a_pixel_and_its_spread_one_an_image():
    for result in run(constant(128), settings(noise=20)):
        assert torch.equal(result[:, 0], result[:, 1]) and torch.equal(result[:, 0], result[:, 2])
        spread = (result - 128).flatten(1).std(1)
        assert 0 < spread.min() < 5 and 10 < spread.max() < 40


def test_brightness_moves_all_channels_alike_within_its_range():
    for result in run(constant(128), settings(brightness=30)):
        moved = result - 128
        assert torch.equal(moved.flatten(1).amin(1), moved.flatten(1).amax(1))
        assert 20 < moved.abs().max() <= 30 and moved.min() < 0 < moved.max()


@pytest.mark.parametrize("switch", ["noise", "brightness"])
def test_photometric_changes_leave_other_modalities_alone(switch):
    images = constant(128)
    rgb, depth, ir = run(images, settings(photometric=("rgb",), **{switch: 20}))
    assert not torch.equal(rgb, images[0]) and torch.equal(depth, images[1]) and torch.equal(ir, images[2])


def black_areas(config, size=32):
    images = [torch.full((BATCH, 3, size, size), 200.0) for _ in range(3)]
    black = [(result == 0).all(1) for result in run(images, config)]
    assert torch.equal(black[0], black[1]) and torch.equal(black[0], black[2])  # the same place in all modalities
    return black[0].flatten(1).sum(1).float() / size**2  # share of each image


def test_cutout_is_a_square_of_at_most_the_given_side_in_every_sample():
    share = black_areas(settings(photometric=(), cutout=8))
    assert (share <= 64 / 1024).all() and (share > 0).float().mean() > 0.9
    assert share.unique().numel() > 5


def test_erasing_takes_one_or_two_rectangles_of_a_few_percent_from_a_share_of_the_samples():
    share = black_areas(settings(photometric=(), erase=0.5), size=64)
    assert BATCH / 4 < (share > 0).sum() < 3 * BATCH / 4
    assert share.max() < 0.11 and share[share > 0].min() > 0.008
