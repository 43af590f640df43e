"""Images as they are once they are decoded and resized, kept on disk where decoding cannot keep pace with the device.

An image is found by the SHA-256 of its file and by all that decides what becomes of it, so that it is the same to the
last bit as one that is decoded anew. What is kept is never removed: when as many bytes are full as the settings admit,
no more are added. Every epoch looks at every image once, so that no other choice would find more of them.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
import zlib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import PIL
import torch
from PIL import features
from torch import Tensor

from csg.config import DataConfig
from csg.data.reading.cache import get_cache_folder, write_cached
from csg.storage.files import LEFTOVER_SECONDS, TEMPORARY

VERSION: Final = 1
"""Raise it whenever the same file would be decoded or resized otherwise."""
FOLDERS: Final = 256
"""Over which images are spread by the first byte of their file's SHA-256; each may hold as much as the others."""
SHARE: Final = 16
"""A process counts a folder's bytes anew when it has added one part in so many of the room that there was."""
DECODERS: Final = ("jpg", "libjpeg_turbo", "jpg_2000", "webp", "avif", "zlib", "zlib_ng", "libtiff")
"""What Pillow calls the libraries that decode; jpg alone is the number of an interface, whichever library has it."""
_HEADER: Final = struct.Struct("<III?")
"""CRC-32 of the pixels, height and width, and whether the file has further frames or pages."""


class ResizedImages:
    """What ``data.resized_gigabytes`` keeps; several processes may read and write it at once."""

    def __init__(self, folder: Path, *, capacity: int, what: str) -> None:
        """Take where images are kept, and how many.

        Args:
            folder: that nothing else lies in.
            capacity: bytes; of several processes that write at once, each may add a part in ``SHARE`` more.
            what: names all that decides what becomes of an image, but for its file.
        """
        self._folder, self._capacity = folder, capacity // FOLDERS
        self._what = hashlib.sha256(what.encode()).hexdigest()[:8]
        self._room: dict[Path, tuple[int, int]] = {}
        """Bytes that are left in a folder as far as is known, and when they were counted."""
        self._full: set[Path] = set()

    @classmethod
    def of(cls, config: DataConfig) -> ResizedImages | None:
        """Return what settings ask for; None where that is nothing."""
        if not config.resized_gigabytes:
            return None
        what = f"{VERSION} {name_decoders()} {config.image_size} {config.grey_bits} {config.max_megapixels}"
        return cls(get_cache_folder(config) / "resized", capacity=config.resized_gigabytes * 10**9, what=what)

    def read(self, digest: bytes) -> tuple[Tensor, bool] | None:
        """Return what :func:`csg.data.reading.decoding.read_resized` does; None where it is not kept, or damaged.

        ``digest`` is the SHA-256 of the image's file.
        """
        try:
            content = bytearray(self._get_path(digest).read_bytes())
            check, height, width, several_frames = _HEADER.unpack_from(content)
        except (OSError, struct.error):
            return None
        pixels = memoryview(content)[_HEADER.size :]
        if len(pixels) != 3 * height * width or zlib.crc32(pixels) != check:
            return None
        return torch.frombuffer(pixels, dtype=torch.uint8).view(3, height, width), several_frames

    def keep(self, digest: bytes, image: Tensor, *, several_frames: bool) -> None:
        """Keep a (3, H, W) uint8 image and whether further frames follow, unless there is no room.

        Raises:
            UserError: the cache cannot be written to.
            OSError: the machine is short of something, such as space.
        """
        path = self._get_path(digest)
        if not self._take_room(path.parent, _HEADER.size + image.numel()):
            return
        pixels = image.numpy().tobytes()
        with write_cached(path, sync=False) as file:
            file.write(_HEADER.pack(zlib.crc32(pixels), *image.shape[1:], several_frames) + pixels)

    def _take_room(self, folder: Path, size: int) -> bool:
        """Take as many bytes of what is left in a folder; false where it is full, which it stays."""
        if folder in self._full:
            return False
        left, counted = self._room.get(folder, (0, 0))
        if left <= counted - counted // SHARE:
            left = counted = self._capacity - _count_bytes(folder)
        if size > left:
            self._full.add(folder)
            return False
        self._room[folder] = left - size, counted
        return True

    def _get_path(self, digest: bytes) -> Path:
        return self._folder / f"{digest[0]:02x}" / f"{digest.hex()}-{self._what}"


def name_decoders() -> str:
    """Return the versions of all that turns a file's bytes into pixels."""
    try:
        heif = version("pillow-heif")
    except PackageNotFoundError:
        heif = ""
    return " ".join([PIL.__version__, *(f"{name}={features.version(name)}" for name in DECODERS), f"heif={heif}"])


def _count_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder, 0 where there is none; what kills left long ago is removed."""
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as inside:
        for entry in inside:
            with suppress(FileNotFoundError, PermissionError):  # moved to its place meanwhile, or of somebody else
                found = entry.stat()
                if TEMPORARY.fullmatch(entry.name) and time.time() - found.st_mtime > LEFTOVER_SECONDS:
                    Path(entry.path).unlink()
                else:
                    total += found.st_size
    return total
