from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from csg.config import DataConfig
from csg.data.pair import LabelledImages
from csg.data.views.augmentation import draw_views, rand_augment
from csg.data.views.operations import OPERATIONS
from csg.randomness import make_generator

ONE_SIDED = ["solarize", "posterize"]
MOVING = ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"]


def colour(length: int = 32, side: int = 32) -> torch.Tensor:
    """Smooth random images, as photos are, with some noise."""
    rng = make_generator(0, "test", length, side)
    coarse = torch.from_numpy(rng.random((length, 3, 5, 5))).float()
    images = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") * 200
    return (images + torch.from_numpy(rng.random((length, 3, side, side))).float() * 55).to(torch.uint8)


def augment(images: torch.Tensor, indices: list[int] | range, **settings: int) -> torch.Tensor:
    chosen = {"seed": 3, "epoch": 1, "view": 0, "ops": 2, "magnitude": 9} | settings
    return rand_augment(images, indices=torch.tensor(list(indices)), **chosen)


def apply(name: str, images: torch.Tensor, magnitude: int, *, forwards: bool) -> torch.Tensor:
    operation = OPERATIONS[name]
    parameters = operation.parameters(operation.compute_amount(magnitude, forwards=forwards))
    return operation.apply(images, torch.tensor([parameters] * len(images)))


def test_the_operations_are_the_fourteen_of_the_paper() -> None:
    assert len(OPERATIONS) == 14
    assert {name for name, operation in OPERATIONS.items() if operation.strongest < operation.neutral} == {*ONE_SIDED}


@pytest.mark.parametrize("side", [32, 45])
def test_an_image_is_augmented_alike_alone_and_in_any_batch(side: int) -> None:
    images = colour(64, side)
    batch = augment(images, range(64))
    alone = torch.cat([augment(images[place : place + 1], [place]) for place in range(64)])
    assert torch.equal(batch, alone)
    order = torch.from_numpy(make_generator(0, "order").permutation(64))
    assert torch.equal(augment(images[order], order.tolist()), batch[order])


@settings(max_examples=30)
@given(
    indices=st.lists(st.integers(0, 63), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 10**6),
    ops=st.integers(1, 3),
    magnitude=st.integers(0, 30),
)
def test_the_result_is_a_function_of_the_image_and_its_address(
    indices: list[int], seed: int, epoch: int, ops: int, magnitude: int
) -> None:
    images = colour(64)[indices]
    address = {"seed": seed, "epoch": epoch, "ops": ops, "magnitude": magnitude}
    batch = augment(images, indices, **address)
    assert torch.equal(batch[-1:], augment(images[-1:], indices[-1:], **address))


@pytest.mark.parametrize("side", [32, 224])
def test_two_threads_augment_as_one_does(side: int) -> None:
    images = colour(4, side).repeat(4, 1, 1, 1)
    one = augment(images, range(16))
    torch.set_num_threads(2)
    try:
        two = augment(images, range(16))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two)


def test_a_grey_image_comes_out_alike_however_it_is_held_in_memory() -> None:
    grey = colour(64)[:, :1].expand(-1, 3, -1, -1)
    expanded, whole = augment(grey, range(64)), augment(grey.contiguous(), range(64))
    assert torch.equal(expanded, whole)
    last = augment(grey.contiguous(memory_format=torch.channels_last), range(64))
    assert torch.equal(expanded, last)


@pytest.mark.parametrize("other", [{"seed": 4}, {"epoch": 2}, {"view": 1}])
def test_seed_epoch_and_view_each_change_the_draws(other: dict[str, int]) -> None:
    images = colour(32)
    assert not torch.equal(augment(images, range(32)), augment(images, range(32), **other))


def test_all_operations_are_drawn_about_equally_often_and_both_ways() -> None:
    draws = np.array([make_generator(0, "augmentation", 0, index, 0).random((1, 2))[0] for index in range(2800)])
    counts = np.bincount((draws[:, 0] * 14).astype(int), minlength=14)
    assert counts.min() > 150
    assert counts.max() < 250
    assert 0.47 < (draws[:, 1] < 0.5).mean() < 0.53


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in ("autocontrast", "equalize")])
@pytest.mark.parametrize("forwards", [True, False])
def test_magnitude_zero_changes_nothing(name: str, forwards: bool) -> None:
    images = colour(4)
    assert torch.equal(apply(name, images, 0, forwards=forwards), images)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "identity"])
