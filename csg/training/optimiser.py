"""Optimiser and learning-rate schedule, with the choices of the published recipe as settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from csg.config import Config, OptimConfig
from csg.methods.method import Method
from csg.models.model import Model


class PublishedSGD(torch.optim.Optimizer):
    """SGD whose learning rate enters the momentum buffer: v = m v + lr (g + wd p); p -= v.

    With a learning rate that changes, this is not torch's form (v = m v + g + wd p; p -= lr v).
    """

    def __init__(self, params: Iterable[Any], *, lr: float, momentum: float, weight_decay: float) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        for group in self.param_groups:
            lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "velocity" not in state:
                    state["velocity"] = torch.zeros_like(parameter)
                velocity = state["velocity"]
                velocity.mul_(momentum).add_(parameter.grad, alpha=lr).add_(parameter, alpha=lr * decay)
                parameter.sub_(velocity)


def make_optimiser(config: OptimConfig, model: Model, method: Method) -> torch.optim.Optimizer:
    """Make one optimiser: a group for each stage of the encoder, one for the head, and those of the method.

    A group has its ``name`` and its ``lr_factor``: ``backbone_lr_factor`` in the encoder, 1 elsewhere unless the method
    says otherwise (:class:`~csg.methods.method.Learned`). With ``layer_decay`` each layer of the encoder is a group of
    its stage's name, whose factor is ``backbone_lr_factor`` times layer_decay^n, n being 1 for the last layer and 1
    more for each one before it (Clark et al., 2020, arXiv:2003.10555).
    """
    layers = list(model.encoder.list_groups().items()) if config.layer_decay == 1 else model.encoder.list_layers()
    named = [
        (name, modules, config.backbone_lr_factor * config.layer_decay ** (len(layers) - place))
        for place, (name, modules) in enumerate(layers)
    ]
    named.append(("head", [model.head], 1.0))
    groups: list[dict[str, Any]] = []
    homes: dict[nn.Parameter, dict[str, Any]] = {}
    for name, modules, factor in named:
        parameters = [parameter for module in modules for parameter in module.parameters()]
        group = {"name": name, "params": [each for each in parameters if each.requires_grad], "lr_factor": factor}
        groups.append(group)
        homes |= dict.fromkeys(parameters, group)
    for learned in method.list_learned():
        parameters = [each for each in learned.parameters if each.requires_grad]
        if learned.beside is not None:
            homes[learned.beside]["params"] += parameters
            continue
        decay = config.weight_decay if learned.decays else 0.0
        groups.append({"name": "method", "params": parameters, "lr_factor": learned.lr_factor, "weight_decay": decay})
    return _make(config, groups)


def make_head_optimiser(config: OptimConfig, head: nn.Module) -> torch.optim.Optimizer:
    """Make the optimiser of a head that trains alone, at the full learning rate."""
    return _make(config, [{"name": "head", "params": list(head.parameters()), "lr_factor": 1.0}])


def _make(config: OptimConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    groups = [group for group in groups if group["params"]]
    if config.name == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)
    if config.lr_in_momentum:
        return PublishedSGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay)


def compute_lr_factor(config: OptimConfig, step: int, total_steps: int) -> float:
    """Compute the schedule's factor at iteration ``step`` of 0 to ``total_steps`` - 1.

    min(0.01 + 0.99 (t / warmup_steps)^2, 1) * (1 - t / T)^poly_power, or 1 when constant.
    """
    if config.schedule == "constant":
        return 1.0
    warmup = 1.0 if step >= config.warmup_steps else 0.01 + 0.99 * (step / config.warmup_steps) ** 2
    return float(warmup * (1 - step / total_steps) ** config.poly_power)


def find_lr_factor(config: Config, step: int, *, steps_per_epoch: int) -> float:
    """Return the factor on ``optim.lr`` at iteration ``step`` of a run, 0 for the first.

    Where the head trains alone at first, either phase has :func:`compute_lr_factor`'s schedule over its own length, and
    the first no warm-up: nothing moves then that a large step could spoil.
    """
    total = steps_per_epoch * config.train.epochs
    probing = min(steps_per_epoch * config.method.probing, total)
    if step < probing:
        return compute_lr_factor(dataclasses.replace(config.optim, warmup_steps=0), step, probing)
    return compute_lr_factor(config.optim, step - probing, total - probing)


def set_lr(optimiser: torch.optim.Optimizer, lr: float, factors: Mapping[str, float]) -> None:
    """Give every group ``lr`` times its own factor, times what ``factors`` has for its name."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_factor"] * factors.get(group["name"], 1.0)
