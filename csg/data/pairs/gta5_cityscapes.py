"""GTA5 -> Cityscapes: street scenes out of a game and out of a car, with a class for every pixel.

Both lie as they are published. ``data.source`` is the folder of GTA5 with ``images/NNNNN.png`` and
``labels/NNNNN.png``, ``data.target`` that of Cityscapes with ``leftImg8bit/SPLIT/CITY/..._leftImg8bit.png`` and
``gtFine/SPLIT/CITY/..._gtFine_labelIds.png`` for the splits ``train`` and ``val``. Maps of training ids are read too:
files that end in ``_labelTrainIds.png`` where there are no others (with ``data.source_ids`` and ``data.target_ids`` of
train_ids, first of all), and with that setting any others. What has no partner, or one of another size, is reported and
left out.

target/test is the published ``val``, target/val a part of the published ``train``: so many as
``data.target_val_fraction`` says. source/val is a part of GTA5, and source/train the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from csg.config import DataConfig, Ids
from csg.data.maps.domain import MapDomain, pair_maps
from csg.data.maps.files import TRAIN_IDS_END, FileMapStream
from csg.data.maps.label_maps import CLASSES
from csg.data.maps.shifted import ShiftedMaps
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair
from csg.data.reading.cache import cache_folder
from csg.data.reading.decoding import PixelLimit
from csg.data.reading.listing import count_passed_over, describe_passed_over, image_files, list_files
from csg.data.reading.spelling import compose_letters
from csg.data.splitting import SEED, choose_part
from csg.messages.errors import UserError
from csg.messages.wording import pluralize
from csg.randomness import generator

PICTURES: Final = "leftImg8bit"
LABELS: Final = "gtFine"
TRAIN, VAL = "train", "val"
COMPANIONS: Final = re.compile(
    rf"({PICTURES}|{LABELS})/test/.+"
    rf"|{LABELS}/({TRAIN}|{VAL})/.+_gtFine_(color|instanceIds|instanceTrainIds|labelIds|labelTrainIds|polygons)\.\w+"
    r"|README|license\.txt"
)
"""Paths below the folder of Cityscapes of what it is published with, or its scripts make, beside what is read here."""


def read(config: DataConfig) -> tuple[MapDomain, MapDomain]:
    """List both sides and compare the sizes of images and label maps.

    Raises:
        UserError: ``data.source``, ``data.target`` or a folder below them is missing or has no pairs; or
            ``data.cache`` cannot be written to.
    """
    if len(config.sources) > 1:
        raise UserError(f"data.source: expected one folder with data.name={config.name}, found {len(config.sources)}")
    source, target = _gta5(config), read_target(config)
    if Path(source.files.folder).resolve() == Path(target.files.folder).resolve():
        raise UserError(f"data.target: expected another folder than data.source, found {config.target} for both")
    return source, target


def make_pair(domains: Sequence[MapDomain], config: DataConfig) -> Pair:
    """Split both sides into streams, the same way each time.

    Raises:
        UserError: ``data.source_images`` are more than there are, or a stream would be empty.
    """
    source, target = domains
    held_out, rest = share(torch.arange(len(source.files)), config.source_val_fraction, "source")
    if config.source_images is not None:
        rest = rest[choose_part(torch.zeros(len(rest), dtype=torch.int64), config.source_images)]
    val, _ = share(find_split(target, TRAIN), config.target_val_fraction, "target")
    test = find_split(target, VAL)
    for name, places, where in (
        (SOURCE_TRAIN, rest, f"{config.source} (two at least)"),
        (TARGET_VAL, val, f"{config.target}/{PICTURES}/{TRAIN}"),
        (TARGET_TEST, test, f"{config.target}/{PICTURES}/{VAL}"),
    ):
        if not len(places):
            raise UserError(f"data.name={config.name}: {name} needs images with label maps, found none in {where}")
    side = config.image_size
    source_val = FileMapStream(source.files, held_out, side, mirror=True)
    return Pair(
        name=config.name,
        classes=CLASSES,
        streams={
            SOURCE_TRAIN: FileMapStream(source.files, rest, side, mirror=True),
            SOURCE_VAL: source_val,
            SOURCE_SHIFTED: ShiftedMaps(source_val),
            TARGET_VAL: FileMapStream(target.files, val, side, mirror=True),
            TARGET_TEST: FileMapStream(target.files, test, side, mirror=True),
        },
        flip_averaging=False,
        description=(
            f"synthetic street scenes (GTA5) -> real ones (Cityscapes), {len(CLASSES)} classes, squares of "
            f"{side}x{side}: source train/val {len(rest):,}/{len(held_out):,}, target val/test {len(val):,}/"
            f"{len(test):,}"
        ),
    )


def share(places: Tensor, fraction: float, side: str) -> tuple[Tensor, Tensor]:
    """Split places in two: ``fraction`` of them (rounded, and one at least, but not all) and the rest.

    Returns:
        Two ascending tensors, a function of the number of places alone.
    """
    count = max(min(max(round(fraction * len(places)), 1), len(places) - 1), 0)
    order = torch.from_numpy(generator(SEED, "gta5_cityscapes", side).permutation(len(places)))
    return places[order[:count].sort().values], places[order[count:].sort().values]


def _gta5(config: DataConfig) -> MapDomain:
    folder = _folder(config, "source", "the folder of GTA5 with images/ and labels/", ("images", "labels"))
    labels = _list_images(folder, "labels")
    by_train_ids = _named(labels, "labels", TRAIN_IDS_END)
    others = {name: path for name, path in _named(labels, "labels", ".png").items() if not path.endswith(TRAIN_IDS_END)}
    maps = _preferred(others, by_train_ids, config.source_ids)
    return _domain("source", folder, _named(_list_images(folder, "images"), "images", ".png"), maps, config)


def read_target(config: DataConfig) -> MapDomain:
    """List the images of Cityscapes and compare their sizes with those of their label maps.

    Raises:
        UserError: see :func:`read`.
    """
    subfolders = tuple(f"{kind}/{split}" for kind in (PICTURES, LABELS) for split in (TRAIN, VAL))
    wanted = f"the folder of Cityscapes with {PICTURES}/ and {LABELS}/, in each {TRAIN}/ and {VAL}/"
    folder = _folder(config, "target", wanted, subfolders)
    images: dict[str, str] = {}
    maps: dict[str, str] = {}
    for split in (TRAIN, VAL):
        pictures, labels = f"{PICTURES}/{split}", f"{LABELS}/{split}"
        images |= _named(_list_images(folder, pictures), pictures, "_leftImg8bit.png", split)
        found = _list_images(folder, labels)
        by_train_ids = _named(found, labels, f"_gtFine{TRAIN_IDS_END}", split)
        others = _named(found, labels, "_gtFine_labelIds.png", split)
        maps |= _preferred(others, by_train_ids, config.target_ids)
    return _domain("target", folder, images, maps, config)


def _list_images(folder: Path, below: str) -> list[str]:
    """Return the paths, from ``folder``/``below``, of the image files there."""
    return [str(path.relative_to(folder / below)) for path in image_files(folder / below)]


def _named(names: Sequence[str], below: str, end: str, split: str = "") -> dict[str, str]:
    """Return the paths, from the folder above ``below``, of files whose names end so, by split and name without it.

    Letters are composed in what they are found by; of two names that are one then, the second stays as it is.
    """
    found: dict[str, str] = {}
    for name in names:
        if name.endswith(end):
            stem = f"{split}/{name.removesuffix(end)}"
            found[stem if compose_letters(stem) in found else compose_letters(stem)] = f"{below}/{name}"
    return found


def _preferred(others: dict[str, str], by_train_ids: dict[str, str], ids: Ids) -> dict[str, str]:
    """Choose one label file for each image that has two."""
    return others | by_train_ids if ids == "train_ids" else by_train_ids | others


def _folder(config: DataConfig, side: str, wanted: str, subfolders: tuple[str, ...]) -> Path:
    given: str | None = getattr(config, side)
    if given is None:
        raise UserError(f"data.{side}: expected {wanted}, found none; set --data.{side} DIR")
    for folder in (Path(given), *(Path(given, name) for name in subfolders)):
        if not folder.is_dir():
            found = "a file" if folder.exists() else "nothing"
            raise UserError(f"data.{side}: expected {wanted}, found {found} at {folder}")
    return Path(given)


def _domain(side: str, folder: Path, images: dict[str, str], maps: dict[str, str], config: DataConfig) -> MapDomain:
    limit, ids = PixelLimit(config.max_megapixels), config.source_ids if side == "source" else config.target_ids
    files, faults = pair_maps(str(folder), images, maps, cache=cache_folder(config), limit=limit, ids=ids)
    if not len(files):
        passed_over = describe_passed_over(count_passed_over(list_files(folder), folder))
        raise UserError(
            f"data.{side}: expected images with label maps of their size, found "
            f"{pluralize(len(images), 'image')} and {pluralize(len(maps), 'label map')} and no such pair in {folder}"
            + (passed_over and f" ({passed_over})")
        )
    named = frozenset([*images.values(), *maps.values()])
    if side == "source":
        return MapDomain("source", CLASSES, files, faults, named)
    return MapDomain("target", CLASSES, files, faults, named, COMPANIONS)


def find_split(target: MapDomain, split: str) -> Tensor:
    """Return the ascending places of Cityscapes' images that are published as ``train`` or as ``val``."""
    start, images = f"{PICTURES}/{split}/", target.files.images
    found = [place for place in range(len(images)) if images.name(place).startswith(start)]
    return torch.tensor(found, dtype=torch.int64)
