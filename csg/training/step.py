"""One optimiser step: the only place where a loss becomes a gradient."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from csg.collective import get_world_size, sum_over_processes
from csg.config import Config
from csg.data.pair import IGNORED
from csg.losses.infonce import ranking_accuracy
from csg.messages.errors import UserError
from csg.methods import find_method_class
from csg.methods.method import Batch, Method, Term
from csg.models.encoder import Encoder
from csg.models.model import Model, Output
from csg.models.teacher import Teacher
from csg.models.weights import load_encoder, load_teacher
from csg.randomness import seed_torch
from csg.tasks import find_task
from csg.tasks.measurement import get_memory_format
from csg.training.compilation import compile_encoders
from csg.training.optimiser import make_optimiser, set_lr

ModuleT = TypeVar("ModuleT", bound=nn.Module)
DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


class NonFiniteLossError(ArithmeticError):
    """A loss term became NaN or infinite."""


@dataclass(frozen=True)
class StepResult:
    """What a step computed before it moved the weights, over this process's part of the batch."""

    output: Output
    task_loss: Tensor
    rows: int
    """How many labels the task loss is a mean over: those that are not IGNORED."""
    terms: list[Term]


class Objective(nn.Module):
    """Everything of a step that has a gradient, in one forward pass: what data-parallel training wraps."""

    def __init__(self, model: Model, method: Method) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, batch: Batch) -> StepResult:
        """Compute the task loss and the method's terms."""
        output = self.model(batch.query)
        value, rows = task_loss(output.logits, batch.labels)
        return StepResult(output, value, rows, self.method.compute_terms(batch, output, self.model))


