"""One run on several workers: a Ray Train run of processes that train together, on one machine or on many.

The run's folder, on a disk or in a bucket, is what driver and workers share. The first worker puts
every epoch on record there, as a run of one process does; the driver reads the record. So a run that lost a worker, a
machine or its driver goes on from the run's own checkpoint, and nothing passes through Ray Train but its start and its
end.

The first worker also holds the run's lock: whoever holds a run has the CPUs to train it, so that drivers which want the
same run, under any numbers of workers, never wait for each other.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import ray
import ray.train
import ray.train.torch

from csg.collective import ask_first, is_first
from csg.config import Config
from csg.config.settings import Flat, flatten
from csg.data import load_pair
from csg.messages.errors import BadDataError, UserError
from csg.messages.faults import LostProcessError, OutsideFaultError, find_outside_fault
from csg.messages.text import get_last_line
from csg.parsing import build_config
from csg.storage.bucket import BucketGoneError
from csg.storage.layout import get_run_folder
from csg.training.loop import EpochReport, OnStep, OnWait, Stop
from csg.training.run import Run
from csg.training.step import NonFiniteLossError
from csg.workers.cluster import check_nodes, check_output, start_ray
from csg.workers.launch_files import LaunchFiles, Progress, Unwanted
from csg.workers.slots import RoomWatch, Slots

MAX_IDLE_RESTARTS = 2
"""Restarts in a row after a worker died, none of which came further; each continues from the run's checkpoint."""
POLL_SECONDS = 0.1
STOP_SECONDS = 60.0
"""How long to wait for workers to stop; after that Ray ends them with the driver."""
RAISED: dict[str, type[Exception]] = {
    "BadDataError": BadDataError,
    "UserError": UserError,
    "NonFiniteLossError": NonFiniteLossError,
    "OutsideFaultError": OutsideFaultError,
}
"""What a worker's error is raised as in the driver, subclasses included; all others are RuntimeErrors."""


def train_on_workers(run: Run, on_step: OnStep | None = None, on_wait: OnWait | None = None) -> Iterator[EpochReport]:
    """Yield a run's epoch reports as its workers, or those of another driver, put them on record.

    Leaving the iteration early stops the workers after their current step. ``on_wait`` is called when the cluster has
    become too small for the workers, and when it is large enough again.

    Raises:
        UserError, NonFiniteLossError: as one process would.
        RuntimeError: another error of a worker.
        OutsideFaultError: the disk of a worker's is full, or something else that is no fault of the run's.
        LostProcessError: workers died more often than MAX_IDLE_RESTARTS.
    """
    _join_cluster(run.config)
    epochs, reported, starts = run.config.train.epochs, 0, 0
    launch = Launch(run)
    room, slots = RoomWatch(on_wait or (lambda _: None)), Slots((run.config,), asked=1, at_most=1)
    try:
        while True:
            launch.start()
            reached = _get_progress(run)
            while True:
                running = launch.thread.is_alive()
                run.reread()
                # The last epoch is reported when the workers have measured target/test and ended: the caller asks for
                # those figures next, and the driver may have neither a GPU nor a CPU to measure them on.
                held_back = len(run.record.epochs) == epochs and (running or not run.record.final)
                while reported < len(run.record.epochs) - held_back:
                    reported += 1
                    yield EpochReport(reported, run.record.epochs[reported - 1])
                if on_step is not None:
                    launch.report_progress(on_step)
                if not running:
                    break
                room.look(slots)
                time.sleep(max(run.folder.poll_seconds, POLL_SECONDS))
            if reported == epochs:
                return
            launch.raise_error()
            starts = 1 if _get_progress(run) != reached else starts + 1
            if starts > MAX_IDLE_RESTARTS:
                raise LostProcessError(
                    f"the workers died {starts} times without getting further; the last time: "
                    f"{launch.failure or 'they stopped by themselves; do all nodes share train.output?'}"
                )
    finally:
        launch.stop()


def _get_progress(run: Run) -> tuple[int, float]:
    """Return what changes whenever the run on disk advances."""
    checkpoint = run.checkpoint.stamp()
    return len(run.record.epochs), 0.0 if checkpoint is None else checkpoint.modified


def _join_cluster(config: Config) -> None:
    """Start or join Ray; a run that no search has placed is checked against the cluster here.

    Raises:
        UserError: it can never fit, or a node lacks what it reads.
    """
    placed = ray.is_initialized()
    start_ray()
    if not placed:
        check_output(config)
        Slots((config,), asked=1, at_most=1).wait_and_check()
        check_nodes(config)


