"""From what an image file holds to RGB as a viewer shows it: colours, transparency, orientation.

Grey and palette images become RGB by their colours, 16-bit grey by the upper eight of the bits that it uses, CMYK by
Pillow's conversion; transparent images lie over black. Gamma and colour profiles are not applied.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from PIL import Image

ORIENTATION: Final = 0x0112
"""The EXIF tag that says how a camera was held."""
PHOTOMETRIC: Final = 0x0106
"""The TIFF tag that says what a value means; 0 where the smallest is white."""
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns an image of an orientation; 1 is upright."""
SIDEWAYS: Final = (5, 6, 7, 8)
"""Orientations that exchange width and height."""


def read_orientation(image: Image.Image) -> int:
    """Return a decoded image's orientation, 1 to 8; what cannot be read, or is none of them, counts as upright.

    Not to be asked before the image was decoded, since a PNG file may have it behind the pixels. (Pillow has turned a
    TIFF file by then.)
    """
    try:
        found = image.getexif().get(ORIENTATION)
    except Exception:  # EXIF data are written by many programs, and Pillow raises many types
        return 1
    return found if isinstance(found, int) and found in UPRIGHT else 1


def turn_upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn or mirror an image as its orientation says."""
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def convert_to_rgb(image: Image.Image, coding: str, grey_bits: int = 16) -> Image.Image:
    """Convert a decoded image to RGB.

    Args:
        image: of any mode.
        coding: how Pillow names the file's pixels before they are decoded.
        grey_bits: bits that the values of 16-bit grey images use.

    Raises:
        ValueError: its pixels are fractions, or more than 16 bits, or of a 16-bit grey image more than it may use.
    """
    if image.mode == "F":
        raise ValueError("pixels are fractions, whose range is unknown")
    clear = _clear_value(image, coding)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("more than 16 bits a pixel")
        white = (1 << grey_bits) - 1
        if values.max() > white:
            raise ValueError(
                f"a grey value of {values.max():,}, where data.grey_bits={grey_bits} means {white:,} for white"
            )
        if clear is not None:
            values = np.where(values == clear, 0, values)
        if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:
            values = white - values
        return Image.fromarray((values >> (grey_bits - 8)).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        if clear is not None:
            image.info["transparency"] = clear
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), opaque).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _clear_value(image: Image.Image, coding: str) -> int | tuple[int, ...] | bytes | None:
    """Return the value or colour that is transparent, on the scale of the decoded pixels; a PNG file has its own."""
    clear: int | tuple[int, ...] | bytes | None = image.info.get("transparency")
    if isinstance(clear, int) and coding in ("L;2", "L;4"):
        return clear * (85 if coding == "L;2" else 17)
    if isinstance(clear, tuple) and coding == "RGB;16B":
        return tuple(value >> 8 for value in clear)
    return clear
