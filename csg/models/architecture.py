"""From settings to an untrained encoder: one of this package, one of transformers, or one from outside."""

from __future__ import annotations

from csg.config import ModelConfig
from csg.config.sections import TRANSFORMERS
from csg.config.settings import format_flag
from csg.messages.errors import UserError
from csg.models import ENCODERS, make_encoder
from csg.models.dilation import with_output_stride
from csg.models.encoder import Encoder
from csg.models.own_encoder import make_own_encoder
from csg.models.transformers_folder import load_transformers_encoder, remake_encoder
from csg.models.weights_folder import find_folder


def make_architecture(config: ModelConfig, *, remembered: str = "", setting: str = "model.weights") -> Encoder:
    """Make the encoder that ``config`` names, with untrained weights; dilated where it dilates.

    Args:
        config: names it.
        remembered: an encoder's :attr:`~csg.models.encoder.Encoder.architecture`, which needs none of its files.
        setting: what errors call the folder that one of transformers is in.

    Raises:
        UserError: there is no such encoder, or it cannot be made.
    """
    if config.path is not None:
        encoder = make_own_encoder(config.path, setting.replace("weights", "path"))
    elif config.name == TRANSFORMERS and remembered:
        encoder = remake_encoder(remembered)
    elif config.name == TRANSFORMERS:
        encoder = load_transformers_encoder(find_folder(config.weights, setting), setting, trained=False)
    elif config.name not in ENCODERS:
        raise UserError(
            f"{setting.replace('weights', 'name')}: expected one of {', '.join((*ENCODERS, TRANSFORMERS))}, found "
            f"{config.name!r} (an encoder of your own: {format_flag(setting.replace('weights', 'path'))} "
            "path/to/file.py:Class)"
        )
    else:
        return make_encoder(config.name, output_stride=config.output_stride)
    return dilate(encoder, config.output_stride)


def dilate(encoder: Encoder, output_stride: int) -> Encoder:
    """Refine an encoder's maps to an output stride; one that does not dilate stays as it is."""
    return with_output_stride(encoder, output_stride) if encoder.dilates and output_stride < 32 else encoder
