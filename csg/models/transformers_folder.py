"""From a folder of transformers or timm, or from what a run remembers of it, to an encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault, is_process_fault
from csg.models.timm_encoder import TimmEncoder
from csg.models.transformers_encoder import TransformersEncoder
from csg.models.transformers_network import (
    TIMM,
    get_first_sentence,
    load_network,
    make_network,
    read_config,
    remake_config,
)
from csg.models.weights_folder import Preparation, list_files, read_preparation


def load_transformers_encoder(folder: Path, setting: str, *, trained: bool = True) -> TransformersEncoder:
    """Make the encoder in a folder, with its weights, or untrained.

    Raises:
        UserError: transformers, or for a network of timm timm, is not installed; or the folder's network is not known,
            has other stages than :mod:`csg.models.transformers_encoder` and :mod:`csg.models.timm_encoder` describe, or
            does not fit its weights; the message then names the first keys.
    """
    config = read_config(folder, setting)
    preparation = read_preparation(folder, setting)
    if not trained:
        return _make_encoder(make_network(config, setting), config, preparation, setting)
    if not list_files(folder, weights=True):
        raise UserError(f"{setting}: expected weights (model.safetensors or pytorch_model.bin) in {folder}, found none")
    return _make_encoder(load_network(folder, config, setting), config, preparation, setting)


def remake_encoder(architecture: str, setting: str = "model.name") -> TransformersEncoder:
    """Make the encoder of a :attr:`~csg.models.encoder.Encoder.architecture`, with untrained weights.

    Raises:
        UserError: see :func:`csg.models.transformers_network.remake_config`.
    """
    about = json.loads(architecture)
    config = remake_config(about["config"], setting)
    preparation = Preparation(tuple(about["mean"]), tuple(about["std"]), None)
    return _make_encoder(make_network(config, setting), config, preparation, setting)


def _make_encoder(network: nn.Module, config: Any, preparation: Preparation, setting: str) -> TransformersEncoder:
    if config.model_type != TIMM:
        return TransformersEncoder(network, config, preparation)
    try:
        return TimmEncoder(network, config, preparation, setting)
    except UserError:
        raise
    except Exception as error:  # timm has hundreds of networks, and not all give maps
        if is_machine_fault(error) or is_process_fault(error):
            raise
        raise UserError(
            f"{setting}: expected a network of timm that gives the maps of four stages or of its blocks, found that "
            f"{config.architecture} does not ({get_first_sentence(error)}); choose another"
        ) from None
