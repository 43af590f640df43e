"""From an image file to a tensor: one way for training, evaluation, checks and predictions.

The image is turned as its orientation says, so that it is seen as a viewer shows it; the shorter side is resized to the
wanted side (bilinear with antialiasing, as Pillow does it), then a square is cut out. Smaller images are enlarged. What
is not plain RGB becomes it (:mod:`csg.data.reading.rgb`). Of an image with several frames or pages the first counts.
"""

from __future__ import annotations

import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Final

import numpy as np
import torch
from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError
from torch import Tensor

from csg.config import DataConfig
from csg.data.fault import AbsentImageError, BadImageError
from csg.data.reading.listing import list_image_formats
from csg.data.reading.rgb import SIDEWAYS, convert_to_rgb, read_orientation, turn_upright
from csg.messages.faults import is_file_fault

LONGEST: Final = 32
"""An image whose one side is longer than this many times the other is refused: resized, it would fill the memory."""
ONE_PICTURE: Final = ("MPO", "PSD")
"""Formats whose further frames are previews or layers of one picture."""

# Pillow's own limits are for a whole process, refuse large photographs as attacks and warn of others.
Image.MAX_IMAGE_PIXELS = None
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY  # of a colour profile or a text within a PNG file
# EXIF data that it cannot read; what is in them is not needed.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class PixelLimit:
    """How many pixels an image may have, so that it fits into memory, and the largest value of a grey one."""

    megapixels: int = DataConfig.max_megapixels
    setting: str = "data.max_megapixels"
    """What raises the limit."""
    grey_bits: int = DataConfig.grey_bits
    """Bits that the values of 16-bit grey images use: with 12 of them, 4,095 is white."""

    @classmethod
    def of(cls, config: DataConfig) -> PixelLimit:
        """Return the limit that settings name."""
        return cls(config.max_megapixels, grey_bits=config.grey_bits)

    def explain_refusal(self, size: tuple[int, int]) -> str | None:
        """Say why an image of this width and height is not decoded; None where it is."""
        if size[0] * size[1] <= self.megapixels * 1_000_000:
            return None
        return (
            f"found {size[0]:,}x{size[1]:,} pixels, more than the {self.megapixels:,} megapixels that {self.setting} "
            f"admits; raise it to {-(-size[0] * size[1] // 1_000_000):,}, or reduce the image"
        )


USUAL_LIMIT: Final = PixelLimit()


@dataclass(frozen=True)
class Inspection:
    """What an image showed when all of it was decoded."""

    size: tuple[int, int]
    """Width and height in pixels, as a viewer shows it."""
    several_frames: bool
    """Whether more frames or pages follow the one that counts."""


def decode(path: Path | str, side: int, limit: PixelLimit = USUAL_LIMIT) -> Tensor:
    """Return the middle square of an image as (3, side, side) uint8.

    Raises:
        BadImageError: the file is absent, unreadable, damaged, cut short or no image, or has more pixels than ``limit``
            admits.
    """
    return centre_crop(read_resized(path, side, limit)[0], side)


def read_resized(
    path: Path | str, side: int, limit: PixelLimit = USUAL_LIMIT, content: bytes | None = None
) -> tuple[Tensor, bool]:
    """Return an image whose shorter side is ``side``, as (3, H, W) uint8, and whether further frames or pages follow.

    ``content`` is the file's, where it was read.

    Raises:
        BadImageError: see :func:`decode`.
    """
    image = open_image(path, read_bytes(path) if content is None else content, limit)
    fitted, _ = _fit(path, image, side, limit.grey_bits)
    pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1).contiguous()
    return pixels, _has_several_frames(image)


def centre_crop(image: Tensor, side: int) -> Tensor:
    """Cut the middle (3, side, side) out of (3, H, W)."""
    top, left = (image.shape[1] - side) // 2, (image.shape[2] - side) // 2
    return image[:, top : top + side, left : left + side]


def inspect(path: Path | str, content: bytes, limit: PixelLimit = USUAL_LIMIT) -> Inspection:
    """Pass all of an image's data through the decoder, as :func:`read_resized` does.

    Raises:
        BadImageError: :func:`decode` would raise it, at any side.
    """
    image = open_image(path, content, limit)
    _, size = _fit(path, image, 1, limit.grey_bits)
    return Inspection(size, _has_several_frames(image))


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
        if not is_file_fault(error):
            raise  # the file may not be passed over
        raise BadImageError(path, f"cannot read it ({error.strerror})") from None
    if not content:
        raise BadImageError(path, "found an empty file")
    return content