class Launch:
    """The workers of a run, started by :meth:`start` and stopped by :meth:`stop`.

    A file in the run's folder says that a launch is wanted: its workers stop as soon as the file is gone.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.thread = threading.Thread()
        self._files = LaunchFiles(run.folder, "")
        self._progress: list[int] = []
        self.failure: str | None = None
        """What ended the workers, where it was not their own error."""

    def start(self) -> None:
        """Start the workers, in a thread that ends with them."""
        self._files.remove()
        self._files = LaunchFiles(self._run.folder, uuid.uuid4().hex[:12])
        self._files.wanted.write(b"")
        self.failure, self._progress = None, []
        self.thread = threading.Thread(target=self._fit, args=(self._files,), daemon=True)
        self.thread.start()

    def _fit(self, files: LaunchFiles) -> None:
        try:
            self._make_trainer(files).fit()
        except Exception as error:  # Ray Train's errors for what its workers did or did not survive
            causes = list(getattr(error, "worker_failures", {}).values()) or [error]
            self.failure = f"{type(causes[0]).__name__}: {get_last_line(str(causes[0]), 2000)}"

    def _make_trainer(self, files: LaunchFiles) -> ray.train.torch.TorchTrainer:
        config = self._run.config
        train = config.train
        gpus = config.gpus_per_worker
        return ray.train.torch.TorchTrainer(
            work,
            train_loop_config={"settings": flatten(config), "launch": files.name, "run": self._run.identity.name},
            scaling_config=ray.train.ScalingConfig(
                num_workers=train.workers,
                use_gpu=bool(gpus),
                resources_per_worker={"CPU": config.cpus_per_worker} | ({"GPU": gpus} if gpus else {}),
            ),
            torch_config=ray.train.torch.TorchConfig(backend="nccl" if gpus else "gloo"),
            run_config=ray.train.RunConfig(
                name=files.ray_train.name,
                storage_path=str(files.ray_train.parent),
                failure_config=ray.train.FailureConfig(max_failures=0),
            ),
        )

    def report_progress(self, on_step: OnStep) -> None:
        """Call ``on_step`` if the first worker has written new progress."""
        with contextlib.suppress(OSError, ValueError):
            with self._files.progress.open() as file:
                progress = json.load(file)
            if progress != self._progress:
                self._progress = progress
                on_step(*progress)

    def raise_error(self) -> None:
        """Raise the error that a worker has left, if one did: it would come again, so nothing is started anew.

        Where even that could not be written, Ray Train's words for it hold the error.
        """
        with contextlib.suppress(FileNotFoundError), self._files.error.open() as file:
            kind, text = json.load(file)
            raise RAISED.get(kind, RuntimeError)(text)
        _, is_outside, text = (self.failure or "").partition(f"{OutsideFaultError.__name__}: ")
        if is_outside:
            raise OutsideFaultError(text)

    def stop(self) -> None:
        """Stop the workers, and wait until they have ended."""
        self._files.wanted.remove()
        if self.thread.ident is not None:
            self.thread.join(STOP_SECONDS)
        self._files.remove()
        self._run.reread()
        if self._run.record.status == "finished":
            LaunchFiles.remove_all(self._run.folder)


def work(loop_config: dict[str, Any]) -> None:
    """Train in one worker; an error of the run's own is left in its folder before it is raised.

    Args:
        loop_config: ``settings`` of the run, the name of the ``launch``, the identity of the ``run``.
    """
    settings: Flat = loop_config["settings"]
    config = build_config(settings)
    folder = get_run_folder(config.train.output, loop_config["run"])
    files = LaunchFiles(folder, loop_config["launch"])
    stop = Unwanted(files.wanted)
    try:
        run = Run(config, load_pair(config.data))
        if run.identity.name != loop_config["run"]:
            raise UserError(
                f"node {socket.gethostname()} has other data, weights or sources of csg than the driver: there this "
                f"run is {run.identity.name}, expected {loop_config['run']}"
            )
        with hold_run(run, stop) as is_held:
            if not is_held:
                return
            run.reread()  # not the first worker alone
            for _ in run.work(Progress(files.progress) if is_first() else None, stop):
                pass
            if len(run.record.epochs) == config.train.epochs:
                run.finish()
    except BucketGoneError:
        raise  # it may come back: worth another start
    except Exception as problem:
        error = find_outside_fault(problem) or problem
        if isinstance(error, RuntimeError) or isinstance(problem, ConnectionError):
            raise  # perhaps of a worker whose peer died: worth another start
        kind = next((name for name, kind in RAISED.items() if isinstance(error, kind)), "")
        text = str(error) if kind else f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # the disk may be full
            files.error.write(json.dumps([kind, text]).encode())
        raise error from None


@contextlib.contextmanager
def hold_run(run: Run, stop: Stop) -> Iterator[bool]:
    """Lock a run for all workers of a group as soon as it is free; yield False if they are to stop before that."""
    with contextlib.ExitStack() as stack:

        def take() -> bool:
            try:
                stack.enter_context(run.hold_lock(wait=False))
            except BlockingIOError:
                return False
            return True

        while not ask_first(take):
            if ask_first(stop):
                yield False
                return
            time.sleep(POLL_SECONDS)
        yield True
