"""Networks of timm, which transformers' adapter makes and loads, as encoders.

Stages 1 to 4 of a network whose maps become smaller are the last four that timm lists of it, stage 4 behind its last
norm where it has one of its own. Of a plain transformer they end after a quarter, a half, three quarters and all of its
blocks, behind the last norm, without the tokens that are no patch.

Departures from the published networks are those of :mod:`csg.models.transformers_encoder`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault, is_process_fault
from csg.models.transformers_encoder import TransformersEncoder, list_parts
from csg.models.transformers_network import STAGES, choose_ends, read_timm_facts
from csg.models.weights_folder import Preparation


class TimmEncoder(TransformersEncoder):
    """A network of timm, with the names of its own parameters below ``network.timm_model``."""

    def __init__(self, network: nn.Module, config: Any, preparation: Preparation, setting: str) -> None:
        """Take a network that was made of ``config``, which errors call ``setting``."""
        self._setting = setting
        _drop_nothing(network)
        super().__init__(network, config, preparation)
        self._has_old_head = self._can_use_head()
        if not self._has_old_head:
            self._timm.reset_classifier(0)

    @property
    def _timm(self) -> Any:
        return self.network.timm_model

    def get_old_head(self) -> nn.Linear | None:
        """See :class:`~csg.models.encoder.Encoder`."""
        head: nn.Linear | None = self._timm.get_classifier() if self._has_old_head else None
        return head

    def checkpoint_gradients(self) -> None:
        """See :class:`~csg.models.encoder.Encoder`; batch norms would take each batch twice into their statistics."""
        if any(isinstance(module, nn.BatchNorm2d) for module in self.modules()):
            raise UserError(
                "model.gradient_checkpointing: expected False, since this network of timm has batch norms, which "
                "would take every image into their statistics twice; found True"
            )
        super().checkpoint_gradients()

    def _find_stages(self, config: Any) -> None:
        """See :class:`~csg.models.transformers_encoder.TransformersEncoder`."""
        about = [(info["module"], info["reduction"]) for info in self._timm.feature_info]
        plain = len({reduction for _, reduction in about}) == 1
        fixed = read_timm_facts(config).get("fixed_input_size", False)
        self._norm = ""
        self._patch = about[0][1] if plain or fixed else 1
        self._ends = choose_ends(len(about) if plain else min(len(about), STAGES), self._setting)
        self._taken = [len(about) - self._ends[-1] + end - 1 for end in self._ends]
        modules = [self._timm.get_submodule(name) for name, _ in about]
        # A plain network's blocks follow each other, and so do stages 1 to 4 of one whose stem ends with no map. Else
        # the first module of a stage is that behind the last map.
        if plain or len(about) == STAGES:
            self._blocks = modules
        else:
            parts = list_parts(self._timm, modules)
            self._blocks = [parts[parts.index(module) + 1] for module in modules[-STAGES - 1 : -1]]

    def _compute_maps(self, images: Tensor, depth: int) -> tuple[Tensor, ...]:
        """See :class:`~csg.models.transformers_encoder.TransformersEncoder`."""
        return tuple(
            self._timm.forward_intermediates(images, indices=self._taken, norm=True, intermediates_only=True)[:depth]
        )

    @torch.no_grad()
    def _can_use_head(self) -> bool:
        """Whether the network's classifier is a linear layer on averaged stage-4 maps."""
        head = self._timm.get_classifier()
        if not isinstance(head, nn.Linear) or head.in_features != self.channels[-1]:
            return False
        drawn = torch.Generator().manual_seed(0)
        images, maps = (
            torch.randn(2, 3, 64, 64, generator=drawn),
            torch.randn(2, self.channels[-1], 3, 2, generator=drawn),
        )
        self.eval()
        try:
            pooled, features = self._timm.forward_head(maps, pre_logits=True), self._timm.forward_features(images)
        except Exception as error:  # of a network that takes tokens, or whose pooling needs another size
            if is_machine_fault(error) or is_process_fault(error):
                raise
            return False
        else:
            expected = (pooled, maps.mean((2, 3))), (features, self(images)[-1])
            return all(one.shape == other.shape and torch.allclose(one, other, atol=1e-5) for one, other in expected)
        finally:
            self.train()


def _drop_nothing(network: nn.Module) -> None:
    """Let neither dropout nor stochastic depth change what a network computes, as in evaluation."""
    for module in network.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0  # type: ignore[assignment]
