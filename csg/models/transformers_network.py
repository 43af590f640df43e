"""Networks of transformers: their settings, their classes and their weights.

This file alone imports transformers, and only when such a network is made; timm only when one of its networks is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault, is_process_fault
from csg.messages.wording import name_first
from csg.models.weights_folder import describe_missing, is_of_timm

TOWERS: Final[dict[str, tuple[str, dict[str, Any], str]]] = {
    "vit": ("ViTModel", {"add_pooling_layer": False}, "layernorm"),
    "clip_vision_model": ("CLIPVisionModel", {}, "post_layernorm"),
    "siglip_vision_model": ("SiglipVisionModel", {}, "post_layernorm"),
}
"""Plain transformers without a backbone class, by their type: model class, its arguments, its last layer norm."""
OF_ONE_GRID: Final = ("dinov2", "dinov2_with_registers", "dinov3_vit", *TOWERS)
"""Types of plain transformers."""
CHANGED: Final[dict[str, Any]] = {
    **dict.fromkeys(("pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale")),
    **dict.fromkeys(("apply_layernorm", "reshape_hidden_states"), True),
    **dict.fromkeys(("return_class_token", "vision_use_head"), False),
}
"""Values of a network's settings, where it has them: no jitter, maps as
:mod:`csg.models.transformers_encoder` describes them, nothing behind them."""
TIMM: Final = "timm_wrapper"
"""Type of timm's networks, by the adapter that makes them."""
OF_ANY_SIZE: Final[tuple[dict[str, Any], ...]] = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""Arguments that let a network of timm take images of other sizes than it knows; a class has one of them, or none."""
STAGES: Final = 4


def read_config(folder: Path, setting: str) -> Any:
    """Read a network's settings, of a model of images and text those of its image tower.

    Raises:
        UserError: transformers is not installed, cannot read them, or has no backbone of this type or of four stages.
    """
    transformers = _import_transformers(setting)
    if is_of_timm(folder):
        _import_timm(setting)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # many types, for files that are damaged or of unknown models
        raise UserError(
            f"{setting}: transformers {transformers.__version__} cannot read config.json in {folder} "
            f"({get_first_sentence(error)})"
        ) from None
    if config.model_type == "timm_backbone":
        raise UserError(
            f"{setting}: expected a network of timm as timm itself saves it (save_for_hf), or transformers' "
            f"TimmWrapperModel, found a timm_backbone in {folder}, which reads no weights from there"
        )
    if config.model_type == TIMM:
        return _prepare_for_timm(config, setting)
    config = getattr(config, "vision_config", config)
    for name, value in CHANGED.items():
        if hasattr(config, name):
            setattr(config, name, value)
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(config, name, 0.0)
    if config.model_type not in TOWERS:
        _check_backbone(config, setting)
        config.out_indices = list(choose_ends(count_blocks(config), setting))
    else:
        choose_ends(count_blocks(config), setting)
        config.tie_last_hidden_states = False  # the last state is a block's, as the others are
    return config


def remake_config(settings: Mapping[str, Any], setting: str) -> Any:
    """Return a network's settings, which were a dictionary meanwhile.

    Raises:
        UserError: transformers is not installed, or another version of it made the dictionary.
    """
    transformers = _import_transformers(setting)
    if settings["model_type"] == TIMM:
        _import_timm(setting)
        return transformers.TimmWrapperConfig.from_dict(dict(settings))
    try:
        return transformers.AutoConfig.for_model(**settings)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{setting}: transformers {transformers.__version__} cannot make it again ({error})") from None


def make_network(config: Any, setting: str) -> nn.Module:
    """Make a network with untrained weights.

    Raises:
        UserError: transformers has no backbone of this type.
    """
    make, arguments = _find_class(config, setting)
    network: nn.Module = make(config, **arguments)
    return network


def load_network(folder: Path, config: Any, setting: str) -> nn.Module:
    """Make a network with the weights in a folder.

    Raises:
        UserError: they cannot be loaded, or do not fit; the message names the first keys.
    """
    make, arguments = _find_class(config, setting)
    options = {"dtype": torch.float32, "local_files_only": True, "output_loading_info": True, "weights_only": True}
    try:
        network, found = make.from_pretrained(folder, config=config, **options, **arguments)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{setting}: cannot load the weights of a {config.model_type} from {folder} ({get_first_sentence(error)})"
        ) from None
    missing = [
        name for name in found["missing_keys"] if "hidden_states_norms." not in name and "mask_token" not in name
    ]
    parts = {"missing": missing, "of another shape": [str(key[0]) for key in found["mismatched_keys"]]}
    if any(parts.values()):
        wrong = "; ".join(f"{len(keys)} {name}: {name_first(sorted(keys))}" for name, keys in parts.items() if keys)
        raise UserError(f"{setting}: the weights in {folder} do not fit its config.json ({wrong})")
    assert isinstance(network, nn.Module)
    for tensor in (*network.parameters(), *network.buffers()):  # as read they lie unaligned, and so round otherwise
        tensor.data = tensor.data.clone()
    return network


def count_blocks(config: Any) -> int:
    """Return how many blocks a plain transformer has, or how many stages another network has."""
    return config.num_hidden_layers if config.model_type in TOWERS else len(config.stage_names) - 1


def choose_ends(blocks: int, setting: str = "model.weights") -> tuple[int, int, int, int]:
    """Return the blocks, from 1, after which stages 1 to 4 end.

    Raises:
        UserError: there are fewer than four blocks.
    """
    if blocks < STAGES:
        raise UserError(f"{setting}: expected a network of at least {STAGES} stages or blocks, found {blocks}")
    one, two, three, four = (math.ceil(blocks * stage / STAGES) for stage in range(1, STAGES + 1))
    return one, two, three, four


def _import_transformers(setting: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise UserError(describe_missing(setting)) from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _import_timm(setting: str) -> Any:
    try:
        import timm
    except Exception as error:  # it is not there, or torchvision is not, or does not fit torch
        raise UserError(
            f"{setting}: networks of timm need the packages timm and torchvision, found that they cannot be imported "
            f"({get_first_sentence(error)}); install timm and the torchvision that is made for torch "
            f"{torch.__version__}"
        ) from None
    return timm


def _prepare_for_timm(config: Any, setting: str) -> Any:
    """Let a network of timm drop nothing and take images of any size, where it can.

    Raises:
        UserError: timm does not know the network, or not the arguments that it was made with.
    """
    timm = _import_timm(setting)
    known = f"timm {timm.__version__}"
    if not timm.is_model(config.architecture):
        raise UserError(f"{setting}: {known} has no network named {config.architecture}; install one that has it")
    given = {name: 0.0 if "drop" in name else value for name, value in (config.model_args or {}).items()}
    given.pop("num_classes", None)  # timm writes it; the adapter takes it from elsewhere, and not twice
    reason = ""
    for more in OF_ANY_SIZE if read_timm_facts(config).get("fixed_input_size") else ({},):
        config.model_args = given | more
        try:
            with torch.device("meta"):
                make_network(config, setting)
        except Exception as error:  # of many types, for arguments that a class does not have
            if is_machine_fault(error) or is_process_fault(error):
                raise
            reason = get_first_sentence(error)
        else:
            return config
    raise UserError(f"{setting}: {known} cannot make a {config.architecture} as config.json describes it ({reason})")


def read_timm_facts(config: Any) -> dict[str, Any]:
    """Return what timm says of a network in its folder, where it does."""
    return getattr(config, "pretrained_cfg", None) or {}


def _check_backbone(config: Any, setting: str) -> None:
    transformers = _import_transformers(setting)
    if type(config) not in transformers.MODEL_FOR_BACKBONE_MAPPING or not hasattr(config, "stage_names"):
        raise UserError(
            f"{setting}: transformers has no backbone of the type {config.model_type}; expected one of those that it "
            f"has (DINOv2, DINOv3, ConvNeXt, Swin, ResNet, ...) or {', '.join(TOWERS)}"
        )


def _find_class(config: Any, setting: str) -> tuple[Any, dict[str, Any]]:
    transformers = _import_transformers(setting)
    if config.model_type == TIMM:
        classes = transformers.TimmWrapperForImageClassification, transformers.TimmWrapperModel
        return classes[config.num_labels == 0], {}
    if config.model_type in TOWERS:
        name, arguments, _ = TOWERS[config.model_type]
        return getattr(transformers, name), arguments
    _check_backbone(config, setting)
    return transformers.MODEL_FOR_BACKBONE_MAPPING[type(config)], {}


def get_first_sentence(error: Exception) -> str:
    """Return what an error says up to its first full stop, or its type where it says nothing."""
    return " ".join(str(error).split()).partition(". ")[0][:300] or type(error).__name__
