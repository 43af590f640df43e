"""Rendered images on disk: made once, shared by processes, checked when read."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from csg.data.reading.cache import write_cached

Images = npt.NDArray[np.uint8]


def load_or_render(
    path: Path, *, shapes: Mapping[str, tuple[int, ...]], render: Callable[[str], Images]
) -> dict[str, Images]:
    """Return the uint8 arrays that ``path`` holds; if it does not hold all of them, render and store them.

    Args:
        path: .npz file in the folder ``data.cache``; its name must change with whatever changes the images.
        shapes: the shape that each array must have, by its name.
        render: makes the array of a name.

    Raises:
        UserError: the arrays have to be stored, and the folder cannot be written.
    """
    arrays = _read(path, shapes)
    if arrays is None:
        arrays = {name: render(name) for name in shapes}
        with write_cached(path) as file:
            np.savez(file, allow_pickle=False, **arrays)
    return arrays


def _read(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Images] | None:
    """Return the arrays, or None if the file is absent, damaged or holds something else."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in shapes}
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    whole = all(array.dtype == np.uint8 and array.shape == shapes[name] for name, array in arrays.items())
    return arrays if whole else None
