"""The sensor of the real digits: NIST's character normalisation, then counts in 4x4 blocks.

scikit-learn's digits are the test set of UCI's "Optical Recognition of Handwritten Digits": scanned glyphs that went
through NIST's programs (Garris et al., NIST Form-Based Handprint Recognition System, NISTIR 5469, 1994) and were then
counted down to 8x8. The images bear it out: every one uses all eight rows, about six columns in the middle, between
185 and 433 of the 1,024 pixels, and has the left-most ink of its top and of its bottom at the same column.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

Bitmap = npt.NDArray[np.bool_]

SIDE: Final = 32
"""Side of the normalised bitmap, in pixels."""
BOX_WIDTH: Final = 20
"""Every glyph is stretched to 20x32, whatever its aspect."""
BLOCK: Final = 4
"""Side of the blocks that are counted, in pixels."""
LEVELS: Final = BLOCK * BLOCK + 1
"""Values of an 8x8 image: 0 to 16 pixels of ink."""
THIN, THINNEST, THICK, THICKEST = 256, 108, 412, 560
"""Pixels of ink below which strokes are dilated once or twice, and above which they are eroded once or twice."""
NOISY_ROWS: Final = 2
"""Rows at the top and at the bottom that do not enter the slant."""


def sense(glyph: Bitmap) -> npt.NDArray[np.uint8]:
    """Return what the sensor makes of a glyph.

    Args:
        glyph: (H, W), true where there is ink; of any size, anywhere in the frame.

    Returns:
        (8, 8) counts, 0 to 16.

    Raises:
        ValueError: there is no ink, or only specks that 20x32 pixels do not show.
    """
    bitmap = normalise_strokes(normalise_size(glyph))
    if not bitmap.any():
        raise ValueError(f"glyph: expected strokes that can be seen at {BOX_WIDTH}x{SIDE}, found only specks")
    return count_ink(deslant(bitmap))


def normalise_size(glyph: Bitmap) -> Bitmap:
    """Stretch a glyph's bounding box to 20x32 by picking nearest pixels, centred in (32, 32)."""
    rows, columns = np.flatnonzero(glyph.any(axis=1)), np.flatnonzero(glyph.any(axis=0))
    if not len(rows):
        raise ValueError(f"glyph: expected ink, found an empty bitmap of shape {glyph.shape}")
    box = glyph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    picked = box[np.ix_(_find_nearest(box.shape[0], SIDE), _find_nearest(box.shape[1], BOX_WIDTH))]
    margin = (SIDE - BOX_WIDTH) // 2
    return np.pad(picked, ((0, 0), (margin, margin)))


def normalise_strokes(bitmap: Bitmap) -> Bitmap:
    """Erode strokes that cover too much of the frame, dilate strokes that cover too little."""
    ink = int(bitmap.sum())
    for _ in range((ink > THICK) + (ink > THICKEST)):
        bitmap = ~_dilate(~bitmap, outside=True)
    for _ in range((ink < THIN) + (ink < THINNEST)):
        bitmap = _dilate(bitmap, outside=False)
    return bitmap


def deslant(bitmap: Bitmap) -> Bitmap:
    """Shear rows so that the left-most ink near the top and near the bottom stand at the same column."""
    rows = np.flatnonzero(bitmap.any(axis=1))
    top, bottom = int(rows[0]) + NOISY_ROWS, int(rows[-1]) - NOISY_ROWS
    if top >= bottom or not (bitmap[top].any() and bitmap[bottom].any()):
        return bitmap
    slant = (int(bitmap[top].argmax()) - int(bitmap[bottom].argmax())) / (bottom - top)
    shifts = np.rint((np.arange(SIDE) - SIDE // 2) * slant).astype(np.int64)
    origin = np.arange(SIDE)[None, :] - shifts[:, None]
    inside = (origin >= 0) & (origin < SIDE)
    sheared: Bitmap = np.take_along_axis(bitmap, origin.clip(0, SIDE - 1), axis=1) & inside
    return sheared


def count_ink(bitmap: Bitmap) -> npt.NDArray[np.uint8]:
    """Count the ink in 4x4 blocks: (32, 32) to (8, 8)."""
    blocks = bitmap.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK)
    counts: npt.NDArray[np.uint8] = blocks.sum(axis=(1, 3), dtype=np.uint8)
    return counts


def _find_nearest(found: int, wanted: int) -> npt.NDArray[np.int64]:
    """Which of ``found`` rows or columns are picked when ``wanted`` are needed."""
    places: npt.NDArray[np.int64] = (2 * np.arange(wanted) + 1) * found // (2 * wanted)
    return places


def _dilate(bitmap: Bitmap, *, outside: bool) -> Bitmap:
    """Or of a pixel and its four neighbours; ``outside`` is what lies beyond the frame."""
    framed = np.pad(bitmap, 1, constant_values=outside)
    return framed[1:-1, 1:-1] | framed[:-2, 1:-1] | framed[2:, 1:-1] | framed[1:-1, :-2] | framed[1:-1, 2:]
