"""GCISG: style invariance, guided by the frozen encoder (Nam et al., ECCV 2022, arXiv:2208.10024), CSG's successor.

On top of cross-entropy, for every chosen stage l:

    L = CE + sum_l ( invariance_weight KL(p'_l || p_l) + guidance_weight |a_l/|a_l| - a*_l/|a*_l||^2 )

*Invariance*: an image's embedding z in one view and z' in the other stand alike to K earlier embeddings v_j. p is the
softmax over j of z.v_j / temperature, p' that of z'.v_j / target_temperature, which is sharper. z is h(g(f(x))),
divided by its length, as in CSG, with g the spatial mean; z' comes from a follower: encoder and head that are moving
averages of those that train. The v_j are the follower's embeddings of earlier images, in a queue. The divergence is
:func:`csg.losses.distillation.distillation`.

*Guidance*: a and a* are a stage's maps in the trained and in the frozen encoder on the same view, each pooled under its
own attention (:mod:`csg.losses.attentional_pooling`); they are held to one direction.

Each half can be used alone. Departures from the authors' code: each image is compared one way, where they add the
divergences of both ways, so that their term is about twice as large at the same weight; the distance is squared and
averaged over images, where they take the norm of the whole batch's differences, which has no gradient where the two
agree, as at the start; the follower's head follows too; and the queue keeps all keys where it wraps. On dense tasks
maps are pooled whole.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from csg.collective import gather_rows
from csg.config import MethodConfig
from csg.config.settings import STRICT, Flat, flatten
from csg.losses.attentional_pooling import attention, attentional_pool, average_pool
from csg.losses.distillation import distillation
from csg.losses.squared_distance import feature_distance
from csg.messages.errors import UserError
from csg.methods.csg import StageSet, make_projection_head
from csg.methods.method import Batch, Method, Term
from csg.methods.queue import KeyQueue
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.model import Model, Output
from csg.models.teacher import Teacher, check_widths
from csg.randomness import seed_torch

INVARIANCE_SETTINGS = ("temperature", "target_temperature", "queue_size", "follower_momentum", "projection_width")


@dataclass(frozen=True, config=STRICT)
class GcisgConfig(MethodConfig):
    """Settings of GCISG's two halves."""

    name: str = "gcisg"
    stages: StageSet = "3+4"
    """Stages whose maps are compared, joined by +."""
    invariance_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Weight of the divergence between the two views at each stage; 0 switches it off."""
    guidance_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Weight of the distance from the frozen encoder at each stage; 0 switches it off."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 0.12
    """Of the view that is trained on."""
    target_temperature: Annotated[float, Field(gt=0, le=10)] = 0.04
    """Of the follower's view."""
    queue_size: Annotated[int, Field(ge=1, lt=2**31)] = 65536
    """Earlier embeddings per stage, K."""
    follower_momentum: Annotated[float, Field(ge=0, le=1)] = 0.996
    """The follower is a moving average with this momentum."""
    projection_width: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Width of the embeddings."""

    def __post_init__(self) -> None:
        if self.invariance_weight == self.guidance_weight == 0:
            raise UserError(
                "method.invariance_weight: expected above 0, or method.guidance_weight above 0; with neither half this "
                "is source_only"
            )

    @property
    def summary(self) -> str:
        """Stages, and the weights of the halves that are on."""
        halves = {"invariance": self.invariance_weight, "guidance": self.guidance_weight}
        return " ".join(["gcisg", self.stages, *(f"{half}*{weight:.3g}" for half, weight in halves.items() if weight)])

    def get_active(self) -> Flat:
        """Without invariance its settings do nothing."""
        unused = () if self.invariance_weight else INVARIANCE_SETTINGS
        return {name: value for name, value in flatten(self).items() if name not in unused}


class Gcisg(Method):
    """Adds, at each chosen stage, the divergence between the views and the distance from the frozen encoder."""

    Config = GcisgConfig
    two_views = True

    def __init__(self, config: GcisgConfig, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self.config: GcisgConfig = config
        self.stages = [int(stage) for stage in config.stages.split("+")]
        self.two_views = config.invariance_weight > 0
        self.projections = nn.ModuleDict()
        self.queues = nn.ModuleDict()
        self.follower = nn.ModuleDict()
        if config.invariance_weight:
            for stage in self.stages:
                name = f"stage{stage}"
                with seed_torch(seed, f"projection {name}"):
                    head = make_projection_head(model.encoder.channels[stage - 1], config.projection_width)
                self.projections[name] = head
                self.queues[name] = KeyQueue(
                    config.queue_size, config.projection_width, seed=seed, purpose=f"queue {name}"
                )
            self.follower["encoder"] = copy.deepcopy(model.encoder)
            self.follower["projections"] = copy.deepcopy(self.projections)
            self.follower.requires_grad_(requires_grad=False)
            self.frozen["follower"] = FoldedEncoder(model.encoder)
        if config.guidance_weight:
            check_widths(
                "gcisg's guidance",
                self.stages,
                student=model.encoder,
                teacher=teacher,
                otherwise=", or method.guidance_weight=0",
            )
            self.frozen["teacher"] = Teacher(teacher, model.encoder)
        self.to(next(model.parameters()))
        self._new_keys: dict[str, Tensor] = {}

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """Return one term a chosen stage for each half that is on."""
        invariance = self._compute_invariance_terms(batch, output) if self.config.invariance_weight else []
        return [
            *invariance,
            *(self._compute_guidance_terms(batch, output, model) if self.config.guidance_weight else []),
        ]

    def _compute_invariance_terms(self, batch: Batch, output: Output) -> list[Term]:
        encoder = self.follower["encoder"]
        assert isinstance(encoder, Encoder)
        self.frozen["follower"].refresh(encoder)
        followed = self.frozen["follower"](batch.key, max(self.stages))
        terms = []
        for stage in self.stages:
            name = f"stage{stage}"
            queue, heads = self.queues[name], self.follower["projections"]
            assert isinstance(queue, KeyQueue) and isinstance(heads, nn.ModuleDict)
            projected = self.projections[name](average_pool(output.maps[stage - 1]))
            with torch.no_grad():
                projected_key = heads[name](average_pool(followed[stage - 1]))
            # In the queue's own precision: autocast would copy all K embeddings to bfloat16 in every step.
            with torch.autocast(projected.device.type, enabled=False):
                query, key = (F.normalize(each.to(queue.keys.dtype), dim=1) for each in (projected, projected_key))
                student = query @ queue.keys.T / self.config.temperature
                target = key @ queue.keys.T / self.config.target_temperature
                value = distillation(student, target)
            self._new_keys[name] = key
            terms.append(Term(f"invariance_{name}", value, self.config.invariance_weight, rows=len(query)))
        return terms

    def _compute_guidance_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        frozen = self.frozen["teacher"](batch.query, max(self.stages))
        precision = next(model.parameters()).dtype
        terms = []
        # In the weights' precision: of the small difference of two features bfloat16 would leave two or three digits.
        with torch.autocast(batch.query.device.type, enabled=False):
            for stage in self.stages:
                maps = (each[stage - 1].to(precision) for each in (output.maps, frozen))
                ours, theirs = (F.normalize(attentional_pool(each, attention(each)), dim=1) for each in maps)
                value = feature_distance(ours, theirs)
                terms.append(Term(f"guidance_stage{stage}", value, self.config.guidance_weight, rows=len(ours)))
        return terms

    def after_backward(self, model: Model) -> None:
        """Write the step's embeddings, which backward must not meet: it still reads the queue that the logits saw."""
        for name, keys in self._new_keys.items():
            queue = self.queues[name]
            assert isinstance(queue, KeyQueue)
            queue.write(gather_rows(keys))
        self._new_keys = {}

    @torch.no_grad()
    def after_step(self, model: Model, scalars: Mapping[str, float]) -> None:
        """Follower = momentum * follower + (1 - momentum) * what trains; it takes over statistics of batch norms."""
        if not self.config.invariance_weight:
            return
        trained = nn.ModuleDict({"encoder": model.encoder, "projections": self.projections})
        for mine, theirs in zip(self.follower.parameters(), trained.parameters(), strict=True):
            mine.lerp_(theirs, 1 - self.config.follower_momentum)
        for statistic, newest in zip(self.follower.buffers(), trained.buffers(), strict=True):
            statistic.copy_(newest)