def task_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Compute the cross-entropy, averaged over the labels that are not IGNORED.

    Args:
        logits: (N, classes), or (N, classes, H, W).
        labels: (N,) or (N, H, W) class indices or IGNORED.

    Returns:
        The mean, 0 where every label is IGNORED, and how many labels it is over.
    """
    rows = int((labels != IGNORED).sum())
    # Without a label to average over, the mean would be 0 / 0; the sum is 0 and has gradients (of 0) all the same.
    reduction = "mean" if rows else "sum"
    return F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction=reduction), rows


class Learner:
    """A model, a method and an optimiser, and the step that moves them.

    In a process group each process takes its part of the batch; all end with the weights that one process would have.
    """

    def __init__(self, config: Config, model: Model, method: Method) -> None:
        self.config = config
        self.model = model.train()
        self.method = method.train()
        self.steps = 0
        self._objective: nn.Module = Objective(model, method)
        if get_world_size() > 1:
            # All processes build the same from the seed, and queues and statistics move alike: nothing is broadcast.
            self._objective = DistributedDataParallel(self._objective, forward_sync_buffers=False, init_sync=False)

    @cached_property
    def optimiser(self) -> torch.optim.Optimizer:
        """Made when it is needed: torch imports its compiler for it, for seconds that no mere check should take."""
        return make_optimiser(self.config.optim, self.model, self.method)

    def step(self, batch: Batch, lr_factor: float) -> tuple[StepResult, dict[str, float]]:
        """Take one step at ``optim.lr`` times ``lr_factor``.

        Returns:
            The step's result, and the scalars by name, over the whole batch: losses and ranking accuracies.

        Raises:
            NonFiniteLossError: names the step and the term. Weights and optimiser are as they were, but not what moves
                before and in a forward pass: batch-norm statistics that are not frozen, a method's moving averages.
        """
        batch = self.method.prepare(batch)
        self.method.before_step()
        with choose_precision(self.config):
            result: StepResult = self._objective(batch)
        shares = _compute_shares([result.rows, *(term.rows for term in result.terms)])
        loss = _scale(result.task_loss, shares[0])
        for term, share in zip(result.terms, shares[1:], strict=True):
            loss = loss + term.weight * _scale(term.value, share)
        scalars = _name_scalars(result, loss, shares)
        for name in [name for name in scalars if name != "loss"] + ["loss"]:
            if not math.isfinite(scalars[name]):
                raise NonFiniteLossError(
                    f"{name} is {scalars[name]} at step {self.steps}; a lower optim.lr "
                    f"(now {self.config.optim.lr}), a smaller weight of that term or, where the method has one, a "
                    "higher method.temperature may help"
                )
        set_lr(self.optimiser, self.config.optim.lr * lr_factor, self.method.get_lr_factors())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.method.after_backward(self.model)
        self.optimiser.step()
        self.method.after_step(self.model, scalars)
        self.steps += 1
        return result, scalars


def choose_precision(config: Config) -> AbstractContextManager[object]:
    """Return the context that a forward pass of training runs in."""
    if config.train.precision == "bfloat16":
        return torch.autocast(config.train.device, dtype=torch.bfloat16)
    return nullcontext()


def _compute_shares(rows: list[int | None]) -> list[float]:
    """Return by how much this process's means count, relative to a part of the average size.

    Processes average their gradients. A mean over n of all N rows, of P processes, counts n P / N times; with parts of
    one size that is 1. What is no mean over rows is the same everywhere and counts once, as does a mean over no row at
    all, which is 0.
    """
    if get_world_size() == 1:
        return [1.0] * len(rows)
    totals = sum_over_processes(torch.tensor([float(count or 0) for count in rows], dtype=torch.float64)).tolist()
    return [
        count * get_world_size() / total if count is not None and total else 1.0
        for count, total in zip(rows, totals, strict=True)
    ]


def _scale(value: Tensor, share: float) -> Tensor:
    return value if share == 1 else value * share


def _name_scalars(result: StepResult, loss: Tensor, shares: list[float]) -> dict[str, float]:
    """Name the losses and ranking accuracies of the whole batch."""
    named = {"loss": loss, "loss_task": _scale(result.task_loss, shares[0])}
    for term, share in zip(result.terms, shares[1:], strict=True):
        named[f"loss_{term.name}"] = _scale(term.value, share)
        if term.logits is not None:
            named[f"ranking_accuracy_{term.name}"] = _scale(ranking_accuracy(term.logits), share)
    values = torch.stack([value.detach().to(torch.float64) for value in named.values()])
    return dict(zip(named, (sum_over_processes(values) / get_world_size()).tolist(), strict=True))


def make_learner(config: Config, *, classes: int, sources: int = 1, trained: bool = True) -> Learner:
    """Build the model from its starting weights, the method and the optimiser; all a function of the configuration.

    Unless ``trained``, no weights are read.

    Raises:
        UserError: weights that do not fit (see :func:`csg.models.weights.load_encoder`), a method that needs several
            ``sources`` of synthetic images, or the like; or the device has no bfloat16 for the teacher.
    """
    seed = config.train.seed
    encoder = _load_starting_encoder(config, trained=trained)
    model = place(make_model(config, encoder, classes=classes), config)
    with seed_torch(seed, "teacher"):
        teacher = load_teacher(config.model, seed=seed, trained=trained) or encoder
    method = find_method_class(config)(config.method, model, teacher=place(teacher, config), seed=seed)
    method.take_sources(sources)
    if config.model.teacher_precision == "bfloat16":
        if config.train.device == "cuda" and not torch.cuda.is_bf16_supported():
            raise UserError("model.teacher_precision: this CUDA device has no bfloat16; leave it unset")
        for frozen in method.frozen.values():
            if isinstance(frozen, Teacher):
                frozen.in_bfloat16 = True
    if config.model.gradient_checkpointing:
        model.encoder.checkpoint_gradients()
    if config.train.compile:
        compile_encoders(model, method, config.train.device)
    return Learner(config, model, method)


def load_frozen_encoder(config: Config) -> Encoder:
    """Load what a run starts from, or the teacher of another architecture or other weights that its settings name."""
    with seed_torch(config.train.seed, "teacher"):
        return load_teacher(config.model, seed=config.train.seed) or _load_starting_encoder(config)


def _load_starting_encoder(config: Config, *, trained: bool = True) -> Encoder:
    with seed_torch(config.train.seed, "encoder"):
        return load_encoder(config.model, seed=config.train.seed, trained=trained)


def make_model(config: Config, encoder: Encoder, *, classes: int) -> Model:
    """Put the new head on ``encoder``, which the method may first turn into another architecture."""
    with seed_torch(config.train.seed, "head"):
        return find_task(config.data).build_model(config, find_method_class(config).adapt(encoder), classes=classes)


def place(module: ModuleT, config: Config) -> ModuleT:
    """Move a module to the configured device, type and memory format."""
    module = module.to(device=config.train.device, dtype=DTYPES[config.train.precision])
    return module.to(memory_format=get_memory_format(config))  # type: ignore[call-overload,no-any-return]
