"""Workers that train together compute what one process would, and lose nothing when they die."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from csg import collective
from csg.config import ConfigError
from csg.parsing import config_from_flat
from csg.training.distributed import held
from tests.process_group import Result, trained, unequal
from tests.process_tree import descends, processes_named

RUNS: dict[str, dict[str, Any]] = {
    "csg": {},
    "csg, chunks": {"method.stage3.chunks": 2, "method.stage4.pooling": "average", "method.queue_size": 31},
    "csg, one view": {"data.augmentation": "none", "method.queue_size": 5},
    "source only": {"method.name": "source_only", "optim.name": "adamw"},
    "synaptic intelligence": {"method.name": "synaptic_intelligence"},
    "feature l2": {"method.name": "feature_l2", "method.pooling": "apool"},
    "asg": {"method.name": "asg", "method.controller_interval": 2},
    "ibn-net": {"method.name": "ibn_net"},
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    return trained(1, RUNS, tmp_path_factory.mktemp("one"))


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_workers_end_with_what_one_process_would(world: int, one: dict[str, Result], tmp_path: Path) -> None:
    """Losses, weights, queues, importances and metrics, after 12 steps in float64."""
    together = trained(world, RUNS, tmp_path)
    for name, alone in one.items():
        for mine, theirs in zip(together[name]["metrics"], alone["metrics"], strict=True):
            assert mine == pytest.approx(theirs, rel=1e-10, abs=1e-10), name
        for part in ("model", "method"):
            for key, tensor in alone[part].items():
                torch.testing.assert_close(
                    together[name][part][key], tensor, rtol=1e-10, atol=1e-10, msg=f"{name} {key}"
                )


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 3])
def test_workers_resumed_in_mid_epoch_end_as_if_nothing_had_happened(world: int, tmp_path: Path) -> None:
    """Bit-identical up to two; of three, the order of a sum depends on the steps since the processes started."""
    settings: dict[str, Any] = {"train.checkpoint_minutes": 0.0}
    runs = {"undisturbed": settings, "resumed": {**settings, "checkpoint": str(tmp_path / "checkpoint.pt")}}
    results = trained(world, runs, tmp_path)
    undisturbed, resumed = results["undisturbed"], results["resumed"]
    tolerance = 0 if world <= 2 else 1e-10
    for mine, theirs in zip(resumed["metrics"], undisturbed["metrics"], strict=True):
        assert mine == pytest.approx(theirs, rel=tolerance, abs=tolerance)
    for part in ("model", "method"):
        for key, tensor in undisturbed[part].items():
            torch.testing.assert_close(resumed[part][key], tensor, rtol=tolerance, atol=tolerance)


def test_without_a_group_there_is_one_process() -> None:
    rows = torch.arange(6.0).reshape(3, 2)
    assert collective.joined(rows) is rows and collective.summed(rows) is rows
    assert collective.part(7) == slice(0, 7) and collective.is_first() and collective.agreed(lambda: True)


@pytest.mark.slow
def test_parts_of_unequal_size_count_by_their_rows(tmp_path: Path) -> None:
    """Sums, lists and means over rows, three processes holding 3, 0 and 2 of 5 rows."""
    shares, rows, total = unequal(tmp_path)
    assert shares == pytest.approx([3 * 3 / 5, 1.0])
    assert rows == [0, 1, 2, 6, 7, 100, 101, 102, 106, 107] and total == 5


def test_workers_must_divide_the_batch() -> None:
    with pytest.raises(ConfigError, match=r"train\.workers: expected a divisor of train\.batch_size \(32\).*found 3"):
        config_from_flat({"train.workers": 3})
    with pytest.raises(ConfigError, match=r"model\.frozen_statistics: expected True with several workers"):
        config_from_flat({"train.workers": 2, "model.frozen_statistics": False})
    with pytest.raises(ConfigError, match=r"train\.gpus_per_worker: expected a whole number"):
        config_from_flat({"train.workers": 2, "train.gpus_per_worker": 0.5})


SMALL = [
    *("--data.source-images", "64", "--data.image-size", "32", "--train.epochs", "3", "--train.batch-size", "8"),
    *("--train.precision", "float64", "--train.checkpoint-minutes", "0", "--tracking-uri", "none"),
]


def command(output: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "csg", "train", *SMALL, "--train.output", str(output), *flags]


def record(output: Path) -> dict[str, Any]:
    (path,) = output.rglob("record.json")
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def figures(output: Path) -> list[dict[str, float]]:
    """What a run has on record, times left out."""
    held = record(output)
    return [{k: v for k, v in metrics.items() if "second" not in k} for metrics in (*held["epochs"], held["final"])]


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("two") / "runs"
    done = subprocess.run(command(output, "--train.workers", "2"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"warning|\(pid=|Traceback", done.stdout + done.stderr, re.IGNORECASE)
    return output


@pytest.mark.slow
def test_a_ray_train_run_of_two_workers_is_the_run_of_one(two_workers: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    subprocess.run(command(output), capture_output=True, text=True, check=True)
    assert record(output)["identity"] == record(two_workers)["identity"], "the worker count is no part of it"
    for mine, theirs in zip(figures(two_workers), figures(output), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    assert kept(two_workers) == {"record.json", "selected.pt", ".lock"}


def kept(output: Path) -> set[str]:
    (folder,) = (output / "trained").iterdir()
    return {path.name for path in folder.iterdir()}


def started(output: Path, *, epochs: int = 1) -> subprocess.Popen[str]:
    """Start two workers and wait until so many epochs are on record and the next under way."""
    process = subprocess.Popen(
        command(output, "--train.workers", "2"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not any(output.rglob("record.json")) or len(record(output)["epochs"]) < epochs:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return process


def workers_of(driver: int) -> list[int]:
    """Find the training workers below a driver: Ray names processes after their actors."""
    return [process for process in processes_named("ray::RayTrainWorker") if descends(process, driver)]


@pytest.mark.slow
def test_a_run_survives_a_killed_worker(two_workers: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    process = started(output)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    assert figures(output) == figures(two_workers)


@pytest.mark.slow
def test_a_workers_error_reaches_the_user_at_once(tmp_path: Path) -> None:
    flags = ["--train.workers", "2", "--method.temperature", "1e-300"]
    done = subprocess.run(command(tmp_path / "runs", *flags), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(r"training failed: loss\w* is \w+ at step \d", done.stderr)
    assert record(tmp_path / "runs")["status"] == "failed"


@pytest.mark.slow
def test_a_run_whose_driver_was_interrupted_and_then_killed_goes_on(two_workers: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    process = started(output)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130 and "Interrupted. The same command goes on" in said
    assert record(output)["status"] == "interrupted"
    process = started(output, epochs=2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(record(output)["epochs"]) < 3
    done = subprocess.run(command(output, "--train.workers", "2"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert figures(output) == figures(two_workers)
    assert kept(output) == {"record.json", "selected.pt", ".lock"}


@pytest.mark.slow
def test_two_that_want_the_same_run_under_different_workers_train_it_once(two_workers: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    together = started(output)
    alone = subprocess.run(command(output), capture_output=True, text=True, check=False)
    said, _ = together.communicate()
    assert together.returncode == 0 and alone.returncode == 0, said + alone.stdout + alone.stderr
    assert figures(output) == figures(two_workers)
    assert kept(output) == {"record.json", "selected.pt", ".lock"}


def test_a_run_is_held_by_one_at_a_time_and_waiting_for_it_can_be_left_off(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with held(lock, lambda: True) as first, held(lock, lambda: True) as second:
        assert first and not second
    with held(lock, lambda: True) as again:
        assert again
