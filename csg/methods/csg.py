"""Contrastive Syn-to-Real Generalization (CSG; Chen et al., ICLR 2021, equations 2 to 6, and A-pool).

On top of cross-entropy comes InfoNCE (equation 3) for every chosen stage l (equations 4 and 5):

    L = CE + sum_l weight_l L_l,   L_l = -log( exp(z.z+ / tau) / (exp(z.z+ / tau) + sum_j exp(z.z-_j / tau)) )

L_l is the mean over the batch (:mod:`csg.losses.infonce`). An embedding z is h(g(f(x))), divided
by its length (equation 2): f is the encoder up to stage l, trained for z and frozen with its ImageNet weights for z+
and the K negatives z-; g pools, by the spatial mean or by A-pool (:mod:`csg.losses.attentional_pooling`) under the
trained encoder's attention; h is a small head. With chunks, each patch of a map is an instance (equation 6).

Departures: every stage has a weight of its own, where the paper has one lambda for all; the queue keeps all keys where
it wraps (:class:`~csg.methods.queue.KeyQueue`); where a teacher of another architecture has stages of another width,
its key heads cannot follow the query's, and stay as drawn; and A-pool takes maps that have negative entries, or another
size than the teacher's (:func:`~csg.losses.attentional_pooling.attention`).
"""

from __future__ import annotations

import copy
import dataclasses
import re
from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from csg.collective import gather_rows
from csg.config import MethodConfig
from csg.config.settings import STRICT, Count, Flat, Section, collect_hints, flatten
from csg.losses.attentional_pooling import attention, attentional_pool, average_pool, patches
from csg.losses.infonce import contrastive_logits, info_nce
from csg.messages.errors import UserError
from csg.methods.method import Batch, Method, Term
from csg.methods.queue import KeyQueue
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.model import Model, Output
from csg.models.teacher import Teacher
from csg.randomness import seed_torch

STAGES = (1, 2, 3, 4)


def _parse_stages(text: str) -> str:
    parts = text.split("+")
    if len(set(parts)) < len(parts) or not set(parts) <= {str(stage) for stage in STAGES}:
        raise ValueError("expected different stages of 1 to 4 joined by +, such as 3+4")
    return "+".join(sorted(parts))


@dataclass(frozen=True, config=STRICT)
class StageConfig(Section):
    """The contrastive loss on one stage's maps; what is unset is as for every stage."""

    weight: Annotated[float | None, Field(ge=0, le=1000)] = None
    """Weight of this stage's loss (unset: method.weight)."""
    pooling: Literal["apool", "average"] | None = None
    """How this stage's maps become vectors (unset: method.pooling)."""
    chunks: Annotated[int | None, Field(ge=1)] = None
    """Patches a side of this stage's maps (unset: method.chunks)."""


PER_STAGE = tuple(collect_hints(StageConfig))
StageSet = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) is int else value),
    AfterValidator(_parse_stages),
]


@dataclass(frozen=True, config=STRICT)
class CsgConfig(MethodConfig):
    """Settings of CSG."""

    name: str = "csg"
    stages: StageSet = "3+4"
    """Stages whose maps are contrasted, joined by +."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 0.07
    """tau of InfoNCE (0.07 in the authors' code; a secondary source says 0.007)."""
    queue_size: Annotated[int, Field(ge=1, lt=2**31)] = 65536
    """Negatives per stage, K."""
    key_momentum: Annotated[float, Field(ge=0, le=1)] = 0.999
    """The key heads are a moving average of the query heads with this momentum."""
    projection_width: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Width of the embeddings that are contrasted."""
    train_projections: bool = True
    """Whether the query heads are in the optimiser (in the authors' segmentation code they are not)."""
    weight: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """lambda: weight of each chosen stage's loss, unless the stage has its own."""
    pooling: Literal["apool", "average"] = "apool"
    """How maps become vectors: attentional pooling or the spatial mean."""
    chunks: Count = 1
    """Cut each map into chunks x chunks patches, each its own instance."""
    stage1: StageConfig = StageConfig()
    stage2: StageConfig = StageConfig()
    stage3: StageConfig = StageConfig()
    stage4: StageConfig = StageConfig()

    def __post_init__(self) -> None:
        for stage in STAGES:
            for name, value in flatten(getattr(self, f"stage{stage}")).items():
                if value is not None and stage not in self.chosen:
                    raise UserError(
                        f"method.stage{stage}.{name}: stage {stage} is not among the chosen ones "
                        f"(method.stages={self.stages}); add it there or leave this unset, found {value!r}"
                    )

    @property
    def chosen(self) -> tuple[int, ...]:
        """The chosen stages, in order."""
        return tuple(int(stage) for stage in self.stages.split("+"))

    @property
    def summary(self) -> str:
        """Stages with their pooling and weight, temperature and queue size."""
        chosen = [self.get_stage(stage) for stage in self.chosen]
        stages = " ".join(f"{s}:{c.pooling}*{c.weight:.3g}" for s, c in zip(self.chosen, chosen, strict=True))
        return f"csg {stages} tau={self.temperature:.3g} K={self.queue_size}"

    def get_stage(self, stage: int) -> StageConfig:
        """Return a chosen stage's settings with nothing left unset."""
        own: StageConfig = getattr(self, f"stage{stage}")
        unset = [name for name in PER_STAGE if getattr(own, name) is None]
        return dataclasses.replace(own, **{name: getattr(self, name) for name in unset})

    def get_active(self) -> Flat:
        """Only the chosen stages have settings: their own, or where those are unset every stage's."""
        flat = {k: value for k, value in flatten(self).items() if k not in PER_STAGE and not re.match(r"stage\d\.", k)}
        for stage in self.chosen:
            flat |= {f"stage{stage}.{name}": value for name, value in flatten(self.get_stage(stage)).items()}
        return flat


def make_projection_head(channels: int, width: int) -> nn.Sequential:
    """C -> C -> width with a ReLU between: h of equation 2."""
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, width))


