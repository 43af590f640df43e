"""Low-rank domain-specific weights: what domains share is what generalises (Li et al., ICCV 2017, arXiv:1710.03077).

The loss is cross-entropy alone. In training every layer's weights are those that all source domains share and a part of
their image's own domain, of low rank; evaluation uses the shared part alone (section 3.3;
:mod:`csg.models.low_rank_branch` has the equation). So what is peculiar to a font, or to a renderer, finds room
elsewhere.

A layer's domains' parts learn at the rate of its shared part.

Departures: the shared part starts as the pretrained weights and is not itself decomposed, and the domains' parts start
at zero, where the paper decomposes networks that it has trained for each domain; the rank is a setting, the same for
all layers. Convolutions with groups, which are of low rank as they are, norms, and layers that are frozen or make their
weights anew for each step are shared alone.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from csg.config import MethodConfig
from csg.config.settings import STRICT
from csg.messages.errors import UserError
from csg.methods.method import Batch, Learned, Method
from csg.models.encoder import Encoder
from csg.models.low_rank_branch import LowRankBranch, list_layers
from csg.models.model import Model
from csg.randomness import seed_torch


@dataclass(frozen=True, config=STRICT)
class LowRankConfig(MethodConfig):
    """Settings of the domains' parts."""

    name: str = "low_rank"
    rank: Annotated[int, Field(ge=1, le=1024)] = 4
    """Rank of what a domain adds to a layer's weights."""

    @property
    def summary(self) -> str:
        """Name and rank."""
        return f"low_rank {self.rank}"


class LowRank(Method):
    """Adds a part of low rank for each source domain to the weights of all layers, in training."""

    Config = LowRankConfig

    def __init__(self, config: Any, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self._models = (model,)  # a tuple, in which it is no part of the method's state
        self._seed = seed
        self.branches = nn.ModuleDict()
        self._weights: dict[str, nn.Parameter] = {}

    def take_sources(self, count: int) -> None:
        """Make the parts of ``count`` domains.

        Raises:
            UserError: there is one, whose part nothing could tell from the shared one; or the encoder has linear layers
                on tokens, as transformers do, for which there are no such parts here.
        """
        if count < 2:
            raise UserError(
                "method.name: low_rank expected synthetic images of several sources, found one, with which it is "
                "source_only; use source_only, or a pair with several (glyphs, or folders with --data.source A B ...)"
            )
        (model,) = self._models
        old_head = model.encoder.get_old_head()
        if any(isinstance(each, nn.Linear) and each is not old_head for each in model.encoder.modules()):
            raise UserError(
                "method.name: low_rank expected an encoder of convolutions, found linear layers in it; use a ResNet or "
                "EfficientNet, or another method"
            )
        for name, layer in list_layers(model).items():
            weight = layer.weight
            if layer is not old_head and isinstance(weight, nn.Parameter) and weight.requires_grad:
                with seed_torch(self._seed, f"low rank {name}"):
                    branch = LowRankBranch(layer, sources=count, rank=self.config.rank)
                layer.register_forward_hook(branch.add)
                self.branches[name.replace(".", "/")] = branch
                self._weights[name.replace(".", "/")] = weight
        self.to(next(model.parameters()))

    def list_learned(self) -> list[Learned]:
        """Return the domains' parts, each beside its layer's shared weights."""
        return [
            Learned(list(branch.parameters()), beside=self._weights[name]) for name, branch in self.branches.items()
        ]

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch as it is, having told the layers which domains its images are of."""
        for branch in self.branches.values():
            assert isinstance(branch, LowRankBranch)
            branch.sources = batch.sources
        return batch
