"""Folders of images, synthetic and real, with one sub-folder a class: ``--data.source DIR --data.target DIR``.

Several folders of synthetic images are several sources: ``--data.source A B C``. A folder may hold shards instead (see
:mod:`csg.data.reading.shard_index`), whose labels are the names of the classes, and may then lie in a bucket.

The real images may have no labels: a target none of whose sub-folders has the name of a class of the source is a
collection of photographs, and so is ``--data.target-unlabelled``. There may be no real images at all.

An image and its mirror image are taken to show the same class, so that evaluation averages over both. Where that is
not so (digits, letters, left and right hands), ``--data.flip-averaging none`` looks at each image as it is. Training
mirrors nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from csg.config import DataConfig
from csg.data.domain import Domain, Side, find_missing_classes
from csg.data.pairs.class_folders import (
    ClassFolders,
    find_classes,
    list_class_folders,
    list_images,
    list_photographs,
    make_shard_domain,
    name_parts,
    refuse_no_folder,
    refuse_nothing,
    refuse_overlap,
)
from csg.data.pairs.class_map import read_class_map, rename_folders
from csg.data.reading.listing import list_image_names, wait_for_listing
from csg.data.reading.spelling import find_near
from csg.messages.errors import UserError
from csg.messages.wording import find_nearest, name_first
from csg.storage.address import get_last_part


def describe_images(config: DataConfig) -> str:
    """Say which images they are."""
    given = (config.target, config.target_unlabelled)
    real = [f"{get_last_part(folder)}/" for folder in given if folder is not None]
    synthetic = f"synthetic images in {' and '.join(f'{get_last_part(folder)}/' for folder in config.sources)}"
    return f"{synthetic} -> real images in {' and '.join(real)}" if real else synthetic


def read(config: DataConfig) -> tuple[Domain, ...]:
    """List all folders; the classes are the names of the sub-folders of either side, letters composed, sorted.

    Raises:
        UserError: a folder is missing or has no images in sub-folders, one lies in another, or two sub-folders of one
            have the same name.
    """
    if not config.sources:
        raise UserError("data.source: expected a folder with one sub-folder a class, found none; set --data.source DIR")
    sources = {Path(folder): list_class_folders("data.source", folder, config) for folder in config.sources}
    refuse_overlap(config)
    known = {name for found in sources.values() for name in found.names}
    target = _find_target_folders(config, known)
    classes = tuple(sorted({*known, *target.names}))
    if len(classes) < 2:
        raise UserError(f"data.source: expected sub-folders for two classes or more, found {classes[0]!r} only")
    parts = name_parts(list(sources)) if len(sources) > 1 else [""]
    domains = [
        dataclasses.replace(_read_labelled(config, "source", folder, classes, found), part=part)
        for (folder, found), part in zip(sources.items(), parts, strict=True)
    ]
    if config.target is not None:
        folder = Path(config.target)
        domains.append(
            _read_labelled(config, "target", folder, classes, target)
            if target.names
            else list_photographs(config, "data.target", folder, classes)
        )
    if config.target_unlabelled is not None:
        part = "" if config.target is None else "without labels"
        found = list_photographs(config, "data.target_unlabelled", Path(config.target_unlabelled), classes)
        domains.append(dataclasses.replace(found, part=part))
    return tuple(domains)


def read_target(config: DataConfig, classes: tuple[str, ...]) -> Domain:
    """List the folder of real images alone, for a run that knows ``classes``; some of them may have no images.

    Raises:
        UserError: there is no such folder, or a sub-folder has the name of no class.
    """
    if config.target is None:
        raise UserError("data.target: expected a folder with one sub-folder a class, found none; set --data.target DIR")
    folders = _rename(list_class_folders("data.target", config.target, config), classes, config)
    unknown = next((name for name in folders.names if name not in classes), None)
    if unknown is not None:
        near = find_near(unknown, classes) or find_nearest(unknown, classes)
        raise UserError(
            f"data.target: expected sub-folders with the names of the run's classes ({name_first(classes)}), found "
            f"{unknown!r} in {config.target}{f'; the nearest is {near!r}' if near else ''}"
        )
    lenient = dataclasses.replace(config, allow_missing_classes=True)
    return _read_labelled(lenient, "target", Path(config.target), classes, folders)


def _find_target_folders(config: DataConfig, classes: Collection[str]) -> ClassFolders:
    """Return the class folders of the real images; nothing where they have no labels, or there are none.

    Raises:
        UserError: a sub-folder's name is all but that of a class, or the class map cannot be used.
    """
    nothing = ClassFolders({})
    if config.target is None:
        if config.class_map is not None:
            raise UserError("data.class_map: expected data.target, whose sub-folders it gives names; found none")
        return nothing
    refuse_no_folder("data.target", config.target, "a folder of real images")
    folders = _rename(find_classes("data.target", config.target, config), classes, config)
    if folders.names.keys() & {*classes}:
        return folders
    for name in folders.names:
        near = find_near(name, sorted(classes))
        if near is not None:
            raise UserError(
                "data.target: expected sub-folders with the names of the source's or photographs without labels, found "
                f"{name!r} in {config.target} where the source has {near!r}: if they are the same class, give it one "
                "name or a line in data.class_map; if nobody labelled these, say so with --data.target-unlabelled "
                "instead of --data.target"
            )
    return nothing


def _rename(folders: ClassFolders, classes: Collection[str], config: DataConfig) -> ClassFolders:
    """Give the target's folders the names of the classes, as data.class_map says."""
    if config.class_map is None:
        return folders
    return rename_folders(folders, read_class_map(config.class_map), classes, config.class_map)


def _read_labelled(
    config: DataConfig, side: Side, folder: Path, classes: tuple[str, ...], folders: ClassFolders
) -> Domain:
    if folders.shards is not None:
        numbers: dict[str | None, int] = {
            on_disk: label for label, name in enumerate(classes) for on_disk in folders.names.get(name, ())
        }
        domain = make_shard_domain(config, side, classes, folders.shards, numbers)
        return dataclasses.replace(domain, faults=() if config.allow_missing_classes else find_missing_classes(domain))
    with wait_for_listing(folder) as waiting:
        labels = {
            f"{on_disk}/{name}": label
            for label, class_name in enumerate(classes)
            for on_disk in folders.names.get(class_name, ())
            for name in list_image_names(folder / on_disk, waiting)
        }
        left_out = {
            f"{on_disk}/{name}" for on_disk in folders.left_out for name in list_image_names(folder / on_disk, waiting)
        }
    refuse_nothing(f"data.{side}", labels, "images in the class folders", folder)
    domain = Domain(side, classes, list_images(config, folder, labels), (), set_aside=frozenset(left_out))
    return dataclasses.replace(domain, faults=() if config.allow_missing_classes else find_missing_classes(domain))
