"""GTA5 -> Cityscapes: street scenes out of a game and out of a car, with a class for every pixel.

Several folders like GTA5's are several sources. Photographs without label maps are those of ``data.target_unlabelled``,
at any depth; there may be no real images at all.

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

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from csg.config import DataConfig, Ids
from csg.data.domain import Domain
from csg.data.maps.domain import MapDomain, pair_maps
from csg.data.maps.files import TRAIN_IDS_END, FileMapStream
from csg.data.maps.label_maps import CLASSES
from csg.data.maps.photographs import PhotographStream
from csg.data.maps.shifted import ShiftedMaps
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, TARGET_TEST, TARGET_VAL, Pair, Stream
from csg.data.pairs.class_folders import list_photographs, name_parts, refuse_overlap
from csg.data.reading.cache import get_cache_folder
from csg.data.reading.decoding import PixelLimit
from csg.data.reading.joined import join_streams
from csg.data.reading.listing import count_passed_over, describe_passed_over, list_files, list_image_files
from csg.data.reading.shard_index import find_shards
from csg.data.reading.spelling import compose_letters
from csg.data.splitting import SEED, choose_part
from csg.messages.errors import UserError
from csg.messages.wording import pluralize
from csg.randomness import make_generator

GTA5: Final = "the folder of GTA5 with images/ and labels/"
PICTURES: Final = "leftImg8bit"
LABELS: Final = "gtFine"
TRAIN, VAL = "train", "val"
COMPANIONS: Final = re.compile(
    rf"({PICTURES}|{LABELS})/test/.+"
    rf"|{LABELS}/({TRAIN}|{VAL})/.+_gtFine_(color|instanceIds|instanceTrainIds|labelIds|labelTrainIds|polygons)\.\w+"
    r"|README|license\.txt"
)
"""Paths below the folder of Cityscapes of what it is published with, or its scripts make, beside what is read here."""


def read(config: DataConfig) -> tuple[MapDomain | Domain, ...]:
    """List all sides and compare the sizes of images and label maps.

    Raises:
        UserError: ``data.source``, ``data.target`` or a folder below them is missing or has no pairs, or one of the
            folders lies in another; or ``data.cache`` cannot be written to.
    """
    if not config.sources:
        raise UserError(f"data.source: expected {GTA5}, found none; set --data.source DIR")
    domains: list[MapDomain | Domain] = [_read_source(folder, config) for folder in config.sources]
    if len(domains) > 1:
        names = name_parts([Path(folder) for folder in config.sources])
        domains = [dataclasses.replace(domain, part=name) for domain, name in zip(domains, names, strict=True)]
    if config.target is not None:
        domains.append(read_target(config))
    refuse_overlap(config)
    if config.target_unlabelled is not None:
        part = "" if config.target is None else "without labels"
        found = list_photographs(config, "data.target_unlabelled", Path(config.target_unlabelled), CLASSES)
        domains.append(dataclasses.replace(found, part=part))
    return tuple(domains)


def make_pair(domains: Sequence[MapDomain | Domain], config: DataConfig) -> Pair:
    """Split all sides into streams, the same way each time.

    Raises:
        UserError: ``data.source_images`` are more than there are, or a stream would be empty.
    """
    sources = [domain for domain in domains if isinstance(domain, MapDomain) and domain.side == "source"]
    shares = [split_share(torch.arange(len(each.files)), config.source_val_fraction, "source") for each in sources]
    rests = [rest for _, rest in shares]
    if config.source_images is not None:
        owners = torch.repeat_interleave(torch.tensor([len(rest) for rest in rests]))
        part = choose_part(owners, config.source_images)
        chosen = torch.cat(rests)[part]
        rests = [chosen[owners[part] == number] for number in range(len(sources))]
    _refuse_empty(SOURCE_TRAIN, sum(map(len, rests)), f"{' '.join(config.sources)} (two at least)", config)
    train, source_val = _join(sources, rests, config), _join(sources, [held_out for held_out, _ in shares], config)
    target, target_words = _split_target([domain for domain in domains if domain.side == "target"], config)
    side, names = config.image_size, [domain.part for domain in sources]
    among = f" from {len(sources)} sources" if len(sources) > 1 else ""
    return Pair(
        name=config.name,
        classes=CLASSES,
        streams={SOURCE_TRAIN: train, SOURCE_VAL: source_val, SOURCE_SHIFTED: ShiftedMaps(source_val), **target},
        flip_averaging=False,
        description=(
            f"synthetic street scenes (GTA5){among}{' -> real ones (Cityscapes)' if config.target else ''}, "
            f"{len(CLASSES)} classes, squares of {side}x{side}: source train/val {len(train):,}/{len(source_val):,}, "
            f"{target_words}"
        ),
        sources=tuple(names) if len(names) > 1 else (),
    )


def _join(domains: Sequence[MapDomain], places: Sequence[Tensor], config: DataConfig) -> Stream:
    """Return the images at some places of each domain, one domain after the other."""
    parts: list[Stream] = []
    for domain, chosen in zip(domains, places, strict=True):
        first = sum(map(len, parts))
        parts.append(FileMapStream(domain.files, chosen, config.image_size, mirror=True, first=first))
    return join_streams(parts)


def _split_target(domains: Sequence[MapDomain | Domain], config: DataConfig) -> tuple[dict[str, Stream], str]:
    """Return the streams of the real images by name, and how many images each has, in words."""
    parts: list[Stream] = []
    streams: dict[str, Stream] = {}
    words = []
    for domain in domains:
        first = sum(map(len, parts))
        if isinstance(domain, MapDomain):
            val, _ = split_share(find_split(domain, TRAIN), config.target_val_fraction, "target")
            test = find_split(domain, VAL)
            _refuse_empty(TARGET_VAL, len(val), f"{config.target}/{PICTURES}/{TRAIN}", config)
            _refuse_empty(TARGET_TEST, len(test), f"{config.target}/{PICTURES}/{VAL}", config)
            parts.append(FileMapStream(domain.files, val, config.image_size, mirror=True))
            streams[TARGET_TEST] = FileMapStream(domain.files, test, config.image_size, mirror=True)
            words.append(f"target val/test {len(val):,}/{len(test):,}")
        else:
            parts.append(PhotographStream(domain.files, config.image_size, mirror=True, first=first))
            words.append(f"target val {pluralize(len(domain.files), 'photograph')} without labels")
    return streams | ({TARGET_VAL: join_streams(parts)} if parts else {}), " and ".join(words) or "no real images"


def _refuse_empty(name: str, images: int, where: str, config: DataConfig) -> None:
    if not images:
        raise UserError(f"data.name={config.name}: {name} needs images with label maps, found none in {where}")


def split_share(places: Tensor, fraction: float, side: str) -> tuple[Tensor, Tensor]:
    """Split places in two: ``fraction`` of them (rounded, and one at least, but not all) and the rest.

    Returns:
        Two ascending tensors, a function of the number of places alone.
    """
    count = max(min(max(round(fraction * len(places)), 1), len(places) - 1), 0)
    order = torch.from_numpy(make_generator(SEED, "gta5_cityscapes", side).permutation(len(places)))
    return places[order[:count].sort().values], places[order[count:].sort().values]


def _read_source(given: str, config: DataConfig) -> MapDomain:
    folder = _find_folder("data.source", given, GTA5, ("images", "labels"))
    labels = _list_images(folder, "labels")
    by_train_ids = _find_named(labels, "labels", TRAIN_IDS_END)
    others = {
        name: path for name, path in _find_named(labels, "labels", ".png").items() if not path.endswith(TRAIN_IDS_END)
    }
    maps = _choose_preferred(others, by_train_ids, config.source_ids)
    return _make_domain("source", folder, _find_named(_list_images(folder, "images"), "images", ".png"), maps, config)


def read_target(config: DataConfig) -> MapDomain:
    """List the images of Cityscapes and compare their sizes with those of their label maps.

    Raises:
        UserError: see :func:`read`.
    """
    subfolders = tuple(f"{kind}/{split}" for kind in (PICTURES, LABELS) for split in (TRAIN, VAL))
    wanted = f"the folder of Cityscapes with {PICTURES}/ and {LABELS}/, in each {TRAIN}/ and {VAL}/"
    if config.target is None:
        raise UserError(f"data.target: expected {wanted}, found none; set --data.target DIR")
    folder = _find_folder("data.target", config.target, wanted, subfolders)
    images: dict[str, str] = {}
    maps: dict[str, str] = {}
    for split in (TRAIN, VAL):
        pictures, labels = f"{PICTURES}/{split}", f"{LABELS}/{split}"
        images |= _find_named(_list_images(folder, pictures), pictures, "_leftImg8bit.png", split)
        found = _list_images(folder, labels)
        by_train_ids = _find_named(found, labels, f"_gtFine{TRAIN_IDS_END}", split)
        others = _find_named(found, labels, "_gtFine_labelIds.png", split)
        maps |= _choose_preferred(others, by_train_ids, config.target_ids)
    return _make_domain("target", folder, images, maps, config)


def _list_images(folder: Path, below: str) -> list[str]:
    """Return the paths, from ``folder``/``below``, of the image files there."""
    return [str(path.relative_to(folder / below)) for path in list_image_files(folder / below)]


def _find_named(names: Sequence[str], below: str, end: str, split: str = "") -> dict[str, str]:
    """Return the paths, from the folder above ``below``, of files whose names end so, by split and name without it.

    Letters are composed in what they are found by; of two names that are one then, the second stays as it is.
    """
    found: dict[str, str] = {}
    for name in names:
        if name.endswith(end):
            stem = f"{split}/{name.removesuffix(end)}"
            found[stem if compose_letters(stem) in found else compose_letters(stem)] = f"{below}/{name}"
    return found


def _choose_preferred(others: dict[str, str], by_train_ids: dict[str, str], ids: Ids) -> dict[str, str]:
    """Choose one label file for each image that has two."""
    return others | by_train_ids if ids == "train_ids" else by_train_ids | others


def _find_folder(setting: str, given: str, wanted: str, subfolders: tuple[str, ...]) -> Path:
    for folder in (Path(given), *(Path(given, name) for name in subfolders)):
        if not folder.is_dir():
            if Path(given).is_dir() and find_shards(given):
                raise UserError(f"{setting}: expected {wanted}, found shards in {given}; unpack them, with their maps")
            found = "a file" if folder.exists() else "nothing"
            hint = "; --data.target-unlabelled takes photographs without label maps" if setting == "data.target" else ""
            raise UserError(f"{setting}: expected {wanted}, found {found} at {folder}{hint}")
    return Path(given)


def _make_domain(
    side: str, folder: Path, images: dict[str, str], maps: dict[str, str], config: DataConfig
) -> MapDomain:
    limit, ids = PixelLimit.of(config), config.source_ids if side == "source" else config.target_ids
    files, faults = pair_maps(str(folder), images, maps, cache=get_cache_folder(config), limit=limit, ids=ids)
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
