"""One of several sources left out of training, and measured as a labelled stream of its own."""

from __future__ import annotations

import dataclasses
from typing import Final, cast

import torch

from csg.data.maps.shifted import ShiftedMaps
from csg.data.pair import SOURCE_SHIFTED, SOURCE_TRAIN, SOURCE_VAL, ArrayStream, LabelledImages, Pair, Stream
from csg.data.reading.joined import JoinedStream, join_images, join_streams
from csg.data.views.shifted import shift_stream
from csg.messages.errors import UserError

HELD_OUT: Final = "held_out"
"""The stream of the source that is left out."""


def list_removable_sources(pair: Pair) -> tuple[str, ...]:
    """Return the sources that are trained on and leave something in source/train and source/val without them."""
    if not pair.sources:
        return ()
    trained, measured = ({*torch.unique(pair.streams[name].sources).tolist()} for name in (SOURCE_TRAIN, SOURCE_VAL))
    return tuple(pair.sources[number] for number in sorted(trained) if trained - {number} and measured - {number})


def hold_out(pair: Pair, name: str) -> Pair:
    """Leave a source out of source/train and source/val, and measure it as ``held_out``.

    Its images there are those that source/val would have had, or all of its training images where source/val has none
    (glyphs, whose source/val is a source of its own).

    Raises:
        UserError: it is no source that can be left out; see :func:`list_removable_sources`.
    """
    names = list_removable_sources(pair)
    if name not in names:
        which = f"one that can be left out ({', '.join(names)})" if names else "several to be given (data.source A B)"
        raise UserError(f"data.held_out: expected of the sources {which}, found {name!r}")
    number = pair.sources.index(name)
    others = [each for each in range(len(pair.sources)) if each != number]
    train, val = (choose_sources(pair.streams[stream], others) for stream in (SOURCE_TRAIN, SOURCE_VAL))
    held_out = choose_sources(pair.streams[SOURCE_VAL], [number]) or choose_sources(
        pair.streams[SOURCE_TRAIN], [number]
    )
    assert train is not None and val is not None and held_out is not None
    shifted = shift_stream(val) if isinstance(val, LabelledImages) else ShiftedMaps(val)
    sources = tuple(pair.sources[each] for each in others)
    return dataclasses.replace(
        pair,
        streams={**pair.streams, SOURCE_TRAIN: train, SOURCE_VAL: val, SOURCE_SHIFTED: shifted, HELD_OUT: held_out},
        description=(
            f"{pair.description}; without {name}: source train/val {len(train):,}/{len(val):,}, held out "
            f"{len(held_out):,}"
        ),
        sources=sources if len(sources) > 1 else (),
    )


def hold_out_each(pair: Pair) -> Pair:
    """Return a pair that stands for trainings without each source in turn: its ``held_out`` has the images of all."""
    parts = [hold_out(pair, name).streams[HELD_OUT] for name in list_removable_sources(pair)]
    return dataclasses.replace(
        pair,
        streams={**pair.streams, HELD_OUT: join_streams(parts)},
        description=f"{pair.description}; each source held out in turn",
    )


def choose_sources(stream: Stream, numbers: list[int]) -> Stream | None:
    """Return the images of some sources, whose numbers become 0, 1, ...; None where there is no image of them.

    Args:
        stream: of several sources, as pairs make them.
        numbers: of the sources, ascending.
    """
    chosen: Stream
    if isinstance(stream, JoinedStream):
        parts = [stream.parts[number] for number in numbers]
        images = isinstance(stream, LabelledImages)
        chosen = join_images(cast(list[LabelledImages], parts)) if images else join_streams(parts)
    else:
        assert isinstance(stream, ArrayStream)
        wanted = torch.tensor(numbers)
        places = torch.nonzero(torch.isin(stream.sources, wanted)).flatten()
        chosen = stream.choose(places, torch.searchsorted(wanted, stream.sources[places]))
    return chosen if len(chosen) else None
