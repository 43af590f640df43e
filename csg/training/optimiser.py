"""Optimiser and learning-rate schedule, with the choices of the published recipe as settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from csg.config import OptimConfig
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
    """Make one optimiser: a group for each stage of the encoder, one for the head, one for the method.

    A group has its ``name`` and its ``lr_factor``: ``backbone_lr_factor`` in the encoder, 1 elsewhere. With
    ``layer_decay`` each layer of the encoder is a group of its stage's name, whose factor is ``backbone_lr_factor``
    times layer_decay^n, n being 1 for the last layer and 1 more for each one before it (Clark et al., 2020,
    arXiv:2003.10555).
    """
    layers = list(model.encoder.list_groups().items()) if config.layer_decay == 1 else model.encoder.list_layers()
    named = [
        (name, modules, config.backbone_lr_factor * config.layer_decay ** (len(layers) - place))
        for place, (name, modules) in enumerate(layers)
    ]
    named += [("head", [model.head], 1.0), ("method", [method], 1.0)]
    groups: list[dict[str, Any]] = [
        {
            "name": name,
            "params": [each for module in modules for each in module.parameters() if each.requires_grad],
            "lr_factor": factor,
        }
        for name, modules, factor in named
    ]
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


def set_lr(optimiser: torch.optim.Optimizer, lr: float, factors: Mapping[str, float]) -> None:
    """Give every group ``lr`` times its own factor, times what ``factors`` has for its name."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_factor"] * factors.get(group["name"], 1.0)