@pytest.mark.parametrize("forwards", [True, False])
def test_every_operation_does_something_at_full_magnitude(name: str, forwards: bool) -> None:
    images = colour(4)
    assert apply(name, images, 30, forwards=forwards).float().sub(images.float()).abs().mean() > 1


PILLOW: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "autocontrast": lambda image, _: ImageOps.autocontrast(image),
    "equalize": lambda image, _: ImageOps.equalize(image),
    "solarize": lambda image, amount: ImageOps.solarize(image, round(amount)),
    "posterize": lambda image, amount: ImageOps.posterize(image, round(amount)),
    "color": lambda image, amount: ImageEnhance.Color(image).enhance(amount),
    "contrast": lambda image, amount: ImageEnhance.Contrast(image).enhance(amount),
    "brightness": lambda image, amount: ImageEnhance.Brightness(image).enhance(amount),
    "sharpness": lambda image, amount: ImageEnhance.Sharpness(image).enhance(amount),
}


@pytest.mark.parametrize("name", PILLOW)
@pytest.mark.parametrize("forwards", [True, False])
def test_operations_on_grey_values_do_what_pillow_does(name: str, forwards: bool) -> None:
    images = colour(6)
    expected = [
        PILLOW[name](
            Image.fromarray(image.permute(1, 2, 0).numpy()), OPERATIONS[name].compute_amount(15, forwards=forwards)
        )
        for image in images
    ]
    wanted = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in expected])
    found = apply(name, images, 15, forwards=forwards)
    assert (found.int() - wanted.int()).abs().max() <= 1


def test_a_translation_moves_pixels_by_a_share_of_the_side_and_fills_with_black() -> None:
    images = colour(1, 40)
    found = apply("translate_x", images, 20, forwards=True)  # 0.3 of 40 pixels
    assert torch.equal(found[..., 12:], images[..., :28])
    assert not found[..., :12].any()
    assert torch.equal(apply("translate_y", images, 20, forwards=False)[:, :, :28], images[:, :, 12:])


@pytest.mark.parametrize("name", MOVING)
def test_a_moving_operation_and_its_opposite_meet_in_the_middle(name: str) -> None:
    images = torch.zeros(1, 3, 33, 33, dtype=torch.uint8)
    images[..., 8:25, 8:25] = 200
    back = apply(name, apply(name, images, 10, forwards=True), 10, forwards=False)
    assert (back[..., 12:21, 12:21] >= 195).all()


def test_a_flat_image_survives_autocontrast() -> None:
    flat = torch.full((2, 3, 32, 32), 90, dtype=torch.uint8)
    assert torch.equal(apply("autocontrast", flat, 6, forwards=True), flat)


class Colours(LabelledImages):
    """Images in memory."""

    def __init__(self, length: int) -> None:
        self.held = colour(length)
        self.labels = torch.zeros(length, dtype=torch.int64)
        self.fingerprint = str(length)

    def load_images(self, indices: torch.Tensor) -> torch.Tensor:
        return self.held[indices]


def test_without_augmentation_both_views_are_the_images_themselves() -> None:
    stream, config = Colours(4), DataConfig(augmentation="none")
    views = draw_views(stream, torch.arange(4), config=config, seed=0, epoch=0, two_views=True)
    assert torch.equal(views.query, stream.held) and views.key is None


def test_a_single_view_is_shared_and_is_the_query_that_two_views_have() -> None:
    stream, indices, config = Colours(16), torch.arange(16), DataConfig(augmentation_magnitude=15)
    one = draw_views(stream, indices, config=config, seed=0, epoch=0, two_views=False)
    two = draw_views(stream, indices, config=config, seed=0, epoch=0, two_views=True)
    assert one.key is None and two.key is not None
    assert torch.equal(one.query, two.query)
    assert not torch.equal(two.query, two.key)


def test_images_of_another_type_or_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"images: expected \(N, 3, S, S\) uint8, found \(2, 3, 8, 8\) torch.float32"):
        augment(torch.zeros(2, 3, 8, 8), range(2))
    with pytest.raises(ValueError, match="indices: expected one for each of 2 images"):
        augment(colour(2), range(3))
