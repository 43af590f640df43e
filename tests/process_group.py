"""Functions run in a process group, without Ray: what the workers of a run do, several at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from csg.collective import check_agreement, gather_rows, sum_over_processes, wait_for_all
from csg.data.pair import IGNORED, LabelledImages, Pair
from csg.parsing import build_config
from csg.storage.disk import DiskPlace
from csg.training import loop, step
from csg.training.loop import Training, fit
from tests.made_up_pair import TINY, made_up_pair
from tests.made_up_scenes import made_up_scenes

Result = dict[str, Any]


def trained(world: int, runs: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Result]:
    """Train each of ``runs`` in a group of ``world`` processes; return what the first one ends with, by name."""
    out = folder / f"world{world}.pt"
    if world == 1:
        _train(0, 1, 0, runs, out)
    else:
        _in_processes(_train, world, runs, out)
    results: dict[str, Result] = torch.load(out, weights_only=True)
    return results


def unequal(folder: Path) -> tuple[list[float], list[int], int]:
    """Return what the first of three processes sees of parts of 3, 0 and 2 rows."""
    shares, rows, total = in_group(3, _unequal, folder)
    return shares, rows, total


def disagreeing(folder: Path) -> list[str]:
    """Return what each of three processes, the last of which has found no checkpoint, is told of that."""
    complaints: list[str] = in_group(3, _disagreeing, folder)
    return complaints


def in_group(world: int, function: Callable[[int], Any], folder: Path) -> Any:
    """Call a module's function with the rank in each of ``world`` processes; return what the first one's returns."""
    out = folder / f"group of {world}.pt"
    _in_processes(_one_of_group, world, function, out)
    return torch.load(out, weights_only=True)


def _in_processes(function: Callable[..., None], world: int, *arguments: Any) -> None:
    """Call a function with rank, world and a port in each of ``world`` processes, and wait for all of them.

    They come from one server that has imported this module, and torch's compiler, which optimisers ask for; nothing
    else has happened there. A process that started from nothing would import for seconds, one forked from here would
    inherit its threads.
    """
    multiprocessing.set_forkserver_preload([__name__, "torch._dynamo"])
    start_processes(  # type: ignore[no-untyped-call]
        function, args=(world, free_port(), *arguments), nprocs=world, start_method="forkserver"
    )


def _one_of_group(rank: int, world: int, port: int, function: Callable[[int], Any], out: Path) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    answer = function(rank)
    if rank == 0:
        torch.save(answer, out)
    _leave()


def _unequal(rank: int) -> tuple[list[float], list[int], int]:
    mine = [[0, 1, 2], [], [6, 7]][rank]
    blocks = torch.tensor([*mine, *(100 + row for row in mine)], dtype=torch.int64)
    shares = step._compute_shares([len(mine), None, 0])
    return shares, gather_rows(blocks, blocks=2).tolist(), int(sum_over_processes(torch.tensor(len(mine))))


def _disagreeing(rank: int) -> list[str]:
    complaint = ""
    check_agreement({"epochs": 2, "a checkpoint": True})
    try:
        check_agreement({"epochs": 2, "a checkpoint": rank < 2})
    except RuntimeError as error:
        complaint = str(error)
    everyones: list[Any] = [None] * 3
    dist.all_gather_object(everyones, complaint)
    return everyones


def _leave() -> NoReturn:
    """End a process of a group at once.

    On the interpreter's own way out a thread of gloo's may still let go of a tensor, and torch then aborts the process.
    """
    dist.destroy_process_group()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def free_port() -> int:
    """Find a port to listen on; see :func:`free_ports`."""
    (port,) = free_ports(1)
    return port


def free_ports(count: int) -> list[int]:
    """Find ports to listen on, outside the range from which the system takes those of connections.

    So they stay free until they are used, and while a server is away.
    """
    found: list[int] = []
    for port in random.sample(range(20_000, 32_000), 12_000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no port is free")


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
    """Train; what is no setting: ``masked`` ignores most labels, ``cut`` leaves off there and goes on from disk."""
    flat = {**TINY, "train.precision": "float64", "train.batch_size": 6, "train.workers": world, **settings}
    if "method.name" in settings:
        flat = {name: value for name, value in flat.items() if name in settings or not name.startswith("method.")}
    hidden = flat.pop("masked", False)
    cut, checkpoint = flat.pop("cut", None), DiskPlace(Path(flat.pop("checkpoint", "")))
    config = build_config(flat)
    sources = ("serif", "sans") if config.method.name == "low_rank" else ()
    pair = made_up_scenes() if config.data.task == "segmentation" else made_up_pair(sources=sources)
    pair = masked(pair) if hidden else pair
    training = counting(Training(config, pair))
    if cut is not None:
        _train_until(cut, training, checkpoint)
        wait_for_all()  # a checkpoint is read by processes that started after it was written
        training = counting(Training(config, pair))
    reports = list(fit(training, checkpoint=None if cut is None else checkpoint))
    state = training.get_state()
    return {
        "metrics": [{k: v for k, v in report.metrics.items() if "second" not in k} for report in reports],
        "model": training.make_measured_model().state_dict(),
        "method": dict(leaves(state["method"])),
        "steps": training.learner.steps,
    }


def masked(pair: Pair) -> Pair:
    """Ignore three labels of four, so that parts of a batch, and whole batches, have none."""
    for name in ("source/train", "source/val"):
        stream = pair.streams[name]
        assert isinstance(stream, LabelledImages)
        labels = stream.labels
        labels[torch.arange(len(labels)) % 4 > 0] = IGNORED
    return pair


def counting(training: Training) -> Training:
    """Let the method's state count the ends of epochs."""
    method = training.learner.method
    method.register_buffer("epochs_ended", torch.zeros(()))
    after_epoch = method.after_epoch

    def counted(model: Any) -> None:
        after_epoch(model)
        method.get_buffer("epochs_ended").add_(1)

    method.after_epoch = counted  # type: ignore[method-assign]
    return training


class CutError(Exception):
    """Stands for a kill."""


def _train_until(cut: str, training: Training, checkpoint: DiskPlace) -> None:
    """Train up to the middle of the second epoch, or into the evaluation of the first, or up to that one's end."""
    if cut == "in the second epoch":
        steps = iter(range(100))
        for _ in fit(training, checkpoint=checkpoint, stop=lambda: next(steps) == 8):
            pass
        assert training.position.epoch == 1 and training.position.step > 0
    elif cut == "in an evaluation":
        with mock.patch.object(loop, "measure_validation", side_effect=CutError), contextlib.suppress(CutError):
            next(fit(training, checkpoint=checkpoint))
        assert training.position.step == training.steps_per_epoch
    else:
        next(fit(training, checkpoint=checkpoint))
        assert training.position.epoch == 1 and training.position.step == 0


def leaves(state: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a state and, as tensors, its numbers: queue pointers, a controller's choices."""
    if isinstance(state, Mapping):
        for key, value in state.items():
            yield from leaves(value, f"{name}/{key}")
    elif isinstance(state, list):
        for place, value in enumerate(state):
            yield from leaves(value, f"{name}/{place}")
    else:
        yield name, torch.as_tensor(state)
