"""From the ids in a label file to classes: the table of Cityscapes, which GTA5 shares.

Of the ids that Cityscapes defines, 19 are the classes of its benchmark; the others are void, which neither trains nor
counts. An id that it does not define is an error: the file then follows another table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from csg.data.decoding import USUAL_LIMIT, BadImageError, PixelLimit, opened

CLASSES: Final = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
"""In the order of Cityscapes' ``trainId``."""
CLASS_IDS: Final = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' ``labelIds`` of the classes, in their order."""
DEFINED_IDS: Final = (*range(35), 255)
"""Cityscapes' ``labelIds`` as bytes. The licence plate's is -1, which as a byte is 255; in GTA5's files it is 34."""
VOID: Final = 255
"""Of no class, in a map of bytes."""
_UNKNOWN: Final = 254

Bytes = npt.NDArray[np.uint8]


class BadMapError(BadImageError):
    """A file that should be a label map and cannot be used as one."""

    wanted = "a label map"


class UnknownIdError(BadMapError):
    """A label map with an id that its table does not have."""


def _table(classes: dict[int, int]) -> Bytes:
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    for found, label in classes.items():
        table[found] = label
    return table


LABEL_IDS: Final[Bytes] = _table(dict.fromkeys(DEFINED_IDS, VOID) | {one: i for i, one in enumerate(CLASS_IDS)})
"""(256,) classes by ``labelIds``."""
TRAIN_IDS: Final[Bytes] = _table({VOID: VOID} | {label: label for label in range(len(CLASSES))})
"""(256,) classes by ``labelTrainIds``, which are the classes themselves and 255 for void."""


def class_map(path: Path | str, content: bytes, table: Bytes, limit: PixelLimit = USUAL_LIMIT) -> Bytes:
    """Return the class of every pixel of a label file.

    Args:
        path: names the file in errors.
        content: of a PNG file whose pixels are ids: one byte each, grey or with a palette, which is not looked at.
        table: :data:`LABEL_IDS` or :data:`TRAIN_IDS`.
        limit: how many pixels there may be.

    Returns:
        (H, W) classes, :data:`VOID` where there is none.

    Raises:
        UnknownIdError: an id is not in the table.
        BadImageError: the file is damaged, or its pixels are no ids.
    """
    image = opened(path, content, limit)
    if image.mode not in ("L", "P"):
        raise BadMapError(path, f"found pixels of mode {image.mode}, not ids of one byte (grey or with a palette)")
    try:
        ids: Bytes = np.asarray(image)
    except Exception as error:  # Pillow raises many types for damaged files
        raise BadMapError(path, f"found a damaged file ({error})") from None
    classes: Bytes = table[ids]
    unknown = np.unique(ids[classes == _UNKNOWN]).tolist()
    if unknown:
        which = "labelTrainIds" if table is TRAIN_IDS else "labelIds"
        ids_found = ", ".join(map(str, unknown[:8])) + (" and more" if len(unknown) > 8 else "")
        raise UnknownIdError(path, f"found ids that Cityscapes' {which} do not have: {ids_found}")
    return classes
