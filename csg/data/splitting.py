"""How the images of a pair on disk are split into streams, the same way each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from csg.config import DataConfig
from csg.data.domain import Domain, find_single_images
from csg.data.fault import IMPASSABLE, name_faults
from csg.data.pair import (
    SOURCE_SHIFTED,
    SOURCE_TRAIN,
    SOURCE_VAL,
    TARGET_TEST,
    TARGET_VAL,
    LabelledImages,
    Pair,
    Stream,
)
from csg.data.reading.image_files import FileStream, ImageFiles
from csg.data.reading.joined import join_images
from csg.data.reading.resized import ResizedImages
from csg.data.views.shifted import shift_stream
from csg.messages.errors import BadDataError, UserError
from csg.messages.text import make_one_line
from csg.messages.wording import pluralize
from csg.randomness import make_generator

SEED: Final = 17
"""Of the splits: no setting moves it."""


def make_pair(domains: Sequence[Domain], config: DataConfig, *, title: Callable[[DataConfig], str]) -> Pair:
    """Split both sides into streams, every class in proportion.

    Of real images without labels all are in target/val. Without labelled ones there is no target/test, and without any
    real images no target/val either.

    Args:
        domains: the synthetic images and the real ones, of the same classes.
        config: shares, number of training images and image size.
        title: says in words what the two domains are.

    Raises:
        BadDataError: the listing of a side is at fault.
        UserError: a stream would miss a class.
    """
    faults = [fault for domain in domains for fault in domain.faults if fault.kind in IMPASSABLE]
    if faults:
        lacking = any(fault.kind == "class without images" for fault in faults)
        hint = " (--data.allow-missing-classes True accepts classes without images)" if lacking else ""
        raise BadDataError(name_faults(faults, f"data.name={config.name}: these data cannot be used{hint}:"))
    sources = [domain for domain in domains if domain.side == "source"]
    train, source_val = _split_sources(sources, config)
    target, target_words = _split_target([domain for domain in domains if domain.side == "target"], config)
    classes, side = domains[0].classes, config.image_size
    return Pair(
        name=config.name,
        classes=classes,
        streams={SOURCE_TRAIN: train, SOURCE_VAL: source_val, SOURCE_SHIFTED: shift_stream(source_val), **target},
        flip_averaging=True,
        description=(
            f"{make_one_line(title(config))}, {len(classes)} classes, {side}x{side}: "
            f"source train/val {len(train):,}/{len(source_val):,}, {target_words}"
        ),
        sources=tuple(domain.part for domain in sources) if len(sources) > 1 else (),
    )


def _split_sources(domains: Sequence[Domain], config: DataConfig) -> tuple[LabelledImages, LabelledImages]:
    """Return source/train and source/val, to which every source gives its share of each class.

    Raises:
        UserError: source/train would miss a class.
    """
    splits = [split(domain, config.source_val_fraction, "data.source_val_fraction", config) for domain in domains]
    rests = [rest for _, rest in splits]
    if config.source_images is not None:
        rests = _choose_training_images(domains, rests, config)
    return _make_stream(domains, rests, config), _make_stream(domains, [held_out for held_out, _ in splits], config)


def _make_stream(domains: Sequence[Domain], places: Sequence[Tensor], config: DataConfig) -> LabelledImages:
    """Return the images at some places of each domain, one domain after the other."""
    parts: list[LabelledImages] = []
    for domain, chosen in zip(domains, places, strict=True):
        parts.append(_make_part(domain.files.subset(chosen), config, first=sum(map(len, parts))))
    return join_images(parts)


def _make_part(files: ImageFiles, config: DataConfig, *, first: int = 0) -> FileStream:
    """Return files as images of the settings' size, the first of them under this number."""
    return FileStream(files, config.image_size, first=first, resized=ResizedImages.of(config))


def _choose_training_images(domains: Sequence[Domain], rests: Sequence[Tensor], config: DataConfig) -> list[Tensor]:
    """Return so many of the places that are left for training as data.source_images says.

    Every class of every source gives in proportion.

    Raises:
        UserError: they would miss a class.
    """
    assert config.source_images is not None
    classes = domains[0].classes
    labels = torch.cat([domain.files.labels[rest] for domain, rest in zip(domains, rests, strict=True)])
    owners = torch.repeat_interleave(torch.tensor([len(rest) for rest in rests]))
    part = choose_part(labels + owners * len(classes), config.source_images)
    missing = set(labels.tolist()) - set(labels[part].tolist())
    if missing and not config.allow_missing_classes:
        lacking = ", ".join(repr(classes[label]) for label in sorted(missing))
        raise UserError(
            f"data.source_images: expected enough for an image of every class, found {config.source_images:,}, "
            f"which leave none of {lacking}; take more, or go without them with --data.allow-missing-classes True"
        )
    chosen = torch.cat(list(rests))[part]
    return [chosen[owners[part] == number] for number in range(len(domains))]


def _split_target(domains: Sequence[Domain], config: DataConfig) -> tuple[dict[str, Stream], str]:
    """Return the streams of the real images by name, and how many images each has, in words."""
    parts: list[LabelledImages] = []
    streams: dict[str, Stream] = {}
    words = []
    for domain in domains:
        if domain.is_labelled:
            val, test = split(domain, config.target_val_fraction, "data.target_val_fraction", config)
            parts.append(_make_part(domain.files.subset(val), config))
            streams[TARGET_TEST] = _make_part(domain.files.subset(test), config)
            words.append(f"target val/test {len(val):,}/{len(test):,}")
        else:
            first = sum(map(len, parts))
            parts.append(_make_part(domain.files, config, first=first))
            words.append(f"target val {pluralize(len(domain.files), 'photograph')} without labels")
    return streams | ({TARGET_VAL: join_images(parts)} if parts else {}), " and ".join(words) or "no real images"


def split(domain: Domain, fraction: float, setting: str, config: DataConfig) -> tuple[Tensor, Tensor]:
    """Split a domain's files in two: of every class ``fraction`` (rounded, but one image at least) and the rest.

    Raises:
        UserError: a class has a single image, and missing classes are not allowed.
    """
    single = () if config.allow_missing_classes else find_single_images(domain)
    if single:
        raise UserError(f"{setting}: {single[0].reason}: {single[0].place}")
    labels = domain.files.labels
    first = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(len(domain.classes)):
        members = torch.nonzero(labels == label).flatten()
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        order = make_generator(SEED, config.name, domain.side, label).permutation(len(members))
        first[members[torch.from_numpy(order[: max(count, 0)])]] = True
    return torch.nonzero(first).flatten(), torch.nonzero(~first).flatten()


def choose_part(labels: Tensor, images: int) -> Tensor:
    """Choose ``images`` places, every class in proportion: whole numbers first, the largest remainders next.

    Raises:
        UserError: there are not as many.
    """
    if images > len(labels):
        raise UserError(
            f"data.source_images: expected at most the {len(labels):,} synthetic images left for training, "
            f"found {images:,}; leave it unset for all of them"
        )
    counts = torch.bincount(labels)
    exact = counts.double() * images / len(labels)
    quotas = exact.floor().long()
    short = images - int(quotas.sum())
    quotas[torch.argsort(exact - quotas, descending=True, stable=True)[:short]] += 1
    chosen = []
    for label, quota in enumerate(quotas.tolist()):
        members = torch.nonzero(labels == label).flatten()
        order = make_generator(SEED, "part", label).permutation(len(members))
        chosen.append(members[torch.from_numpy(order[:quota])])
    return torch.cat(chosen).sort().values
