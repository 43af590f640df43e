"""Folders of images: their sub-folders, a class each, and what is listed in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from csg.config import DataConfig
from csg.data.domain import Domain, Side
from csg.data.pair import IGNORED
from csg.data.reading.cache import get_cache_folder
from csg.data.reading.decoding import PixelLimit
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.listing import count_passed_over, describe_passed_over, is_of_system, list_files, list_image_names
from csg.data.reading.shard_files import find_shard_files
from csg.data.reading.shard_index import NAMES, ShardListing, find_shards, list_shards
from csg.data.reading.spelling import compose_letters
from csg.messages.errors import UserError


@dataclass(frozen=True)
class ClassFolders:
    """Folders of images by class."""

    names: dict[str, tuple[str, ...]]
    """Names on disk of the folders that hold a class's images, by the class, whose letters are composed."""
    left_out: tuple[str, ...] = ()
    """Names on disk of folders whose images are not used."""
    shards: ShardListing | None = None
    """Shards that hold the images, whose labels then take the place of folders."""


def list_class_folders(setting: str, folder: str, config: DataConfig) -> ClassFolders:
    """List the folders of the classes, or the classes of the shards that the folder has instead.

    Raises:
        UserError: there is no such folder, it has no sub-folder, or see :func:`find_classes`.
    """
    refuse_no_folder(setting, folder, "a folder with one sub-folder a class")
    found = find_classes(setting, folder, config)
    if not found.names and found.shards is not None:
        raise UserError(f"{setting}: expected .cls or .json beside the images of the shards, found none in {folder}")
    if not found.names:
        raise UserError(f"{setting}: expected one sub-folder a class, found none in {folder}")
    return found


def find_classes(setting: str, folder: str, config: DataConfig) -> ClassFolders:
    """Return the classes of a folder's sub-folders or shards; none where it has neither.

    Raises:
        UserError: see :func:`name_folders`, or :func:`csg.data.reading.shard_index.list_shards`.
    """
    if find_shards(folder):
        shards = list_shards(Path(folder), cache=get_cache_folder(config))
        return ClassFolders({name: (name,) for name in shards.names}, shards=shards)
    return ClassFolders({name: (on_disk,) for name, on_disk in name_folders(setting, folder).items()})


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
    with os.scandir(folder) as inside:
        names = {entry.name for entry in inside if entry.is_dir() and not is_of_system(entry.name)}
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


def name_parts(folders: Sequence[Path]) -> list[str]:
    """Return a name for each of several folders: as few of the last parts of its path as tell it from the others."""
    for count in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-count:]) for folder in folders]
        if len({*names}) == len(folders):
            return names
    return [str(number) for number, _ in enumerate(folders, start=1)]


def refuse_overlap(config: DataConfig) -> None:
    """Refuse a folder in which another one lies: images of one would be taken for the other's too.

    Raises:
        UserError: there is one.
    """
    given = [("data.source", folder) for folder in config.sources]
    given += [("data.target", config.target)] if config.target is not None else []
    given += [("data.target_unlabelled", config.target_unlabelled)] if config.target_unlabelled is not None else []
    for (above, folder), (below, other) in permutations(given, 2):
        if Path(other).resolve().is_relative_to(Path(folder).resolve()):
            where = "for both" if Path(other).resolve() == Path(folder).resolve() else f"which lies in {folder}"
            first, second = sorted((above, below), reverse=True)
            another = "folders that differ" if first == second else f"another folder than {second}"
            raise UserError(f"{first}: expected {another}, found {other} {where}")


def list_photographs(config: DataConfig, setting: str, folder: Path, classes: tuple[str, ...]) -> Domain:
    """List the images below a folder, which have no labels.

    Raises:
        UserError: there is no such folder, or it has no images.
    """
    refuse_no_folder(setting, str(folder), "a folder of photographs")
    if find_shards(folder):
        shards = list_shards(folder, cache=get_cache_folder(config))
        return make_shard_domain(config, "target", classes, shards, dict.fromkeys((None, *shards.names), IGNORED))
    labels = dict.fromkeys(list_image_names(folder), IGNORED)
    refuse_nothing(setting, labels, "images", folder)
    return Domain("target", classes, list_images(config, folder, labels), ())


def make_shard_domain(
    config: DataConfig, side: Side, classes: tuple[str, ...], shards: ShardListing, labels: Mapping[str | None, int]
) -> Domain:
    """Return the images of shards as a side.

    Args:
        config: how images are read.
        side: of the pair.
        classes: of the pair.
        shards: what they hold.
        labels: the number of the classes, by their names in the shards, or of None; other images are left out.

    Raises:
        UserError: there are no such images.
    """
    files = find_shard_files(shards, labels, cache=get_cache_folder(config), limit=PixelLimit.of(config))
    if not len(files):
        raise UserError(f"data.{side}: expected images in the shards, found none in {shards.folder}")
    return Domain(side, classes, files, (), set_aside=frozenset([*shards.shards, NAMES]))


def refuse_nothing(setting: str, labels: Mapping[str, int], wanted: str, folder: Path) -> None:
    """Refuse a folder in which no image was found.

    Raises:
        UserError: none was; the message says what was ``wanted``, and which files were passed over.
    """
    if not labels:
        passed_over = describe_passed_over(count_passed_over(list_files(folder), folder))
        raise UserError(f"{setting}: expected {wanted}, found none in {folder}" + (passed_over and f" ({passed_over})"))


def list_images(config: DataConfig, folder: Path, labels: dict[str, int]) -> ImageFiles:
    """Look up the files of images below a folder, each with its class."""
    limit = PixelLimit.of(config)
    return ImageFiles.of(str(folder), labels, cache=get_cache_folder(config), limit=limit)
