"""A training's state on disk: written whole or not at all, when it is due, and read without running code."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from csg.collective import is_first
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, is_outside
from csg.storage.place import Place


class Checkpoint:
    """A file that holds a training's state, written again whenever that is due by the clock."""

    def __init__(self, place: Place | None, *, minutes: float) -> None:
        """Take the file, or None for no checkpoint, and the minutes between two of them (0: at every call)."""
        self._place = place
        self._seconds = 60 * minutes
        self._saved = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved; None where there is none."""
        return load_state(self._place) if self._place is not None and self._place.exists() else None

    def save_if_due(self, make_state: Callable[[], Mapping[str, Any]]) -> None:
        """Save the state, on the first process, if the last one is older than the minutes allow."""
        if self._place is not None and is_first() and time.monotonic() - self._saved >= self._seconds:
            save_state(self._place, make_state())
            self._saved = time.monotonic()


def save_state(place: Place, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, text and containers of them."""
    with place.open_replacement() as file:
        torch.save(dict(state), file)


def load_state(place: Place) -> dict[str, Any]:
    """Read what :func:`save_state` wrote, onto the CPU.

    Raises:
        UserError: the file is missing or is no such state.
        OSError, MemoryError: the machine cannot read it; see :mod:`csg.messages.faults`.
    """
    try:
        with place.open() as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"expected a checkpoint, found nothing at {place}") from None
    except (UserError, OutsideFaultError, MemoryError):
        raise  # the bucket's, or the machine's
    except Exception as error:  # torch raises many types for files that are not checkpoints
        if isinstance(error, OSError) and is_outside(error):
            raise
        raise UserError(f"{place} is not a checkpoint of this program ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise UserError(f"expected a checkpoint in {place}, found {type(state).__name__}")
    return state