class Csg(Method):
    """InfoNCE at each chosen stage between the trained encoder and the frozen ImageNet encoder.

    The key encoder keeps its starting weights for ever; only its projection heads follow the query's.
    """

    Config = CsgConfig
    two_views = True

    def __init__(self, config: CsgConfig, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self.config: CsgConfig = config
        self.stages = {stage: config.get_stage(stage) for stage in config.chosen}
        self.depth = max(self.stages)
        self.projections = nn.ModuleDict()
        self.queues = nn.ModuleDict()
        for stage in self.stages:
            with seed_torch(seed, f"projection stage{stage}"):
                head = make_projection_head(model.encoder.channels[stage - 1], config.projection_width)
            self.projections[f"stage{stage}"] = head.requires_grad_(config.train_projections)
            self.queues[f"stage{stage}"] = KeyQueue(
                config.queue_size, config.projection_width, seed=seed, purpose=f"queue stage{stage}"
            )
        self.key_projections = nn.ModuleDict()
        for stage in self.stages:
            name, width = f"stage{stage}", teacher.channels[stage - 1]
            if width == model.encoder.channels[stage - 1]:
                self.key_projections[name] = copy.deepcopy(self.projections[name])
            else:
                with seed_torch(seed, f"key projection {name}"):
                    self.key_projections[name] = make_projection_head(width, config.projection_width)
        self.key_projections.requires_grad_(requires_grad=False)
        self.to(next(model.parameters()))
        attends = any(settings.pooling == "apool" for settings in self.stages.values())
        self.frozen["key"] = Teacher(teacher, model.encoder)
        if attends:
            self.frozen["attention"] = FoldedEncoder(model.encoder)
        self._new_keys: dict[str, Tensor] = {}

    @torch.no_grad()
    def before_step(self) -> None:
        """Key head = momentum * key head + (1 - momentum) * query head, where both have one width."""
        for name, head in self.key_projections.items():
            pairs = list(zip(head.parameters(), self.projections[name].parameters(), strict=True))
            if all(key.shape == query.shape for key, query in pairs):
                for key, query in pairs:
                    key.lerp_(query, 1 - self.config.key_momentum)

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """One InfoNCE term a chosen stage."""
        key_maps = self.frozen["key"](batch.key, self.depth)
        attended = self._compute_attended_maps(batch, output, model)
        terms = []
        for stage, settings in self.stages.items():
            name = f"stage{stage}"
            chunks = settings.chunks or 1
            try:
                query, key = (patches(maps[stage - 1], chunks) for maps in (output.maps, key_maps))
            except ValueError as error:
                raise UserError(f"method.{name}.{error}") from None
            if settings.pooling == "apool":
                query = attentional_pool(query, attention(query))
                height, width = key.shape[-2:]
                key = attentional_pool(key, attention(patches(attended[stage - 1], chunks), (height, width)))
            else:
                query, key = average_pool(query), average_pool(key)
            queue = self.queues[name]
            assert isinstance(queue, KeyQueue)
            projected = self.projections[name](query)
            with torch.no_grad():
                projected_key = self.key_projections[name](key)
            # In the queue's own precision: autocast would copy all K negatives to bfloat16 in every step.
            with torch.autocast(query.device.type, enabled=False):
                embedded = F.normalize(projected.to(queue.keys.dtype), dim=1)
                self._new_keys[name] = F.normalize(projected_key.to(queue.keys.dtype), dim=1)
                logits = contrastive_logits(embedded, self._new_keys[name], queue.keys, self.config.temperature)
                terms.append(Term(f"csg_{name}", info_nce(logits), settings.weight or 0.0, logits, rows=len(logits)))
        return terms

    def _compute_attended_maps(self, batch: Batch, output: Output, model: Model) -> tuple[Tensor, ...]:
        """Return the query encoder's maps of the key view, without gradient: A-pool's attention."""
        if "attention" not in self.frozen:
            return ()
        if batch.key is batch.query:
            return tuple(maps.detach() for maps in output.maps)
        self.frozen["attention"].refresh(model.encoder)
        maps: tuple[Tensor, ...] = self.frozen["attention"](batch.key, self.depth)
        return maps

    def after_backward(self, model: Model) -> None:
        """Write the step's keys, which backward must not meet: it still reads the queue that the logits saw."""
        for stage, settings in self.stages.items():
            name = f"stage{stage}"
            queue, keys = self.queues[name], self._new_keys[name]
            assert isinstance(queue, KeyQueue)
            queue.write(gather_rows(keys, blocks=(settings.chunks or 1) ** 2))
        self._new_keys = {}
