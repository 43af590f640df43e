"""Source/target pairs, by the name that ``data.name`` gives them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final, Generic, TypeVar

from csg.config import DataConfig
from csg.config.pairs import IDLE
from csg.data.domain import Domain
from csg.data.fault import Kind, name_faults
from csg.data.held_out import hold_out
from csg.data.maps.domain import MapDomain
from csg.data.pair import SOURCE_TRAIN, TARGET_VAL, Pair
from csg.data.pairs import folders, glyph_scenes, glyphs, gta5_cityscapes, visda17
from csg.data.reading.fetching import fetch_shards
from csg.data.reading.joined import JoinedStream, join_streams
from csg.data.splitting import make_pair
from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault

DomainT = TypeVar("DomainT", Domain, MapDomain | Domain)


@dataclass(frozen=True)
class OnDisk(Generic[DomainT]):
    """How a pair of image files is read."""

    read: Callable[[DataConfig], tuple[DomainT, ...]]
    """Lists the synthetic and the real images."""
    make_pair: Callable[[Sequence[DomainT], DataConfig], Pair]
    """Splits them into streams."""


ON_DISK: Final[dict[str, OnDisk[Domain] | OnDisk[MapDomain | Domain]]] = {
    "visda17": OnDisk(visda17.read, partial(make_pair, title=visda17.describe_images)),
    "folders": OnDisk(folders.read, partial(make_pair, title=folders.describe_images)),
    "gta5_cityscapes": OnDisk(gta5_cityscapes.read, gta5_cityscapes.make_pair),
}
HONOURED: Final[dict[Kind, str]] = {
    "repeated line": "Images that are listed twice count once:",
    "label against folder": "Images that lie in the folder of another class than they are listed with count as listed:",
    "image without label map": "Images without a label map are left out:",
    "label map without image": "Label maps without an image are left out:",
    "size mismatch": "Label maps of another size than their image are left out, with their image:",
}
"""What is odd and is done as the list says, or is left out; a log names it."""


def load_domains(config: DataConfig) -> tuple[Domain | MapDomain, ...]:
    """List the files of a pair on disk; a process keeps the last two.

    Raises:
        UserError: the pair is not one on disk, or there are no data where the settings say.
        OSError: the machine cannot read them; see :mod:`csg.messages.faults`.
    """
    _refuse_idle_paths(config)
    if config.name not in ON_DISK:
        raise UserError(f"data.name: expected a pair on disk ({', '.join(ON_DISK)}), found {config.name!r}")
    return _list_domains(
        _reset_idle_settings(config, image_size=DataConfig.image_size, source_images=None, resized_gigabytes=0)
    )


@lru_cache(maxsize=2)
def _list_domains(config: DataConfig) -> tuple[Domain | MapDomain, ...]:
    try:
        return ON_DISK[config.name].read(fetch_shards(config))
    except OSError as error:
        if is_machine_fault(error):
            raise
        raise UserError(f"data.name={config.name}: cannot read {error.filename} ({error.strerror})") from error


def _load_from_disk(config: DataConfig) -> Pair:
    domains = load_domains(config)
    for kind, what in HONOURED.items():
        odd = [fault for domain in domains for fault in domain.faults if fault.kind == kind]
        if odd:
            logging.getLogger(__name__).warning(name_faults(odd, what))
    pair: Pair = ON_DISK[config.name].make_pair(domains, config)  # type: ignore[arg-type]
    return pair


PAIRS: Final[dict[str, Callable[[DataConfig], Pair]]] = {
    "glyphs": glyphs.load,
    "glyph_scenes": glyph_scenes.load,
    **dict.fromkeys(ON_DISK, _load_from_disk),
}


def load_pair(config: DataConfig) -> Pair:
    """Return the pair that ``config`` names; a process keeps the last two, so that trials do not load it again.

    Those that differ only in the source that is left out are parts of one.

    Raises:
        UserError: the name is unknown, or the pair cannot be made from these settings.
    """
    if config.name not in PAIRS:
        raise UserError(f"data.name: no such pair; expected one of {', '.join(PAIRS)}, found {config.name!r}")
    _refuse_idle_paths(config)
    pair = _load_once(_reset_idle_settings(config, source_images=config.source_images_asked))
    return pair if config.held_out is None else hold_out(pair, config.held_out)


def _refuse_idle_paths(config: DataConfig) -> None:
    """Refuse a folder that would not be looked at: who gives one does not mean the bundled images."""
    for name in ("root", "source", "target", "target_unlabelled", "class_map"):
        if getattr(config, name) is not None and name in IDLE.get(config.name, ()):
            pairs = " or ".join(pair for pair, idle in IDLE.items() if name not in idle)
            raise UserError(f"data.{name}: expected data.name={pairs} with it, found data.name={config.name}")


def _reset_idle_settings(config: DataConfig, **changes: int | None) -> DataConfig:
    """Set what happens to an image once it is read, and by whom, to one value: trials that differ only there share."""
    return dataclasses.replace(
        config,
        augmentation="none",
        augmentation_ops=1,
        augmentation_magnitude=0,
        jitter=0.0,
        window=None,
        window_stride=1.0,
        flip_averaging="none",
        on_bad_image="error",
        workers=0,
        held_out=None,
        **changes,  # type: ignore[arg-type]
    )


@lru_cache(maxsize=2)
def _load_once(config: DataConfig) -> Pair:
    pair = PAIRS[config.name](config)
    return train_on_target(pair) if config.trained_on == "target" else pair


def train_on_target(pair: Pair) -> Pair:
    """Return a pair whose training images are the real ones of target/val: the paper's motivating example needs one.

    Raises:
        UserError: they have no labels.
    """
    images = pair.streams.get(TARGET_VAL)
    if isinstance(images, JoinedStream):  # with photographs without labels
        images = join_streams([part for part in images.parts if part.has_labels] or images.parts)
    if images is None or not images.has_labels:
        raise UserError(
            "data.trained_on: expected source, or labelled real images (data.target with a sub-folder a class), "
            f"found {'no real images' if images is None else 'photographs without labels'}"
        )
    description = f"{pair.description}; trained on the {len(images):,} real images of target/val"
    streams = {**pair.streams, SOURCE_TRAIN: images}
    return dataclasses.replace(pair, streams=streams, description=description, sources=())
