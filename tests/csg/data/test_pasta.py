"""PASTA: its spectrum by hand, its noise by address."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from csg.config import DataConfig
from csg.data.views.augmentation import draw_views
from csg.data.views.pasta import compute_spread, pasta, with_noise
from csg.parsing import build_config
from tests.csg.data.test_augmentation import Colours, colour
from tests.made_up_scenes import made_up_scenes


def perturb(images: torch.Tensor, indices: list[int] | range, **settings: float) -> torch.Tensor:
    chosen = {"seed": 3, "epoch": 1, "view": 0, "alpha": 3.0, "k": 2.0, "beta": 0.25} | settings
    return pasta(images, indices=torch.tensor(list(indices)), **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 9)])
def test_the_spread_is_the_equation_written_out(height: int, width: int) -> None:
    spread = compute_spread(height, width, alpha=3.0, k=1.5, beta=0.25)
    for row in range(height):
        for column in range(width):
            m, n = min(row, height - row), min(column, width - column)  # periods an image
            radius = math.sqrt((m**2 + n**2) / (height**2 + width**2))
            assert spread[row, column] == pytest.approx((2 * 3.0 * radius) ** 1.5 + 0.25, rel=1e-12)
    assert spread[0, 0] == 0.25
    if height == width == 8:
        assert spread.max() == spread[4, 4] == pytest.approx(3.0**1.5 + 0.25)


def test_noise_multiplies_amplitudes_and_keeps_phases() -> None:
    image = colour(1, 16)[0].double().numpy() / 2 + 60
    symmetric = np.ones((3, 16, 16))
    symmetric[:, 0, 3] = symmetric[:, 0, -3] = 1.5  # a frequency and its mirror image
    symmetric[:, 0, 0] = 0.9
    found = np.fft.fft2(with_noise(image, symmetric).astype(np.float64))
    expected = symmetric * np.fft.fft2(image)
    np.testing.assert_allclose(found, expected, atol=16 * 16 * 0.5)
    for frequency in ((0, 3), (0, 0)):
        place = (slice(None), *frequency)
        np.testing.assert_allclose(np.abs(found[place]), np.abs(expected[place]), atol=30)
        np.testing.assert_allclose(np.angle(found[place]), np.angle(np.fft.fft2(image)[place]), atol=0.05)


def test_the_noise_is_about_one_and_as_wide_as_the_spread() -> None:
    """Of flat images only the mean colour is noisy: its factor is N(1, beta^2)."""
    flat = torch.full((2000, 3, 2, 2), 100, dtype=torch.uint8)
    factors = perturb(flat, range(2000), beta=0.2)[:, :, 0, 0].double() / 100
    assert factors.mean() == pytest.approx(1.0, abs=0.01) and factors.std() == pytest.approx(0.2, abs=0.01)
    assert np.corrcoef(factors.T.numpy())[0, 1] == pytest.approx(0, abs=0.1), "channels are independent"


def test_without_noise_an_image_is_itself() -> None:
    images = colour(3)
    assert torch.equal(perturb(images, range(3), alpha=0.0, beta=0.0), images)


def test_an_image_is_perturbed_alike_alone_and_in_any_batch_and_each_address_otherwise() -> None:
    images = colour(6, 20)
    whole = perturb(images, range(6))
    assert torch.equal(whole[4:], perturb(images[4:], [4, 5]))
    for other in ({"seed": 4}, {"epoch": 2}, {"view": 1}):
        assert not torch.equal(whole, perturb(images, range(6), **other))


def test_both_views_are_perturbed_and_labels_of_pixels_stay() -> None:
    config = DataConfig(augmentation="pasta")
    stream = Colours(4)
    one, two = (
        draw_views(stream, torch.arange(4), config=config, seed=0, epoch=0, two_views=two) for two in (False, True)
    )
    assert one.key is None and two.key is not None
    assert torch.equal(one.query, two.query) and not torch.equal(two.query, two.key)
    assert not torch.equal(two.query, stream.held)
    scenes = made_up_scenes().streams["source/train"]
    drawn = draw_views(scenes, torch.arange(4), config=config, seed=0, epoch=0, two_views=True)
    crops = scenes.read_crops(torch.arange(4), seed=0, epoch=0, views=1)
    assert torch.equal(drawn.labels, crops.labels) and not torch.equal(drawn.query, crops.views[0])


def test_its_settings_count_where_it_is_chosen() -> None:
    names = {"pasta_alpha", "pasta_k", "pasta_beta"}
    assert names <= build_config({"data.augmentation": "pasta"}).data.get_active().keys()
    assert not names & build_config({}).data.get_active().keys()
    assert build_config({"data.name": "glyph_scenes", "data.augmentation": "pasta"}).data.augmentation == "pasta"
