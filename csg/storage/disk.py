"""Results on a disk: of this machine, or one that machines share."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from csg.storage.files import find_leftovers, name_file_in_errors
from csg.storage.place import ConflictError, Place, Stamp


@dataclass(frozen=True)
class DiskPlace(Place):
    """A file or a folder on a disk."""

    path: Path
    poll_seconds = 0.0
    makes_folders = False

    @property
    def local(self) -> Path:
        return self.path

    def __truediv__(self, name: str) -> DiskPlace:
        return DiskPlace(self.path / name)

    def __str__(self) -> str:
        return str(self.path)

    def open(self) -> BinaryIO:
        try:
            return self.path.open("rb")
        except NotADirectoryError as error:  # a file where a folder was expected: whoever writes will say so
            raise FileNotFoundError(*error.args) from None

    def _put(self, temporary: Path) -> None:
        temporary.replace(self.path)

    def append(self, data: bytes, *, after: bytes | bytearray) -> None:
        with name_file_in_errors(self.path), self.path.open("ab", buffering=0) as file:
            size = file.tell()
            if size != len(after):
                raise ConflictError(str(self))
            try:
                while data:
                    data = data[file.write(data) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(size)
                raise

    def stamp(self) -> Stamp | None:
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Stamp(found.st_size, found.st_mtime)

    def list_names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        for left in find_leftovers(self.path):
            left.unlink(missing_ok=True)

    def reach(self, setting: str, *, writing: bool) -> None:
        """Ask nothing: :meth:`make_folder` and :meth:`open` say what is wrong with a disk."""
