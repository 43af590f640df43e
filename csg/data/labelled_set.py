"""A labelled set of real images that a finished run is measured on, whatever it was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from csg.config import DataConfig
from csg.data.domain import Domain
from csg.data.fault import IMPASSABLE, name_faults
from csg.data.maps.files import FileMapStream
from csg.data.maps.label_maps import CLASSES as MAP_CLASSES
from csg.data.pair import IGNORED, Stream
from csg.data.pairs import folders, gta5_cityscapes, visda17
from csg.data.reading.fetching import fetch_shards
from csg.data.reading.image_files import FileStream
from csg.messages.errors import BadDataError, UserError
from csg.messages.faults import is_machine_fault
from csg.messages.wording import name_first


def load_labelled_set(config: DataConfig, classes: Sequence[str], *, side: int) -> Stream:
    """Return all labelled real images that the data settings name; of gta5_cityscapes those of Cityscapes' val.

    Args:
        config: ``name`` says how they lie on disk.
        classes: of the run, in the order of its outputs. Not all need to have images.
        side: of the images that the run's network sees, in pixels.

    Raises:
        UserError: there are no such images, or some are of another class.
        OSError: the machine cannot read them; see :mod:`csg.messages.faults`.
    """
    try:
        config = fetch_shards(config)
        if config.name == "gta5_cityscapes":
            return _load_maps(config, classes, side)
        if config.name == "folders":
            domain = folders.read_target(config, tuple(classes))
        elif config.name == "visda17":
            domain = _relabel(visda17.read_target(config), classes)
        else:
            raise UserError(
                f"data.name: expected a set on disk (folders, visda17, gta5_cityscapes), found {config.name!r}"
            )
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise UserError(f"data.name={config.name}: cannot read {error.filename} ({error.strerror})") from error
    faults = [each for each in domain.faults if each.kind in IMPASSABLE and each.kind != "class without images"]
    if faults:
        raise BadDataError(name_faults(faults, f"data.name={config.name}: this set cannot be used:"))
    return FileStream(domain.files, side)


def _load_maps(config: DataConfig, classes: Sequence[str], side: int) -> Stream:
    if tuple(classes) != MAP_CLASSES:
        raise UserError(
            f"data.name: expected a run on the {len(MAP_CLASSES)} classes of Cityscapes, found one on "
            f"{name_first(classes)}"
        )
    target = gta5_cityscapes.read_target(config)
    places = gta5_cityscapes.find_split(target, gta5_cityscapes.VAL)
    if not len(places):
        raise UserError(f"data.target: expected images with label maps in {gta5_cityscapes.VAL}/, found none")
    return FileMapStream(target.files, places, side, mirror=True)


def _relabel(domain: Domain, classes: Sequence[str]) -> Domain:
    """Give the labels of a domain the numbers that a run has for them.

    Raises:
        UserError: an image is of a class that the run does not know.
    """
    numbers = torch.tensor([classes.index(name) if name in classes else IGNORED for name in domain.classes])
    labels = numbers[domain.files.labels]
    if (labels == IGNORED).any():
        unknown = [domain.classes[label] for label in sorted(set(domain.files.labels[labels == IGNORED].tolist()))]
        raise UserError(
            f"{domain.files.folder}: expected images of the run's classes ({name_first(classes)}), found "
            f"some of {name_first(unknown)}"
        )
    return dataclasses.replace(domain, classes=tuple(classes), files=dataclasses.replace(domain.files, labels=labels))
