"""What validators look at of an image with a class for every pixel: some places of one of its windows.

Which window and which places is a function of the image's number in its stream alone, so that every epoch, every run
and every process looks at the same.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from csg.config import DataConfig
from csg.metrics.places import choose_places, rows_of_places
from csg.models.model import Output
from csg.randomness import make_generator
from csg.tasks.measurement import Rows
from csg.tasks.windows import list_windows

PLACES: Final = 2000
"""Places of a whole stream, about: what clusterings and neighbours are computed on in a second."""
SEED: Final = 29


def choose_window(index: int, windows: int) -> int:
    """Choose one of an image's windows, by the image's number."""
    return int(make_generator(SEED, "window", index).integers(windows))


def cut_window(image: Tensor, index: int, config: DataConfig) -> Tensor:
    """Cut the window of :func:`choose_window` out of image ``index``: (3, H, W) -> (3, h, w)."""
    height, width = image.shape[-2:]
    side = config.window_side
    windows = list_windows(height, width, window=side, stride=config.window_stride)
    top, left = windows[choose_window(index, len(windows))]
    return image[:, top : top + min(side, height), left : left + min(side, width)]


def probe_window(output: Output, index: int, *, images: int) -> Rows:
    """Return the rows of some places of image ``index`` of ``images``.

    Args:
        output: of the image's window alone.
        index: number of the image in its stream.
        images: number of images of the stream, among which ``PLACES`` are divided.
    """
    height, width = output.maps[-1].shape[-2:]
    places = choose_places(1, height=height, width=width, limit=max(1, PLACES // images), seed=index)
    points = (places[:, 1:].double() + 0.5) / torch.tensor([height, width])
    logits, features = read_points(output.logits, output.maps[-1], points)
    return Rows(torch.full((len(points),), index), points, logits.cpu(), features.cpu())


def read_points(logits: Tensor, maps: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits and the features of one window at points; see :func:`~csg.metrics.places.rows_of_places`.

    Args:
        logits: (1, C, H, W).
        maps: (1, D, h, w).
        points: (P, 2) shares of the window's height and width.
    """
    cells = find_cells(points, maps)
    return rows_of_places(logits, maps, places=torch.column_stack([torch.zeros(len(cells), dtype=torch.int64), cells]))


def find_cells(points: Tensor, grid: Tensor) -> Tensor:
    """Return the (P, 2) rows and columns of a (..., h, w) grid that points lie in."""
    return (points * torch.tensor(grid.shape[-2:])).long()
