"""State on disk: written whole or not at all, read without running code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, is_outside
from csg.storage.files import opened, replacing
from csg.storage.object_store import address_of


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, text and containers of them."""
    with replacing(path) as file:
        torch.save(dict(state), file)


def load_state(path: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote, onto the CPU.

    Raises:
        UserError: the file is missing or is no such state.
        OSError, MemoryError: the machine cannot read it; see :mod:`csg.messages.faults`.
    """
    try:
        with opened(path) as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"expected a checkpoint, found nothing at {address_of(path)}") from None
    except (UserError, OutsideFaultError, MemoryError):
        raise  # the store's, or the machine's
    except Exception as error:  # torch raises many types for files that are not checkpoints
        if isinstance(error, OSError) and is_outside(error):
            raise
        raise UserError(f"{address_of(path)} is not a checkpoint of this program ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise UserError(f"expected a checkpoint in {address_of(path)}, found {type(state).__name__}")
    return state
