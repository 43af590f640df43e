"""From an image file to a tensor: one way for training, evaluation, checks and predictions.

The shorter side is resized to the wanted side (bilinear with antialiasing, as Pillow does it), then a square is cut
out. Smaller images are enlarged. What is not plain RGB becomes it: grey and palette images by their colours, 16-bit
grey by its upper eight bits, CMYK by Pillow's conversion, transparent images laid over black. An EXIF orientation is
applied, so that a photograph is seen as a viewer shows it.
"""

from __future__ import annotations

import os
import stat
from io import BytesIO
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from csg.settings import ConfigError

EXTENSIONS: Final = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of files that are taken for images, in lower case; upper case counts too."""
LONGEST: Final = 32
"""An image whose one side is longer than this many times the other is refused: resized, it would fill the memory."""
ORIENTATION: Final = 0x0112
"""The EXIF tag that says how a camera was held."""
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImageError(ConfigError):
    """A file that should be an image and cannot be used as one."""

    wanted: ClassVar[str] = "an image"
    """What the file should be, in words."""

    def __init__(self, path: Path | str, reason: str, advice: str = "") -> None:
        super().__init__(f"{path}: expected {self.wanted}, {reason}" + (f"; {advice}" if advice else ""))
        self.path = str(path)
        self.reason = reason

    def advise(self, advice: str) -> BadImageError:
        """Return the same error with a word on what to do."""
        return type(self)(self.path, self.reason, advice)

    def __reduce__(self) -> tuple[type[BadImageError], tuple[str, str]]:
        """Cross to another process as path and reason."""
        return type(self), (self.path, self.reason)


class AbsentImageError(BadImageError):
    """A file that should be an image and is not there."""


def decode(path: Path | str, side: int) -> Tensor:
    """Return the middle square of an image as (3, side, side) uint8.

    Raises:
        BadImageError: the file is absent, unreadable, damaged, cut short or no image.
    """
    return centre_crop(resized(path, side), side)


def resized(path: Path | str, side: int) -> Tensor:
    """Return an image whose shorter side is ``side``, as (3, H, W) uint8.

    Raises:
        BadImageError: see :func:`decode`.
    """
    image = _pixels(path, opened(path, read_bytes(path)), side)
    short = min(image.size)
    width, height = (max(side, round(length * side / short)) for length in image.size)
    image = _turned(image.resize((width, height), Image.Resampling.BILINEAR), _orientation(image))
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def centre_crop(image: Tensor, side: int) -> Tensor:
    """Cut the middle (3, side, side) out of (3, H, W)."""
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]


def inspect(path: Path | str, content: bytes) -> tuple[int, int]:
    """Return an image's width and height in pixels, after all of its data have passed through the decoder.

    Raises:
        BadImageError: :func:`decode` would raise it, at any side.
    """
    image = opened(path, content)
    size = image.size
    _pixels(path, image, side=1)
    return size


def read_bytes(path: Path | str) -> bytes:
    """Return a file's content.

    Raises:
        BadImageError: there is none, or it cannot be read.
    """
    try:
        mode = Path(path).stat().st_mode
        if stat.S_ISDIR(mode):
            raise BadImageError(path, "found a folder")
        if not stat.S_ISREG(mode):  # reading a pipe would never end
            raise BadImageError(path, "found a pipe or a device")
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise AbsentImageError(path, "found no such file") from None
    except OSError as error:
        raise BadImageError(path, f"cannot read it ({error.strerror})") from None
    if not content:
        raise BadImageError(path, "found an empty file")
    return content


def image_files(folder: Path | str) -> list[Path]:
    """List the image files below a folder, by their extensions, sorted; links to folders are followed, once each.

    Files and folders whose names begin with a dot are left out: some systems put thumbnails there.

    Raises:
        ConfigError: ``folder`` is no folder, or one below it cannot be listed.
    """
    if not Path(folder).is_dir():
        raise ConfigError(
            f"{folder}: expected a folder with images, found {'a file' if Path(folder).exists() else 'nothing'}"
        )
    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if is_image_name(name)]
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise ConfigError(f"{error.filename}: expected a folder that can be listed ({error.strerror})") from None


def is_image_name(name: str) -> bool:
    """Whether a file of this name is taken for an image."""
    return not name.startswith(".") and name.lower().endswith(EXTENSIONS)


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(ORIENTATION, 1)) if "exif" in image.info else 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _pixels(path: Path | str, image: Image.Image, side: int) -> Image.Image:
    """Decode to RGB; photographs at the smallest JPEG scale that leaves ``side`` pixels, which is faster."""
    try:
        image.draft(None, (side, side))
        image.load()
        return _rgb(image)
    except Exception as error:  # Pillow raises many types for damaged files
        raise BadImageError(path, f"found a damaged file ({error})") from None


def whole(path: Path | str, content: bytes, *, upright: bool = False) -> Image.Image:
    """Return an image as RGB at its full size; as it is stored, or ``upright`` by its EXIF orientation.

    Raises:
        BadImageError: see :func:`decode`.
    """
    image = opened(path, content)
    return _turned(_pixels(path, image, side=max(image.size)), _orientation(image) if upright else 1)


def opened(path: Path | str, content: bytes) -> Image.Image:
    """Return an image whose header was read; a PNG file's check sums were compared, its pixels not yet decoded.

    Raises:
        BadImageError: the content is of no image, or its one side is far longer than the other.
    """
    try:
        image = Image.open(BytesIO(content))
        if image.format == "PNG":
            # Decoding passes over the check sums, which tell a flipped bit; the file object is used up afterwards.
            image.verify()
            image = Image.open(BytesIO(content))
    except UnidentifiedImageError:
        raise BadImageError(path, f"found another kind of file that begins with {content[:12]!r}") from None
    except Exception as error:  # as above: many types
        raise BadImageError(path, f"found a damaged file ({error})") from None
    short, long = sorted(image.size)
    if short < 1 or long > LONGEST * short:
        raise BadImageError(
            path, f"found {image.size[0]}x{image.size[1]} pixels (one side may be {LONGEST} times the other at most)"
        )
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("more than 16 bits a pixel")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("pixels are fractions, whose range is unknown")
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), opaque).convert("RGB")
    return image.convert("RGB")
