"""Files of weights as people have them: a state dict, bare or within a checkpoint, its keys with or without prefixes.

Nothing in a file is run: what is more than tensors, numbers, text and containers of them is refused.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from csg.messages.errors import UserError
from csg.messages.faults import is_machine_fault
from csg.messages.wording import name_first

WRAPPERS: Final = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module", "teacher", "student"),
    *("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params", "weights", "backbone", "encoder"),
)
"""Keys of a checkpoint below which a state dict may lie, also one below another; the first that fits is taken."""
DEPTH: Final = 2
"""Wrappers within each other."""
PREFIXES: Final = frozenset(
    {"module", "model", "encoder", "backbone", "net", "network", "encoder_q", "teacher", "student"}
)
"""Parts before the encoder's own names, in any combination: of data parallelism, and of models that hold an encoder."""
COMPILED: Final = "_orig_mod."
"""What ``torch.compile`` puts before a module's names, wherever it was called."""


@dataclass(frozen=True)
class StateDict:
    """Tensors by name, and what stood before the names."""

    prefix: str
    """Of each name, in the file."""
    tensors: Mapping[str, Tensor]
    """Of this prefix, without it."""


def read_state_dicts(path: Path, setting: str, digest: str) -> Iterator[StateDict]:
    """Yield what a file of weights can be read as, the likeliest first: every state dict in it, under every prefix.

    Args:
        path: of a ``.safetensors`` file, or any other that ``torch.save`` wrote.
        setting: what errors call the file.
        digest: of the file's content: one with the same is not read again.

    Raises:
        UserError: the file cannot be read without running code, or holds no tensors by name.
        OSError, MemoryError: the machine cannot read it; see :mod:`csg.messages.faults`.
    """
    for tensors in _read(path, setting, digest):
        for prefix in _list_prefixes(tensors):
            named = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            yield StateDict(prefix, named)


def _list_prefixes(names: Mapping[str, Tensor]) -> list[str]:
    """List the prefixes that some name has, the shorter first, in the order of the names."""
    found = {"": None}
    for name in names:
        prefix = ""
        for part in name.split(".")[:-1]:
            if part not in PREFIXES:
                break
            prefix += f"{part}."
            found[prefix] = None
    return sorted(found, key=lambda prefix: prefix.count("."))


@lru_cache(maxsize=2)
def _read(path: Path, setting: str, _digest: str) -> tuple[Mapping[str, Tensor], ...]:
    loaded = _load_safetensors(path, setting) if path.suffix == ".safetensors" else _load_torch(path, setting)
    if not isinstance(loaded, dict):
        raise UserError(f"{setting}: expected a state dict of tensors in {path}, found {type(loaded).__name__}")
    found = tuple(_find_states(loaded, DEPTH))
    if not found:
        raise UserError(
            f"{setting}: expected tensors by name in {path}, at the top or below one of {', '.join(WRAPPERS)}; found "
            + (f"the keys {name_first(map(str, loaded))}" if loaded else "an empty dict")
        )
    return found


def _find_states(loaded: Mapping[Any, Any], depth: int) -> Iterator[Mapping[str, Tensor]]:
    """Yield the state dicts in a checkpoint, without what else is in it, such as an optimiser's state."""
    tensors = {
        name.replace(COMPILED, ""): value
        for name, value in loaded.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if tensors:
        yield tensors
    for key in WRAPPERS if depth else ():
        if isinstance(loaded.get(key), dict):
            yield from _find_states(loaded[key], depth - 1)


def _load_torch(path: Path, setting: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that are refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL ([\w.]+\w)", str(error))
        if code is None:
            raise _make_unreadable_error(path, setting, error) from None
        raise UserError(
            f"{setting}: {path} holds more than tensors, numbers, text and containers of them ({code[1]}), which is "
            "not loaded because that can run code; expected its state dict alone. Where the file can be trusted: "
            "torch.save(torch.load(FILE, weights_only=False)[KEY], NEW_FILE), or .state_dict() instead of [KEY] of a "
            "whole model"
        ) from None
    except Exception as error:  # torch raises many types for files that are not its own
        if is_machine_fault(error):
            raise
        if "TorchScript" in str(error):
            raise UserError(
                f"{setting}: {path} is a TorchScript program, which is not loaded because it can run code; expected a "
                "state dict: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)"
            ) from None
        raise _make_unreadable_error(path, setting, error) from error


def _load_safetensors(path: Path, setting: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        if is_machine_fault(error):
            raise
        raise UserError(f"{setting}: {path} is not a safetensors file, or not a whole one ({error})") from error
    return tensors


def _make_unreadable_error(path: Path, setting: str, error: Exception) -> UserError:
    return UserError(
        f"{setting}: {path} is not a torch state dict, or not a whole one ({type(error).__name__}); expected a file "
        "that torch.save wrote, or a .safetensors file"
    )
