"""The mean of weights, as a running sum of steps or of other means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class MeanWeights:
    """The mean of several state dicts; of what is no floating point number, such as a counter, the newest."""

    def __init__(self) -> None:
        """Start with none."""
        self.values: dict[str, Tensor] = {}
        """The mean, by name; empty where the count is 0."""
        self.count = 0
        """How many state dicts it is a mean of."""

    @torch.no_grad()
    def add(self, weights: Mapping[str, Tensor], count: int = 1) -> None:
        """Take in a state dict, or the mean of ``count`` of them."""
        self.count += count
        if not self.values:
            self.values = {name: tensor.detach().clone() for name, tensor in weights.items()}
            return
        for name, tensor in weights.items():
            if tensor.is_floating_point():
                self.values[name].lerp_(tensor, count / self.count)
            else:
                self.values[name].copy_(tensor)

    def get_state(self) -> dict[str, Any]:
        """Return what belongs to a checkpoint."""
        return {"values": self.values, "count": self.count}

    @classmethod
    def of(cls, state: Mapping[str, Any], like: Mapping[str, Tensor]) -> MeanWeights:
        """Restore a mean, onto the devices of ``like``."""
        mean = cls()
        mean.values = {name: tensor.to(like[name].device) for name, tensor in state["values"].items()}
        mean.count = state["count"]
        return mean
