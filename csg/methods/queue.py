"""The ring of keys that serve as negatives (CSG, equation 3's, after MoCo)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from csg.randomness import seed_torch


class KeyQueue(nn.Module):
    """K unit vectors; key i of a batch goes to slot (pointer + i) mod K. Starts as random unit vectors.

    K need not be a multiple of the batch, and a batch may hold more than K keys: the last K remain. (The authors'
    code loses keys at the wrap; this is the ring that was meant.)
    """

    keys: Tensor

    def __init__(self, size: int, width: int, *, seed: int, purpose: str) -> None:
        """Make ``size`` x ``width`` keys, drawn from the address (seed, purpose)."""
        super().__init__()
        with seed_torch(seed, purpose):
            start = torch.randn(size, width)
        self.register_buffer("keys", F.normalize(start, dim=1))
        self.pointer = 0

    @torch.no_grad()
    def write(self, keys: Tensor) -> None:
        """Store (M, width) keys, in order, and advance the pointer by M."""
        size, count = len(self.keys), len(keys)
        kept = keys[-size:]
        start = (self.pointer + count - len(kept)) % size
        before_wrap = min(len(kept), size - start)
        self.keys[start : start + before_wrap] = kept[:before_wrap]
        self.keys[: len(kept) - before_wrap] = kept[before_wrap:]
        self.pointer = (self.pointer + count) % size

    def get_extra_state(self) -> dict[str, int]:
        """Return the pointer, which belongs to the state."""
        return {"pointer": self.pointer}

    def set_extra_state(self, state: Any) -> None:
        """Restore the pointer."""
        self.pointer = state["pointer"]
