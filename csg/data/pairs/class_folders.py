"""The sub-folders of a folder of images, a class each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from csg.data.reading.listing import is_of_system
from csg.data.reading.spelling import compose_letters
from csg.messages.errors import UserError


@dataclass(frozen=True)
class ClassFolders:
    """Folders of images by class."""

    names: dict[str, tuple[str, ...]]
    """Names on disk of the folders that hold a class's images, by the class, whose letters are composed."""
    left_out: tuple[str, ...] = ()
    """Names on disk of folders whose images are not used."""


def list_class_folders(setting: str, folder: str) -> ClassFolders:
    """List the folders of the classes.

    Raises:
        UserError: there is no such folder, it has no sub-folder, or see :func:`name_folders`.
    """
    refuse_no_folder(setting, folder, "a folder with one sub-folder a class")
    folders = name_folders(setting, folder)
    if not folders:
        raise UserError(f"{setting}: expected one sub-folder a class, found none in {folder}")
    return ClassFolders({name: (on_disk,) for name, on_disk in folders.items()})


def refuse_no_folder(setting: str, folder: str, wanted: str) -> None:
    """Refuse a setting that does not name a folder.

    Raises:
        UserError: it does not; the message says what is ``wanted``.
    """
    if not Path(folder).is_dir():
        found = "a file" if Path(folder).exists() else "nothing"
        raise UserError(f"{setting}: expected {wanted}, found {found} at {folder}")


def name_folders(setting: str, folder: str) -> dict[str, str]:
    """Return the sub-folders' names on disk by that of their class, without those that a system keeps for itself.

    Raises:
        UserError: two of them have the same name, spelt in two ways.
    """
    names = {path.name for path in Path(folder).iterdir() if path.is_dir() and not is_of_system(path.name)}
    folders: dict[str, str] = {}
    for name in sorted(names):
        other = folders.setdefault(compose_letters(name), name)
        if other != name:
            raise UserError(
                f"{setting}: expected one sub-folder a class, found two of the same name in {folder}, their letters "
                f"composed in one and not in the other ({other!a} and {name!a}); move the images of one into "
                "the other"
            )
    return folders
