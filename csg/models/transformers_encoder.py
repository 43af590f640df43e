"""Networks of transformers as encoders: DINOv2 and v3, ViT, CLIP's and SigLIP's image towers, ConvNeXt, Swin, ResNet.

This file alone imports transformers, and only when such an encoder is made.

CNNs and Swin have four stages, whose maps are taken before they are made smaller. Plain transformers have blocks:
stages 1 to 4 end after a quarter, a half, three quarters and all of them, and a map is a block's tokens, laid out as
patches behind the network's own last layer norm, without those that are no patch.

Departures from the published networks: nothing is dropped in training (no dropout, no stochastic depth), and DINOv3's
coordinates are not jittered: what training draws is a function of the seed and the image alone. Images whose sides are
no multiple of a patch are enlarged to one. Parameters that the last map does not depend on (mask tokens, norms of the
shallower stages' maps) do not train.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from csg.messages.errors import UserError
from csg.messages.wording import name_first
from csg.models.encoder import Encoder
from csg.models.weights_folder import Preparation, describe_missing, list_files, read_preparation

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
"""Values of a network's settings, where it has them: no jitter, maps as described above, nothing behind them."""
STAGES: Final = 4


class TransformersEncoder(Encoder):
    """A network of transformers, with the names of its own parameters below ``network``."""

    def __init__(self, network: nn.Module, config: Any, preparation: Preparation) -> None:
        """Take a network that :func:`make_network` made of its ``config``."""
        super().__init__()
        self.network = network
        self.mean, self.std = preparation.mean, preparation.std
        self.kind: str = config.model_type
        self.dilates = self.folds = self.kind == "resnet"
        self.architecture = json.dumps({"config": config.to_dict(), "mean": self.mean, "std": self.std}, default=str)
        self._patch = _get_patch(config) if self.kind in OF_ONE_GRID else 1
        self._norm = TOWERS[self.kind][2] if self.kind in TOWERS else ""
        self._ends = _choose_ends(config)
        self._blocks = _find_blocks(network, _count_blocks(config))
        self.channels = self._try_out()

    def forward(self, images: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """See :class:`~csg.models.encoder.Encoder`; all stages are computed, whatever the depth."""
        height, width = (self._patch * math.ceil(side / self._patch) for side in images.shape[-2:])
        if (height, width) != tuple(images.shape[-2:]):
            images = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
        if not self._norm:
            return tuple(self.network(images).feature_maps[:depth])
        grid = height // self._patch, width // self._patch
        states = self.network(images, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states
        norm = self.network.get_submodule(self._norm)
        return tuple(_lay_out(norm(states[end]), grid) for end in self._ends[:depth])

    def groups(self) -> dict[str, list[nn.Module]]:
        """See :class:`~csg.models.encoder.Encoder`; a last norm belongs to stage 4."""
        groups: dict[str, list[nn.Module]] = {}
        for name, modules in self.layers():
            groups.setdefault(name, []).extend(modules)
        return groups

    def layers(self) -> list[tuple[str, list[nn.Module]]]:
        """See :class:`~csg.models.encoder.Encoder`; of a plain transformer every block, else every stage."""
        before, after = _find_around(self.network, self._blocks)
        layers = [("stem", before)]
        for number, block in enumerate(self._blocks, start=1):
            stage = next(stage for stage, end in enumerate(self._ends, start=1) if number <= end)
            layers.append((f"stage{stage}", [block]))
        layers[-1][1].extend(after)
        return layers

    def checkpoint_gradients(self) -> None:
        """See :class:`~csg.models.encoder.Encoder`."""
        if not getattr(self.network, "supports_gradient_checkpointing", False):
            raise UserError(
                f"model.gradient_checkpointing: expected False, since transformers' {self.kind} has none; found True"
            )
        enable: Any = self.network.activation_checkpointing_enable
        enable(activation_checkpointing_kwargs={"use_reentrant": False})

    def _try_out(self) -> tuple[int, int, int, int]:
        """Show the network a small image: freeze what its last map does not depend on, return its maps' channels."""
        side = 2 * self._patch if self._patch > 1 else 64
        self.network.eval()
        maps = self(torch.zeros(1, 3, side, side))
        reached = {id(leaf) for leaf in _find_leaves(maps[-1])}
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in reached)
        self.network.train()
        one, two, three, four = (each.shape[1] for each in maps)
        return one, two, three, four


def load_transformers_encoder(folder: Path, setting: str, *, trained: bool = True) -> TransformersEncoder:
    """Make the encoder in a folder, with its weights, or untrained.

    Raises:
        UserError: transformers is not installed, or the folder's network is not known, has other stages than described
            above, or does not fit its weights; the message then names the first keys.
    """
    config = _read_config(folder, setting)
    preparation = read_preparation(folder, setting)
    if not trained:
        return TransformersEncoder(make_network(config, setting), config, preparation)
    if not list_files(folder, weights=True):
        raise UserError(f"{setting}: expected weights (model.safetensors or pytorch_model.bin) in {folder}, found none")
    return TransformersEncoder(_load_network(folder, config, setting), config, preparation)


def remake_encoder(architecture: str, setting: str = "model.name") -> TransformersEncoder:
    """Make the encoder of a :attr:`~csg.models.encoder.Encoder.architecture`, with untrained weights.

    Raises:
        UserError: transformers is not installed, or another version of it wrote the text.
    """
    transformers = _import_transformers(setting)
    about = json.loads(architecture)
    try:
        config = transformers.AutoConfig.for_model(**about["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{setting}: transformers {transformers.__version__} cannot make it again ({error})") from None
    preparation = Preparation(tuple(about["mean"]), tuple(about["std"]), None)
    return TransformersEncoder(make_network(config, setting), config, preparation)


def make_network(config: Any, setting: str) -> nn.Module:
    """Make a network with untrained weights.

    Raises:
        UserError: transformers has no backbone of this type.
    """
    make, arguments = _find_class(config, setting)
    network: nn.Module = make(config, **arguments)
    return network


def _import_transformers(setting: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise UserError(describe_missing(setting)) from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _read_config(folder: Path, setting: str) -> Any:
    """Read a network's settings, of a model of images and text those of its image tower."""
    transformers = _import_transformers(setting)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # many types, for files that are damaged or of unknown models
        raise UserError(
            f"{setting}: transformers {transformers.__version__} cannot read config.json in {folder} "
            f"({_get_first_sentence(error)})"
        ) from None
    config = getattr(config, "vision_config", config)
    for name, value in CHANGED.items():
        if hasattr(config, name):
            setattr(config, name, value)
    for name, value in config.to_dict().items():
        if "drop" in name and isinstance(value, int | float) and not isinstance(value, bool):
            setattr(config, name, 0.0)
    if config.model_type not in TOWERS:
        _check_backbone(config, setting)
        config.out_indices = list(_choose_ends(config, setting))
    else:
        _choose_ends(config, setting)
        config.tie_last_hidden_states = False  # the last state is a block's, as the others are
    return config


def _check_backbone(config: Any, setting: str) -> None:
    transformers = _import_transformers(setting)
    if type(config) not in transformers.MODEL_FOR_BACKBONE_MAPPING or not hasattr(config, "stage_names"):
        raise UserError(
            f"{setting}: transformers has no backbone of the type {config.model_type}; expected one of those that it "
            f"has (DINOv2, DINOv3, ConvNeXt, Swin, ResNet, ...) or {', '.join(TOWERS)}"
        )


def _find_class(config: Any, setting: str) -> tuple[Any, dict[str, Any]]:
    transformers = _import_transformers(setting)
    if config.model_type in TOWERS:
        name, arguments, _ = TOWERS[config.model_type]
        return getattr(transformers, name), arguments
    _check_backbone(config, setting)
    return transformers.MODEL_FOR_BACKBONE_MAPPING[type(config)], {}


def _load_network(folder: Path, config: Any, setting: str) -> nn.Module:
    make, arguments = _find_class(config, setting)
    options = {"dtype": torch.float32, "local_files_only": True, "output_loading_info": True, "weights_only": True}
    try:
        network, found = make.from_pretrained(folder, config=config, **options, **arguments)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"{setting}: cannot load the weights of a {config.model_type} from {folder} ({_get_first_sentence(error)})"
        ) from None
    missing = [
        name for name in found["missing_keys"] if "hidden_states_norms." not in name and "mask_token" not in name
    ]
    parts = {"missing": missing, "of another shape": [str(key[0]) for key in found["mismatched_keys"]]}
    if any(parts.values()):
        wrong = "; ".join(f"{len(keys)} {name}: {name_first(sorted(keys))}" for name, keys in parts.items() if keys)
        raise UserError(f"{setting}: the weights in {folder} do not fit its config.json ({wrong})")
    assert isinstance(network, nn.Module)
    return network


def _get_first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).partition(". ")[0][:300] or type(error).__name__


def _count_blocks(config: Any) -> int:
    return config.num_hidden_layers if config.model_type in TOWERS else len(config.stage_names) - 1


def _choose_ends(config: Any, setting: str = "model.weights") -> tuple[int, int, int, int]:
    """Return the blocks, from 1, after which stages 1 to 4 end.

    Raises:
        UserError: there are fewer than four blocks.
    """
    blocks = _count_blocks(config)
    if blocks < STAGES:
        raise UserError(f"{setting}: expected a network of at least {STAGES} stages or blocks, found {blocks}")
    one, two, three, four = (math.ceil(blocks * stage / STAGES) for stage in range(1, STAGES + 1))
    return one, two, three, four


def _get_patch(config: Any) -> int:
    """Return the side of the square patches."""
    patch = config.patch_size
    return int(patch if isinstance(patch, int) else patch[0])


def _lay_out(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Turn (N, T, C) tokens into (N, C, h, w) maps of the last h * w of them; those ahead are no patches."""
    height, width = grid
    return tokens[:, -height * width :].transpose(1, 2).reshape(tokens.shape[0], -1, height, width)


def _find_blocks(network: nn.Module, count: int) -> list[nn.Module]:
    found = (module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module) == count)
    return list(next(found))


def _find_around(network: nn.Module, blocks: list[nn.Module]) -> tuple[list[nn.Module], list[nn.Module]]:
    """Return the modules that are declared ahead of the blocks, and those behind them."""
    before: list[nn.Module] = []
    after: list[nn.Module] = []
    seen = False
    for child in network.children():
        if child is blocks[0]:
            return [], []
        if blocks[0] in child.modules():
            inner_before, inner_after = _find_around(child, blocks)
            before += inner_before
            after += inner_after
            seen = True
        else:
            (after if seen else before).append(child)
    return before, after


def _find_leaves(tensor: Tensor) -> Iterator[Tensor]:
    """Yield the tensors that a tensor's gradient reaches, by its graph: nothing is computed."""
    waiting, seen = [tensor.grad_fn], set()
    while waiting:
        node: Any = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        waiting += [function for function, _ in node.next_functions]
