"""Names of classes that differ between the two sides: a YAML file of the target's name and the source's."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from csg.config import yaml_text
from csg.data.pairs.class_folders import ClassFolders
from csg.data.reading.spelling import compose_letters
from csg.messages.errors import UserError
from csg.messages.wording import find_nearest, name_first
from csg.storage.disk import DiskPlace

WANTED: Final = "data.class_map: expected lines 'name in the target: name in the source' (or null, to leave it out)"


def read_class_map(path: str) -> dict[str, str | None]:
    """Read a file of names, their letters composed.

    Raises:
        UserError: it cannot be read, or holds something else.
    """
    try:
        content = yaml_text.load_file(DiskPlace(Path(path)).open, path, wanted=f"{WANTED}, ")
    except FileNotFoundError:
        raise UserError(f"{WANTED}, cannot read {path} (there is no such file)") from None
    if not isinstance(content, dict) or not content:
        raise UserError(f"{WANTED}, found {type(content).__name__ if content else 'nothing'} in {path}")
    odd = next((each for pair in content.items() for each in pair if not isinstance(each, (str, type(None)))), None)
    if odd is not None or None in content:
        raise UserError(f"{WANTED}, found {odd!r} in {path}; put a name that is not read as text into quotation marks")
    return {compose_letters(name): None if other is None else compose_letters(other) for name, other in content.items()}


def rename_folders(
    folders: ClassFolders, names: Mapping[str, str | None], classes: Collection[str], path: str
) -> ClassFolders:
    """Give the target's folders the names of the source's classes.

    Args:
        folders: of the target, by their own names.
        names: of :func:`read_class_map`.
        classes: of the source.
        path: of the file, for errors.

    Raises:
        UserError: a name in the file is that of no folder, or of no class.
    """
    for known, given, whose in (
        (folders.names.keys(), names.keys(), "sub-folders of the target"),
        (classes, [name for name in names.values() if name is not None], "classes of the source"),
    ):
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            near = find_nearest(unknown, known)
            raise UserError(
                f"data.class_map: expected names of {whose} ({name_first(sorted(known))}), found {unknown!r} in {path}"
                f"{f'; the nearest is {near!r}' if near else ''}"
            )
    found: dict[str, tuple[str, ...]] = {}
    left_out: tuple[str, ...] = ()
    for name, on_disk in folders.names.items():
        other = names.get(name, name)
        if other is None:
            left_out += on_disk
        else:
            found[other] = found.get(other, ()) + on_disk
    return dataclasses.replace(folders, names=found, left_out=left_out)


def propose_names(target: Collection[str], source: Collection[str]) -> dict[str, str | None]:
    """Return, for every name that only the target has, the most similar one that only the source has, or None."""
    left = sorted({*source} - {*target})
    return {name: find_nearest(name, left) or None for name in sorted({*target} - {*source})}
