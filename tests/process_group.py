"""Functions run in a process group, without Ray: what the workers of a run do, several at a time."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from csg.collective import joined, summed
from csg.parsing import config_from_flat
from csg.training import step
from csg.training.loop import Training, train
from tests.made_up_pair import TINY, made_up_pair

Result = dict[str, Any]


def trained(world: int, runs: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Result]:
    """Train each of ``runs`` in a group of ``world`` processes; return what the first one ends with, by name."""
    out = folder / f"world{world}.pt"
    if world == 1:
        _train(0, 1, 0, runs, out)
    else:
        spawn(_train, args=(world, free_port(), runs, out), nprocs=world)  # type: ignore[no-untyped-call]
    results: dict[str, Result] = torch.load(out, weights_only=True)
    return results


def unequal(folder: Path) -> tuple[list[float], list[int], int]:
    """Return what the first of three processes sees of parts of 3, 0 and 2 rows."""
    out = folder / "unequal.pt"
    spawn(_unequal, args=(free_port(), out), nprocs=3)  # type: ignore[no-untyped-call]
    shares, rows, total = torch.load(out, weights_only=True)
    return shares, rows, total


def _unequal(rank: int, port: int, out: Path) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=3)
    mine = [[0, 1, 2], [], [6, 7]][rank]
    blocks = torch.tensor([*mine, *(100 + row for row in mine)], dtype=torch.int64)
    shares = step._shares([len(mine), None])
    rows, total = joined(blocks, blocks=2).tolist(), int(summed(torch.tensor(len(mine))))
    if rank == 0:
        torch.save((shares, rows, total), out)
    _leave()


def _leave() -> NoReturn:
    """End a process of a group at once.

    On the interpreter's own way out a thread of gloo's may still let go of a tensor, and torch then aborts the process.
    """
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _train(rank: int, world: int, port: int, runs: Mapping[str, Mapping[str, Any]], out: Path) -> None:
    if world > 1:
        where = f"tcp://127.0.0.1:{port}"
        dist.init_process_group("gloo", init_method=where, rank=rank, world_size=world)
    results = {name: _one(world, settings) for name, settings in runs.items()}
    if rank == 0:
        torch.save(results, out)
    if world > 1:
        _leave()


def _one(world: int, settings: Mapping[str, Any]) -> Result:
    """Train, and with ``checkpoint`` among the settings stop in the midst of the second epoch and go on from disk."""
    flat = {**TINY, "train.precision": "float64", "train.batch_size": 6, "train.workers": world, **settings}
    if "method.name" in settings:
        flat = {name: value for name, value in flat.items() if name in settings or not name.startswith("method.")}
    checkpoint = flat.pop("checkpoint", None)
    config = config_from_flat(flat)
    training = Training(config, made_up_pair())
    if checkpoint is not None:
        steps = iter(range(100))
        for _ in train(training, checkpoint=Path(checkpoint), stop=lambda: next(steps) == 8):
            pass
        assert training.position.epoch == 1 and training.position.step > 0
        training = Training(config, made_up_pair())
    reports = list(train(training, checkpoint=None if checkpoint is None else Path(checkpoint)))
    state = training.state()
    return {
        "metrics": [{k: v for k, v in report.metrics.items() if "second" not in k} for report in reports],
        "model": state["model"],
        "method": {name: held for name, held in state["method"].items() if isinstance(held, torch.Tensor)},
    }
