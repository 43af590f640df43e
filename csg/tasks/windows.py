"""Sliding-window evaluation: a network sees windows of an image, and overlapping answers are averaged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

Scores = Callable[[Tensor], Tensor]
"""(n, 3, h, w) -> (n, C, h, w)."""


def find_window_starts(length: int, window: int, stride: float) -> list[int]:
    """Return where windows begin along one side of an image.

    Args:
        length: pixels of that side.
        window: pixels of a window's side.
        stride: step between windows as a share of ``window``, above 0 and at most 1; rounded to pixels, at least one.

    Returns:
        Ascending places, all different; the last window is flush with the border. Only 0 where the window covers all.

    Raises:
        ValueError: a window below one pixel, or a stride that would skip pixels or stand still.
    """
    if window < 1 or not 0 < stride <= 1:
        raise ValueError(
            f"expected a window of at least 1 pixel and a stride above 0, at most 1; found {window} and {stride}"
        )
    if length <= window:
        return [0]
    step = max(1, round(stride * window))
    last = length - window
    return [min(number * step, last) for number in range(math.ceil(last / step) + 1)]


def list_windows(height: int, width: int, *, window: int, stride: float) -> list[tuple[int, int]]:
    """Return the top and left corner of every window of an image, in reading order; see :func:`find_window_starts`."""
    return list(
        itertools.product(find_window_starts(height, window, stride), find_window_starts(width, window, stride))
    )


@torch.no_grad()
def average_windows(scores: Scores, image: Tensor, *, window: int, stride: float, batch: int = 1) -> Tensor:
    """Average the class probabilities of all windows that see a pixel.

    A side shorter than the window is evaluated whole, without padding: windows are (min(window, H), min(window, W)).
    Beside the result, only ``batch`` windows and their scores are held at a time.

    Args:
        scores: gives logits at its input's size.
        image: (3, H, W), prepared for the network.
        window: side of the square windows, in pixels.
        stride: step between windows as a share of ``window``.
        batch: windows a forward pass.

    Returns:
        (C, H, W), summing to 1 over the classes at every pixel.

    Raises:
        ValueError: see :func:`find_window_starts`; or ``scores`` answers at another size than it was asked.
    """
    height, width = image.shape[-2:]
    high, wide = min(window, height), min(window, width)
    places = list_windows(height, width, window=window, stride=stride)
    total: Tensor | None = None
    for first in range(0, len(places), batch):
        corners = places[first : first + batch]
        answer = scores(torch.stack([image[:, top : top + high, left : left + wide] for top, left in corners]))
        if answer.shape[-2:] != (high, wide):
            raise ValueError(f"expected scores of {high}x{wide} pixels, found {tuple(answer.shape)}")
        probabilities = answer.softmax(dim=1)
        if total is None:
            total = probabilities.new_zeros(probabilities.shape[1], height, width)
        for (top, left), part in zip(corners, probabilities, strict=True):
            total[:, top : top + high, left : left + wide] += part
    assert total is not None
    rows, columns = (
        count_coverage(find_window_starts(length, window, stride), side, length).to(total)
        for side, length in ((high, height), (wide, width))
    )
    return total.div_(rows[:, None]).div_(columns)


def count_coverage(starts: list[int], side: int, length: int) -> Tensor:
    """Count the windows over each of ``length`` places: (length,) int64, at least 1 everywhere.

    In two dimensions a pixel is seen by its row's count times its column's.
    """
    counts = torch.zeros(length, dtype=torch.int64)
    for start in starts:
        counts[start : start + side] += 1
    return counts
