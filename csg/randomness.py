"""Randomness as a function of an address, never of history.

Whatever is random is drawn from a generator that (seed, purpose, epoch, sample, view, ...) names. So neither a
restart, nor the number of workers, nor an added setting can change a draw that stands elsewhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def _make_words(address: tuple[int | str, ...]) -> list[int]:
    return [zlib.crc32(part.encode("utf-8", "surrogateescape")) if isinstance(part, str) else part for part in address]


def make_generator(seed: int, *address: int | str) -> np.random.Generator:
    """Return the generator at an address, such as ``generator(seed, "order", epoch)``."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *_make_words(address)])))


@contextmanager
def seed_torch(seed: int, *address: int | str) -> Iterator[None]:
    """Draw torch's CPU random numbers from an address inside the block; the global state is untouched after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence([seed, *_make_words(address)]).generate_state(1, np.uint64)[0]))
        yield
