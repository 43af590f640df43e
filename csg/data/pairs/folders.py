"""Two folders of images, synthetic and real, with one sub-folder a class: ``--data.source DIR --data.target DIR``.

An image and its mirror image are taken to show the same class, so that evaluation averages over both. Where that is
not so (digits, letters, left and right hands), ``--data.flip-averaging none`` looks at each image as it is. Training
mirrors nothing.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from csg.config import DataConfig
from csg.data.domain import Domain, find_missing_classes
from csg.data.reading.cache import cache_folder
from csg.data.reading.decoding import PixelLimit
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.listing import count_passed_over, describe_passed_over, image_files, is_of_system, list_files
from csg.data.reading.spelling import compose_letters
from csg.messages.errors import UserError


def title(config: DataConfig) -> str:
    """Say which images they are."""
    return f"synthetic images in {Path(str(config.source)).name}/ -> real images in {Path(str(config.target)).name}/"


def read(config: DataConfig) -> tuple[Domain, Domain]:
    """List both folders; the classes are the names of the sub-folders of either, letters composed, sorted.

    Raises:
        UserError: a folder is missing or has no images in sub-folders, both are the same, or two sub-folders of one
            have the same name.
    """
    source, target = (_class_folders(config, side) for side in ("source", "target"))
    if Path(str(config.source)).resolve() == Path(str(config.target)).resolve():
        raise UserError(f"data.target: expected another folder than data.source, found {config.target} for both")
    classes = tuple(sorted({*source, *target}))
    if len(classes) < 2:
        raise UserError(f"data.source: expected sub-folders for two classes or more, found {classes[0]!r} only")
    return _domain(config, "source", classes, source), _domain(config, "target", classes, target)


def _class_folders(config: DataConfig, side: str) -> dict[str, str]:
    """Return the sub-folders' names on disk by that of their class, without those that a system keeps for itself."""
    given: str | None = getattr(config, side)
    if given is None:
        raise UserError(
            f"data.{side}: expected a folder with one sub-folder a class, found none; set --data.{side} DIR"
        )
    if not Path(given).is_dir():
        found = "a file" if Path(given).exists() else "nothing"
        raise UserError(f"data.{side}: expected a folder with one sub-folder a class, found {found} at {given}")
    names = {path.name for path in Path(given).iterdir() if path.is_dir() and not is_of_system(path.name)}
    if not names:
        raise UserError(f"data.{side}: expected one sub-folder a class, found none in {given}")
    folders: dict[str, str] = {}
    for name in sorted(names):
        other = folders.setdefault(compose_letters(name), name)
        if other != name:
            raise UserError(
                f"data.{side}: expected one sub-folder a class, found two of the same name in {given}, their letters "
                f"composed in one and not in the other ({other!a} and {name!a}); move the images of one into "
                "the other"
            )
    return folders


def _domain(
    config: DataConfig, side: Literal["source", "target"], classes: tuple[str, ...], folders: dict[str, str]
) -> Domain:
    folder = Path(getattr(config, side))
    labels = {
        str(path.relative_to(folder)): label
        for label, name in enumerate(classes)
        if name in folders
        for path in image_files(folder / folders[name])
    }
    if not labels:
        passed_over = describe_passed_over(count_passed_over(list_files(folder), folder))
        raise UserError(
            f"data.{side}: expected images in the class folders, found none in {folder}"
            + (passed_over and f" ({passed_over})")
        )
    limit = PixelLimit(config.max_megapixels)
    files = ImageFiles.of(str(folder), labels, cache=cache_folder(config), limit=limit)
    domain = Domain(side, classes, files, ())
    return dataclasses.replace(domain, faults=() if config.allow_missing_classes else find_missing_classes(domain))
