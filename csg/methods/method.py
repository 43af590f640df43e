"""What a method is: terms added to the task loss, and what it remembers between steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from csg.config import MethodConfig
from csg.models.encoder import Encoder
from csg.models.folding import FoldedEncoder
from csg.models.model import Model, Output


@dataclass(frozen=True)
class Batch:
    """One training batch, normalised for the encoder."""

    query: Tensor
    """(N, 3, H, W): the view that is trained on."""
    key: Tensor
    """(N, 3, H, W): the other view; the same object as ``query`` when there is only one."""
    labels: Tensor
    """(N,) class indices, or (N, H, W) for every pixel of the query; -100 for those that no loss looks at."""
    indices: Tensor
    """(N,) numbers of the images: with ``epoch``, an address for what is drawn of each, and without ``data.balance``
    their places in source/train."""
    epoch: int
    """0 for the first."""
    sources: Tensor
    """(N,) int64, which of several sources each image is from; 0 where there is one."""
    source_count: int
    """How many sources the pair has."""


@dataclass(frozen=True)
class Term:
    """One term of the loss beside the task's."""

    name: str
    value: Tensor
    """A scalar, before its weight."""
    weight: float
    logits: Tensor | None = None
    """(rows, 1 + K) of a contrastive term, the positive first."""
    rows: int | None = None
    """How many rows the value is a mean over; None where it is no mean over the batch, such as a penalty on weights."""


@dataclass(frozen=True)
class Learned:
    """Parameters of a method that learn alike."""

    parameters: Sequence[nn.Parameter]
    beside: nn.Parameter | None = None
    """A parameter of the model, at whose learning rate these learn; unset, they learn at the full rate."""
    lr_factor: float = 1.0
    """On the full rate; 1 where they learn ``beside`` another."""
    decays: bool = True
    """Whether weight decay draws them to zero, as it does those of the model."""

    def __post_init__(self) -> None:
        if self.beside is not None and (self.lr_factor != 1 or not self.decays):
            raise ValueError(
                "expected parameters beside another to learn and to decay like it, found a rate of their own"
            )


class Method(nn.Module):
    """Base of all methods: cross-entropy alone, on one view.

    A method is made after its model was given its starting weights, type and device. Its state dict is part of every
    checkpoint.
    """

    Config: ClassVar[type[MethodConfig]]
    two_views: bool = False
    """Whether the key view is looked at; where not, it is not computed."""

    def __init__(self, config: Any, model: Model, *, teacher: Encoder, seed: int) -> None:
        """Take the method's settings and the model as it starts.

        Args:
            config: an instance of the class's ``Config``.
            model: what is trained.
            teacher: the encoder that holds the real-world knowledge. Unless ``model.teacher_weights`` or
                ``model.teacher_name`` say otherwise it is ``model.encoder`` itself: copy what has to stay.
            seed: of what the method draws.
        """
        super().__init__()
        self.config = config
        self.frozen: dict[str, FoldedEncoder] = {}
        """Copies of encoders. They are functions of weights that are stored elsewhere, so they are in a dict, where no
        checkpoint and no optimiser finds them."""

    @classmethod
    def adapt(cls, encoder: Encoder) -> Encoder:
        """Return the encoder to train: ``encoder``, or a changed copy where the method is an architecture."""
        return encoder

    @classmethod
    def uses_old_head(cls, config: Any) -> bool:  # noqa: ARG003
        """Say whether the teacher's ImageNet classifier takes part, which a file of weights may lack."""
        return False

    def take_sources(self, count: int) -> None:
        """Take how many sources the synthetic images are from, once, before the optimiser is made."""

    def list_learned(self) -> list[Learned]:
        """Return how the method's own parameters learn: unless it says otherwise, at the full rate."""
        return [Learned(list(self.parameters()))]

    def prepare(self, batch: Batch) -> Batch:
        """Return the batch to train on: as it is, or with other views."""
        return batch

    def before_step(self) -> None:
        """Update what moves ahead of a step, such as moving averages."""

    def get_lr_factors(self) -> Mapping[str, float]:
        """Return factors on the learning rates of the next step, by parameter group (stem, stage1, ..., head)."""
        return {}

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """Compute the terms of one step from the model's output on ``batch.query``."""
        return []

    def after_backward(self, model: Model) -> None:
        """Store what the next step looks at, such as keys; gradients are there, weights have not moved."""

    def after_step(self, model: Model, scalars: Mapping[str, float]) -> None:
        """Look at how far the weights moved, and at the step's losses (``loss_task``, ``loss_<term>``)."""

    def after_epoch(self, model: Model) -> None:
        """Refresh what is refreshed once an epoch."""
