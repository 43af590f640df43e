"""A machine that is measured, and the sizes of what is measured on it."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.peak_memory import get_peak_megabytes
from csg.config import Config
from csg.parsing import build_config

WARM_UP = 2
"""Steps of each measurement that do not count."""
Flat = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    cnn: str
    side: int
    batches: tuple[int, ...]
    transformer: Flat
    """Settings of a DINOv2, as transformers names them; base where empty."""
    scene_side: int
    scene_batch: int
    chunks: int
    loaders: tuple[int, ...]
    per_class: int
    """Images a class on disk."""
    copies: int
    """Names of each synthetic one, since to write them takes longer than to read them."""
    precisions: tuple[str, ...] = ("bfloat16", "float32")
    queue: int = 65_536
    trials: tuple[int, ...] = (1, 2)
    """At a time."""
    compiles: bool = True
    """Whether compiled networks are measured: a CPU compiles for minutes."""


FULL = Sizes(
    "resnet101", 224, (32, 128), {}, scene_side=512, scene_batch=6, chunks=8, loaders=(4, 8, 16), per_class=8, copies=16
)
SMALL = Sizes(
    "resnet10",
    32,
    (4,),
    {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 28},
    scene_side=64,
    scene_batch=2,
    chunks=2,
    loaders=(1,),
    per_class=2,
    copies=1,
    precisions=("float32",),
    queue=64,
    trials=(2,),
    compiles=False,
)


@dataclass(frozen=True)
class Bench:
    """A machine, sizes, and when to end."""

    device: str
    sizes: Sizes
    steps: int
    ends: float
    """On the clock of time.monotonic."""

    @property
    def is_over(self) -> bool:
        """Whether there is no time for another measurement."""
        return time.monotonic() > self.ends

    def configure(self, settings: Mapping[str, Any]) -> Config:
        """Return the settings of a training of noise."""
        return build_config(
            {
                "data.image_size": self.sizes.side,
                "train.device": self.device,
                "optim.lr": 1e-4,
                **settings,
            }
        )

    def time_calls(self, call: Callable[[], object]) -> float:
        """Return the median seconds of a call, whose work on the device is waited for."""
        times = []
        for _ in range(WARM_UP + self.steps):
            began = time.perf_counter()
            call()
            if self.device == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
        return statistics.median(times[WARM_UP:])

    def read_peak(self) -> str:
        """Return the most memory since the last call, or of a CPU the process's own so far."""
        gc.collect()
        if self.device != "cuda":
            return f"{get_peak_megabytes() / 1000:.1f} (process)"
        peak = torch.cuda.max_memory_allocated() / 1e9
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return f"{peak:.1f}"


def describe_machine(device: str) -> str:
    """Name the card, or say that there is none, and the versions."""
    card = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} CPU cores, no GPU"
    return f"{card}, torch {torch.__version__}"
