"""Work in other processes, its results in order: the same, bit for bit, however many processes there are."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from csg.config import DataConfig
from csg.data.fault import BadImageError
from csg.messages.errors import UserError
from csg.messages.text import make_one_line

T = TypeVar("T")


def map_in_order(make: Callable[[int], T], places: range, *, workers: int) -> Iterator[T]:
    """Yield ``make(place)`` for every place, in order.

    With ``workers`` processes, forked from this one, at most two results a process are made ahead. They take no part
    in Ctrl-C, end with the iterator, and end by themselves if this process is killed.

    Raises:
        UserError: a worker process was killed.
        Exception: whatever ``make`` raises; of what the machine lacks, or the settings are to blame for, the same that
            it would be without processes.
    """
    if workers == 0 or len(places) == 0:
        yield from map(make, places)
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create")  # how many there are is the user's choice
        loader: DataLoader[T | _Raised] = DataLoader(
            _Results(make),
            batch_size=None,
            sampler=places,
            num_workers=min(workers, len(places)),
            worker_init_fn=partial(_start_worker, os.getpid()),
            multiprocessing_context="fork",  # shares what is in memory, and needs no second import of torch
            generator=torch.Generator(),  # torch's own would be moved on, and with it every later draw
        )
        results = iter(loader)
    try:
        for result in results:
            if isinstance(result, _Raised):
                raise result.error
            yield result
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # torch's hold the processes while the error is kept, Ctrl-C's too
        if not (isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")):
            raise
        raise UserError(
            f"data.workers: a process that decodes images ended ({error}); batches pass through shared memory "
            "(/dev/shm), which may be too small, or memory ran out: use fewer data.workers or a smaller batch"
        ) from error
    finally:
        del results  # ends the processes; found later, in a cycle of garbage, they would not be told to end


def admit(bad: Sequence[BadImageError], config: DataConfig) -> int:
    """Apply ``data.on_bad_image`` to the images that could not be read.

    Returns:
        How many they are, each logged once a process.

    Raises:
        BadImageError: the first one, unless they are to be skipped.
    """
    for error in bad:
        if config.on_bad_image == "error":
            raise error.advise("repair it, or leave such images out with --data.on-bad-image skip")
        _log_once(str(error))
    return len(bad)


@dataclass(frozen=True)
class _Raised:
    """An error on its way out of a worker: torch would make another of it, whose one argument is a traceback."""

    error: Exception


class _Results(Dataset["T | _Raised"], Generic[T]):
    """Results by their place."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make = make

    def __getitem__(self, place: int) -> T | _Raised:
        try:
            return self._make(place)
        except (OSError, MemoryError, UserError) as error:
            return _Raised(error)


def _start_worker(parent: int, _: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and decides
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent is gone; torch looks only between two results."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


@lru_cache(maxsize=100_000)
def _log_once(message: str) -> None:
    logging.getLogger(__name__).warning("skipped: %s", make_one_line(message))