def read_whole(
    path: Path | str, limit: PixelLimit = USUAL_LIMIT, content: bytes | None = None
) -> tuple[Image.Image, bool]:
    """Return an image as RGB at its full size, as a viewer shows it, and whether more frames or pages follow it.

    ``content`` is the file's, where it was read.

    Raises:
        BadImageError: see :func:`decode`.
    """
    image = open_image(path, read_bytes(path) if content is None else content, limit)
    picture, orientation, _ = _decode_pixels(path, image, None, limit.grey_bits)
    return turn_upright(picture, orientation), _has_several_frames(image)


def decode_stored(path: Path | str, content: bytes, limit: PixelLimit = USUAL_LIMIT) -> tuple[Image.Image, int]:
    """Return an image as RGB at its full size, as it is stored, and the EXIF orientation that a viewer would apply.

    Raises:
        BadImageError: see :func:`decode`.
    """
    picture, orientation, _ = _decode_pixels(path, open_image(path, content, limit), None, limit.grey_bits)
    return picture, orientation


def open_image(path: Path | str, content: bytes, limit: PixelLimit = USUAL_LIMIT) -> Image.Image:
    """Return an image whose header was read; a PNG file's check sums were compared, its pixels not yet decoded.

    Raises:
        BadImageError: the content is of no image, its one side is far longer than the other, or it has more pixels than
            ``limit``.
    """
    with refuse_broken(path):
        try:
            image = _open(BytesIO(content))
        except UnidentifiedImageError:
            raise BadImageError(path, f"found another kind of file that begins with {content[:12]!r}") from None
        short, long = sorted(image.size)
        if short < 1 or long > LONGEST * short:
            found = f"{image.size[0]}x{image.size[1]} pixels"
            raise BadImageError(path, f"found {found} (one side may be {LONGEST} times the other at most)")
        refusal = limit.explain_refusal(image.size)
        if refusal is not None:
            raise BadImageError(path, refusal)
        if image.format == "PNG":
            # Decoding passes over the check sums, which tell a flipped bit; the file object is used up afterwards.
            image.verify()
            image = _open(BytesIO(content))
    return image


def _has_several_frames(image: Image.Image) -> bool:
    try:
        return image.format not in ONE_PICTURE and bool(getattr(image, "is_animated", False))
    except MemoryError:
        raise
    except Exception:  # a damaged frame that is not used
        return False


def _open(file: IO[bytes]) -> Image.Image:
    return Image.open(file, formats=list_image_formats())


def _fit(path: Path | str, image: Image.Image, side: int, grey_bits: int) -> tuple[Image.Image, tuple[int, int]]:
    """Return an upright RGB image whose shorter side is ``side``, and width and height as they were."""
    picture, orientation, size = _decode_pixels(path, image, side, grey_bits)
    if orientation in SIDEWAYS:
        size = size[::-1]
    with refuse_broken(path):
        width, height = (max(side, round(length * side / min(size))) for length in size)
        # Turned first, an image is the same to the last bit as one that was stored upright.
        return turn_upright(picture, orientation).resize((width, height), Image.Resampling.BILINEAR), size


def _decode_pixels(
    path: Path | str, image: Image.Image, side: int | None, grey_bits: int
) -> tuple[Image.Image, int, tuple[int, int]]:
    """Decode to RGB as it is stored; return it with its orientation, and its full width and height.

    Photographs are decoded at the smallest JPEG scale that leaves ``side`` pixels, which is faster.
    """
    with refuse_broken(path):
        coding = str(image.tile[0].args) if isinstance(image, ImageFile.ImageFile) and image.tile else ""
        size = image.size
        if side is not None:
            image.draft(None, (side, side))
        expected = image.size
        image.load()
        if image.size != expected:  # Pillow turns some TIFF files itself, and knows some sizes only now
            size = image.size
        return convert_to_rgb(image, coding, grey_bits), read_orientation(image), size


@contextmanager
def refuse_broken(path: Path | str, kind: type[BadImageError] = BadImageError) -> Iterator[None]:
    """Name the file in whatever Pillow raises, which is of many types for damaged files; not in a lack of memory."""
    try:
        yield
    except (BadImageError, MemoryError):
        raise
    except Exception as error:
        raise kind(path, f"found a damaged file ({error})") from None
