"""Windows cover an image as they should, and their average is exact."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from csg.tasks.windows import average_windows, count_coverage, find_window_starts

SIDES = st.integers(1, 20)
STRIDES = st.floats(0.2, 1)


def pointwise(classes: int = 4) -> nn.Module:
    """Make a network whose answer at a pixel depends on that pixel alone."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, classes, 1)).double()


def drawn(height: int, width: int) -> Tensor:
    return torch.randn(3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@given(SIDES, SIDES, SIDES, STRIDES, st.integers(1, 5))
def test_of_a_pointwise_network_it_is_one_pass_over_the_whole_image(
    height: int, width: int, window: int, stride: float, batch: int
) -> None:
    network, image = pointwise(), drawn(height, width)
    averaged = average_windows(network, image, window=window, stride=stride, batch=batch)
    with torch.no_grad():
        whole = network(image[None])[0].softmax(dim=0)
    torch.testing.assert_close(averaged, whole, rtol=0, atol=1e-12)


@given(SIDES, SIDES, STRIDES)
def test_windows_leave_no_pixel_out_and_stay_inside(length: int, window: int, stride: float) -> None:
    starts = find_window_starts(length, window, stride)
    side = min(window, length)
    assert starts[0] == 0 and starts[-1] == length - side
    assert all(0 < after - before <= max(1, round(stride * window)) for before, after in itertools.pairwise(starts))
    counts = count_coverage(starts, side, length)
    assert counts.min() >= 1 and counts.sum() == side * len(starts)


def test_windows_of_a_side_written_by_hand() -> None:
    """Windows of 6 at steps of 5: 0-5, 5-10, and the last one flush with the border, 7-12."""
    assert find_window_starts(13, 6, 5 / 6) == [0, 5, 7]
    assert count_coverage([0, 5, 7], 6, 13).tolist() == [1, 1, 1, 1, 1, 2, 1, 2, 2, 2, 2, 1, 1]
    assert find_window_starts(11, 6, 5 / 6) == [0, 5], "no window twice"
    assert find_window_starts(2048, 512, 5 / 6) == [0, 427, 854, 1281, 1536]


@given(SIDES, SIDES, SIDES, STRIDES, st.integers(1, 5))
def test_each_window_is_seen_once_and_each_pixel_as_often_as_counted(
    height: int, width: int, window: int, stride: float, batch: int
) -> None:
    seen = torch.zeros(height * width, dtype=torch.int64)
    sizes = []

    def scores(windows: Tensor) -> Tensor:
        seen.add_(torch.bincount(windows[:, 0].flatten().long(), minlength=height * width))
        sizes.append(len(windows))
        return windows.new_zeros(len(windows), 2, *windows.shape[-2:])

    places = torch.arange(height * width, dtype=torch.float64).reshape(1, height, width).expand(3, -1, -1)
    average_windows(scores, places, window=window, stride=stride, batch=batch)
    tops, lefts = (find_window_starts(length, window, stride) for length in (height, width))
    rows, columns = count_coverage(tops, min(window, height), height), count_coverage(lefts, min(window, width), width)
    assert torch.equal(seen.reshape(height, width), rows[:, None] * columns)
    assert sum(sizes) == len(tops) * len(lefts) and max(sizes) <= batch and min(sizes[:-1], default=batch) == batch


def test_overlapping_answers_are_averaged_as_probabilities() -> None:
    """Two windows, the first sure of class 0, the second undecided: where both see a pixel, (1 + 1/2) / 2."""
    answers = iter([torch.tensor([1e3, 0.0]), torch.zeros(2)])

    def scores(windows: Tensor) -> Tensor:
        return next(answers).reshape(1, 2, 1, 1).expand(1, 2, *windows.shape[-2:])

    averaged = average_windows(scores, torch.zeros(3, 2, 5), window=3, stride=2 / 3)
    assert averaged[0, 0].tolist() == [1, 1, 0.75, 0.5, 0.5]


def test_an_image_smaller_than_a_window_is_seen_as_it_is() -> None:
    shapes = []

    def scores(windows: Tensor) -> Tensor:
        shapes.append(tuple(windows.shape))
        return windows

    average_windows(scores, torch.zeros(3, 5, 20), window=8, stride=1.0, batch=2)
    assert shapes == [(2, 3, 5, 8), (1, 3, 5, 8)]


def test_what_cannot_be_a_window_is_refused() -> None:
    for window, stride in ((0, 0.5), (4, 0.0), (4, 1.1)):
        with pytest.raises(ValueError, match="expected a window of at least 1 pixel"):
            find_window_starts(10, window, stride)
    with pytest.raises(ValueError, match=r"expected scores of 4x4 pixels, found \(1, 3, 2, 2\)"):
        average_windows(lambda x: x[:, :, ::2, ::2], torch.zeros(3, 9, 9), window=4, stride=1.0)
