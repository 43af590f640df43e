from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from csg.data.pair import ArrayStream, LabelledImages
from csg.data.views.operations import OPERATIONS
from csg.data.views.shifted import DISTORTIONS, shift_stream
from csg.randomness import make_generator


class ColourStream(LabelledImages):
    def __init__(self, side: int, length: int) -> None:
        self._images = torch.from_numpy(
            make_generator(0, "test").integers(0, 256, (length, 3, side, side), dtype="uint8")
        )
        self.labels = torch.arange(length) % 10
        self.fingerprint = f"{side} {length}"

    def load_images(self, indices: torch.Tensor) -> torch.Tensor:
        return self._images[indices]


def smooth_grey(length: int = 60, side: int = 32) -> ArrayStream:
    drawn = torch.from_numpy(make_generator(1, "test").random((length, 1, 6, 6))).float()
    grey = torch.nn.functional.interpolate(drawn, size=(side, side), mode="bilinear").mul(255).to(torch.uint8)
    return ArrayStream(grey.squeeze(1), torch.arange(length) % 10)


def test_no_distortion_is_one_that_training_draws() -> None:
    assert not set(DISTORTIONS) & set(OPERATIONS)


def test_labels_and_length_stay_and_the_fingerprint_tells_the_streams_apart() -> None:
    plain = smooth_grey()
    stream = shift_stream(plain)
    assert len(stream) == len(plain)
    assert torch.equal(stream.labels, plain.labels)
    assert stream.fingerprint != plain.fingerprint
    assert stream.fingerprint == shift_stream(smooth_grey()).fingerprint
    assert stream.fingerprint != shift_stream(smooth_grey(length=61)).fingerprint


@pytest.mark.parametrize("name", DISTORTIONS)
@pytest.mark.parametrize("side", [32, 33, 64])
def test_every_distortion_changes_an_image_enough_to_matter(name: str, side: int) -> None:
    image = smooth_grey(length=1, side=side).load_images(torch.tensor([0])) / 255
    for draw in range(5):
        distorted = DISTORTIONS[name](image, make_generator(draw, "test")).clamp(0, 1)
        assert distorted.shape == image.shape
        assert (distorted - image).abs().mean() > 0.01


def test_all_distortions_occur_in_a_stream() -> None:
    drawn = {int(make_generator(17, "shifted", index).integers(len(DISTORTIONS))) for index in range(320)}
    assert len(drawn) == len(DISTORTIONS)


def test_a_grey_image_stays_grey() -> None:
    images = shift_stream(smooth_grey()).load_images(torch.arange(60))
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


@settings(max_examples=10)
@given(indices=st.lists(st.integers(0, 59), max_size=8))
def test_an_image_is_distorted_alike_in_every_batch(indices: list[int]) -> None:
    stream = shift_stream(ColourStream(side=32, length=60))
    batch = stream.load_images(torch.tensor(indices, dtype=torch.int64))
    assert batch.shape == (len(indices), 3, 32, 32)
    assert batch.dtype == torch.uint8
    for image, index in zip(batch, indices, strict=True):
        assert torch.equal(image, stream.load_images(torch.tensor([index]))[0])


def test_what_is_in_memory_and_distorted_once_is_what_is_distorted_on_demand() -> None:
    in_memory = smooth_grey()
    elsewhere = ColourStream(side=32, length=60)
    elsewhere._images = in_memory.load_images(torch.arange(60))
    for indices in (torch.tensor([7, 7, 59, 0]), torch.arange(60)):
        once, on_demand = (shift_stream(stream).read(indices) for stream in (in_memory, elsewhere))
        assert torch.equal(once.views[0], on_demand.views[0])
        assert torch.equal(once.labels, on_demand.labels) and torch.equal(once.indices, on_demand.indices)


def test_two_threads_distort_as_one_does() -> None:
    one = shift_stream(smooth_grey(side=96)).load_images(torch.arange(24))
    torch.set_num_threads(2)
    try:
        two = shift_stream(smooth_grey(side=96)).load_images(torch.arange(24))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one, two)
