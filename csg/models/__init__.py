"""Encoders that return their stages' maps, their weights and the new head."""

from __future__ import annotations

from collections.abc import Callable

from csg.messages.errors import UserError
from csg.models.dilation import with_output_stride
from csg.models.efficientnet_lite import efficientnet_lite0
from csg.models.encoder import Encoder
from csg.models.resnet import resnet10, resnet18, resnet34, resnet50, resnet101

ENCODERS: dict[str, Callable[[], Encoder]] = {
    "efficientnet_lite0": efficientnet_lite0,
    "resnet10": resnet10,
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
}


def make_encoder(name: str, *, output_stride: int = 32) -> Encoder:
    """Make an encoder of this package with untrained weights, its deeper stages dilated where its own stride is larger.

    Raises:
        UserError: no such encoder.
    """
    if name not in ENCODERS:
        raise UserError(f"model.name: expected one of {', '.join(ENCODERS)}, found {name!r}")
    encoder = ENCODERS[name]()
    return encoder if output_stride == 32 else with_output_stride(encoder, output_stride)
