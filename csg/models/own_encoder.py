"""Encoders from outside the package, which ``model.path`` names."""

from __future__ import annotations

from typing import Any

import torch

from csg.config.external import import_object
from csg.messages.errors import UserError
from csg.models.encoder import Encoder

SIDE = 64
"""Of the image that an encoder is tried on, in pixels."""


def find_own_class(place: str, setting: str) -> type[Encoder]:
    """Import an encoder's class.

    Raises:
        UserError: it cannot be imported, or is none.
    """
    found = import_object(place, setting=setting)
    if not (isinstance(found, type) and issubclass(found, Encoder)):
        raise UserError(f"{setting}: expected a subclass of csg.models.encoder.Encoder, found {place}")
    return found


def make_own_encoder(place: str, setting: str) -> Encoder:
    """Make an encoder with untrained weights.

    Raises:
        UserError: it cannot be made without arguments, or lacks something that every encoder has.
    """
    make: Any = find_own_class(place, setting)
    try:
        encoder: Encoder = make()
    except Exception as error:  # whatever a stranger's constructor raises
        raise UserError(f"{setting}: {place}() fails ({type(error).__name__}: {error})") from error
    lacks = [name for name in ("mean", "std", "channels") if not hasattr(encoder, name)]
    if lacks:
        raise UserError(f"{setting}: expected {place} to set {', '.join(lacks)} as csg.models.encoder.Encoder says")
    return encoder


@torch.no_grad()
def try_out(encoder: Encoder, setting: str) -> None:
    """See that an encoder gives the maps that it declares, and that each of its trainable tensors is in one group.

    Raises:
        UserError: it does not.
    """
    name = type(encoder).__name__
    training = encoder.training
    parameter = next(encoder.parameters())
    try:
        maps = encoder.eval()(torch.zeros(1, 3, SIDE, SIDE, dtype=parameter.dtype, device=parameter.device))
        shapes = [tuple(each.shape) for each in maps]
    except Exception as error:  # whatever a stranger's code raises
        raise UserError(
            f"{setting}: {name} fails on an image of {SIDE} px ({type(error).__name__}: {error})"
        ) from error
    finally:
        encoder.train(training)
    if [shape[:2] for shape in shapes] != [(1, channels) for channels in encoder.channels] or len(shapes) != 4:
        raise UserError(
            f"{setting}: expected {name} to return four maps (N, C, h, w) of {encoder.channels} channels, as it "
            f"declares, found {shapes}"
        )
    groups = encoder.list_groups()
    if set(groups) != {"stem", "stage1", "stage2", "stage3", "stage4"}:
        raise UserError(
            f"{setting}: expected {name}.list_groups() to name stem and stage1 to stage4, found "
            f"{', '.join(groups) or 'none'}"
        )
    grouped = [id(one) for modules in groups.values() for module in modules for one in module.parameters()]
    old_head = encoder.get_old_head()
    grouped += [] if old_head is None else [id(one) for one in old_head.parameters()]
    for named, one in encoder.named_parameters():
        if one.requires_grad and grouped.count(id(one)) != 1:
            raise UserError(
                f"{setting}: expected each parameter in one of {name}.list_groups(), found {named} in "
                f"{grouped.count(id(one))}"
            )
