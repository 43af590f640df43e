"""Networks of transformers as encoders: DINOv2 and v3, ViT, CLIP's and SigLIP's image towers, ConvNeXt, Swin, ResNet.

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
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from csg.messages.errors import UserError
from csg.models.encoder import Encoder
from csg.models.transformers_network import (
    OF_ONE_GRID,
    TOWERS,
    choose_ends,
    count_blocks,
)
from csg.models.weights_folder import Preparation


class TransformersEncoder(Encoder):
    """A network of transformers, with the names of its own parameters below ``network``."""

    def __init__(self, network: nn.Module, config: Any, preparation: Preparation) -> None:
        """Take a network that was made of ``config``."""
        super().__init__()
        self.network = network
        self.mean, self.std = preparation.mean, preparation.std
        self.kind: str = config.model_type
        self.dilates = self.folds = self.kind == "resnet"
        self.architecture = json.dumps({"config": config.to_dict(), "mean": self.mean, "std": self.std}, default=str)
        self._find_stages(config)
        self.channels = self._try_out()

    def forward(self, images: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """See :class:`~csg.models.encoder.Encoder`; all stages are computed, whatever the depth."""
        height, width = (self._patch * math.ceil(side / self._patch) for side in images.shape[-2:])
        if (height, width) != tuple(images.shape[-2:]):
            images = F.interpolate(images, size=(height, width), mode="bilinear", align_corners=False)
        return self._compute_maps(images, depth)

    def _compute_maps(self, images: Tensor, depth: int) -> tuple[Tensor, ...]:
        """Return the first ``depth`` stages' maps of images whose sides are multiples of a patch."""
        if not self._norm:
            return tuple(self.network(images).feature_maps[:depth])
        grid = images.shape[-2] // self._patch, images.shape[-1] // self._patch
        states = self.network(images, interpolate_pos_encoding=True, output_hidden_states=True).hidden_states
        norm = self.network.get_submodule(self._norm)
        return tuple(_lay_out(norm(states[end]), grid) for end in self._ends[:depth])

    def list_groups(self) -> dict[str, list[nn.Module]]:
        """See :class:`~csg.models.encoder.Encoder`; a last norm belongs to stage 4."""
        groups: dict[str, list[nn.Module]] = {}
        for name, modules in self.list_layers():
            groups.setdefault(name, []).extend(modules)
        return groups

    def list_layers(self) -> list[tuple[str, list[nn.Module]]]:
        """See :class:`~csg.models.encoder.Encoder`; of a plain transformer every block, else every stage."""
        layers: list[tuple[str, list[nn.Module]]] = [("stem", [])]
        for module in list_parts(self.network, self._blocks):
            if module in self._blocks:
                stage = next(stage for stage, end in enumerate(self._ends, start=1) if len(layers) <= end)
                layers.append((f"stage{stage}", []))
            layers[-1][1].append(module)
        return layers

    def checkpoint_gradients(self) -> None:
        """See :class:`~csg.models.encoder.Encoder`."""
        if not getattr(self.network, "supports_gradient_checkpointing", False):
            raise UserError(
                f"model.gradient_checkpointing: expected False, since transformers' {self.kind} has none; found True"
            )
        enable: Any = self.network.activation_checkpointing_enable
        enable(activation_checkpointing_kwargs={"use_reentrant": False})

    def _find_stages(self, config: Any) -> None:
        """Find the sides of a patch, the first modules of all blocks or stages, and the blocks that stages end with."""
        self._patch = _get_patch(config) if self.kind in OF_ONE_GRID else 1
        self._norm = TOWERS[self.kind][2] if self.kind in TOWERS else ""
        self._ends = choose_ends(count_blocks(config))
        self._blocks = _find_blocks(self.network, count_blocks(config))

    def _try_out(self) -> tuple[int, int, int, int]:
        """Show the network a small image: freeze what its last map does not depend on, return its maps' channels."""
        side = max(2 * self._patch, 64)
        self.network.eval()
        maps = self(torch.zeros(1, 3, side, side))
        reached = {id(leaf) for leaf in _find_leaves(maps[-1])}
        for parameter in self.network.parameters():
            parameter.requires_grad_(id(parameter) in reached)
        self.network.train()
        one, two, three, four = (each.shape[1] for each in maps)
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


def list_parts(network: nn.Module, within: list[nn.Module]) -> list[nn.Module]:
    """Return a network's modules in the order of their declaration, opening only those that hold one of ``within``.

    Parameters of one that is opened, such as timm's class tokens, come ahead of its modules, as a module of their own.
    """
    bare = list(network.parameters(recurse=False))
    parts: list[nn.Module] = [nn.ParameterList(bare)] if bare else []
    for child in network.children():
        if child in within or not any(module in within for module in child.modules()):
            parts.append(child)
        else:
            parts += list_parts(child, within)
    return parts


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
