"""Runs of several workers through Ray Train: what they compute, and what kills and errors leave."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from csg.storage.layout import OUTPUTS, PICTURES
from tests import warm
from tests.few_images import SMALL_ENCODER
from tests.process_tree import descends, processes_named
from tests.published_trees import write_folders

SMALL = [
    *("--data.name", "folders", "--data.image-size", "32", "--train.epochs", "4", "--train.batch-size", "8"),
    *("--train.precision", "float64", "--train.checkpoint-minutes", "0.05", "--tracking-uri", "none"),
    *("--method.queue-size", "256", *SMALL_ENCODER),
]


def command(output: Path, *flags: str) -> list[str]:
    """Train on few images, so that processes are waited for, not evaluations; they are the same beside any output."""
    renders, photographs = output.parent / "renders", output.parent / "photographs"
    if not renders.exists():
        write_folders(output.parent, per_class=24)
    data = ["--data.source", str(renders), "--data.target", str(photographs)]
    return [sys.executable, "-m", "csg", "train", *SMALL, *data, "--train.output", str(output), *flags]


def record(output: Path) -> dict[str, Any]:
    (path,) = output.glob("trained/*/record.json")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def figures(output: Path) -> list[dict[str, float]]:
    """What a run has on record, times left out."""
    held = record(output)
    return [{k: v for k, v in metrics.items() if "second" not in k} for metrics in (*held["epochs"], held["final"])]


@dataclass(frozen=True)
class Wanted:
    """A run that somebody else asked for, with one worker, when two were at its second epoch."""

    output: Path
    first_epoch: dict[str, float]
    trained: dict[str, Any]
    """What was on record when the two workers were done."""
    alone: subprocess.CompletedProcess[str]
    """What became of the other one."""


@pytest.fixture(scope="module")
def wanted_twice(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    output = tmp_path_factory.mktemp("two") / "runs"
    together = started(output)
    alone = warm.Popen(command(output), stdout=warm.PIPE, stderr=warm.STDOUT)
    first_epoch = record(output)["epochs"][0]
    said, _ = together.communicate()
    assert together.returncode == 0, said
    assert not re.search(r"warning|\(pid=|Traceback", said, re.IGNORECASE)
    trained = record(output)
    answer, _ = alone.communicate()
    return Wanted(output, first_epoch, trained, subprocess.CompletedProcess(alone.args, alone.wait(), answer))


@pytest.fixture(scope="module")
def two_workers(wanted_twice: Wanted) -> Path:
    return wanted_twice.output


@pytest.mark.slow
def test_a_ray_train_run_of_two_workers_is_the_run_of_one(two_workers: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    warm.run(command(output), check=True)
    assert record(output)["identity"] == record(two_workers)["identity"], "the worker count is no part of it"
    for mine, theirs in zip(figures(two_workers), figures(output), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    assert kept(two_workers) == KEPT


KEPT = {"record.json", "selected.pt", OUTPUTS, PICTURES, ".lock"}
"""What a finished run's folder holds."""


def kept(output: Path) -> set[str]:
    (folder,) = (output / "trained").iterdir()
    return {path.name for path in folder.iterdir()}


def started(output: Path, *, epochs: int = 1) -> warm.Popen:
    """Start two workers and wait until so many epochs are on record and the next under way."""
    process = warm.Popen(command(output, "--train.workers", "2"), stdout=warm.PIPE, stderr=warm.STDOUT)
    wait_for_epochs(process, output, epochs)
    return process


def wait_for_epochs(process: warm.Popen, output: Path, epochs: int) -> None:
    """Wait until so many epochs of a run are on record."""
    while not any(output.glob("trained/*/record.json")) or len(record(output)["epochs"]) < epochs:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def find_workers() -> list[int]:
    """Find the training workers of this process's tests in their cluster: Ray names processes after their actors."""
    return [process for process in processes_named("ray::RayTrainWorker") if descends(process, warm.get_server())]


@pytest.mark.slow
def test_a_workers_error_reaches_the_user_at_once(in_cluster: None, tmp_path: Path) -> None:
    flags = ["--train.workers", "2", "--method.temperature", "1e-300"]
    done = warm.run(command(tmp_path / "runs", *flags))
    assert done.returncode == 1
    assert re.search(r"training failed: loss\w* is \w+ at step \d", done.stderr)
    assert record(tmp_path / "runs")["status"] == "failed"


@pytest.mark.slow
def test_a_run_survives_a_killed_worker_and_goes_on_after_its_driver_was_interrupted_and_killed(
    two_workers: Path, in_cluster: None, tmp_path: Path
) -> None:
    output = tmp_path / "runs"
    process = started(output)
    workers = find_workers()
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    while len(anew := find_workers()) < 2 or set(workers) & set(anew):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
    wait_for_epochs(process, output, 2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130 and "Interrupted; the same command goes on" in said
    assert record(output)["status"] == "interrupted"
    process = started(output, epochs=3)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(record(output)["epochs"]) < 4
    done = warm.run(command(output, "--train.workers", "2"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert figures(output) == figures(two_workers)
    assert kept(output) == KEPT


@pytest.mark.slow
def test_two_that_want_the_same_run_under_different_workers_train_it_once(wanted_twice: Wanted) -> None:
    alone, output = wanted_twice.alone, wanted_twice.output
    assert alone.returncode == 0, alone.stdout
    assert record(output) == wanted_twice.trained, "with every second that it took: nothing was measured again"
    assert wanted_twice.trained["epochs"][0] == wanted_twice.first_epoch
    assert kept(output) == KEPT
