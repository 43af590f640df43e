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
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from csg import collective
from csg.data.pair import IGNORED
from csg.parsing import config_from_flat
from csg.settings import ConfigError
from csg.tasks import task_of
from csg.tasks.measurement import Inference
from csg.training import distributed, loop
from csg.training.checkpoint import load_state
from csg.training.distributed import Launch, held
from csg.training.evaluation import validation_metrics
from csg.training.loop import Training, fit
from csg.training.outputs import OUTPUTS
from csg.training.pictures import PICTURES
from csg.training.run import Run
from csg.training.step import task_loss
from tests.made_up_pair import TINY, made_up_pair
from tests.process_group import Result, disagreeing, masked, trained, unequal
from tests.process_tree import descends, processes_named
from tests.published_trees import write_folders

SCENES = {
    "data.name": "glyph_scenes",
    "data.source_images": 24,
    "data.window": 32,
    "model.output_stride": 8,
    "train.evaluation_batch_size": 3,
}
"""Settings of segmentation on the made-up scenes, whose void is spread unevenly."""
RUNS: dict[str, dict[str, Any]] = {
    "csg": {},
    "csg, chunks": {"method.stage3.chunks": 2, "method.stage4.pooling": "average", "method.queue_size": 31},
    "csg, one view": {"data.augmentation": "none", "method.queue_size": 5},
    "source only": {"method.name": "source_only", "optim.name": "adamw"},
    "synaptic intelligence": {"method.name": "synaptic_intelligence"},
    "feature l2": {"method.name": "feature_l2", "method.pooling": "apool"},
    "asg": {"method.name": "asg", "method.controller_interval": 2},
    "ibn-net": {"method.name": "ibn_net"},
    "drpc": {"method.name": "drpc", "method.copies": 3},
    "weight l2": {"method.name": "weight_l2"},
    "oracle on ImageNet": {"method.name": "oracle_imagenet"},
    "csg, masked labels": {"masked": True},
    "asg, masked labels": {"masked": True, "method.name": "asg", "method.controller_interval": 2},
    "scenes: csg": {**SCENES, "method.stage3.chunks": 4, "method.stage4.chunks": 2, "method.stage4.pooling": "average"},
    "scenes: drpc": {**SCENES, "method.name": "drpc"},
    "scenes: feature l2": {**SCENES, "method.name": "feature_l2"},
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    return trained(1, RUNS, tmp_path_factory.mktemp("one"))


@pytest.mark.slow
@pytest.mark.xdist_group("one process's runs")
@pytest.mark.parametrize("world", [2, 3])
def test_workers_end_with_what_one_process_would(world: int, one: dict[str, Result], tmp_path: Path) -> None:
    """Losses, weights, queues and their pointers, importances, choices and metrics, after 12 steps in float64."""
    together = trained(world, RUNS, tmp_path)
    for name, alone in one.items():
        assert_same(together[name], alone, tolerance=1e-10, name=name)


def assert_same(mine: Result, theirs: Result, *, tolerance: float, name: str) -> None:
    for my_metrics, their_metrics in zip(mine["metrics"], theirs["metrics"], strict=True):
        assert my_metrics == pytest.approx(their_metrics, rel=tolerance, abs=tolerance), name
    assert mine["steps"] == theirs["steps"]
    for part in ("model", "method"):
        assert mine[part].keys() == theirs[part].keys()
        for key, tensor in theirs[part].items():
            torch.testing.assert_close(mine[part][key], tensor, rtol=tolerance, atol=tolerance, msg=f"{name} {key}")


CUTS = ("in the second epoch", "in an evaluation", "after an evaluation")


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 3])
def test_workers_resumed_anywhere_end_as_if_nothing_had_happened(world: int, tmp_path: Path) -> None:
    """Bit-identical up to two; of three, the order of a sum depends on the steps since the processes started."""
    settings: dict[str, Any] = {"train.checkpoint_minutes": 0.0, "method.name": "synaptic_intelligence"}
    resumed = {cut: {**settings, "cut": cut, "checkpoint": str(tmp_path / f"{cut}.pt")} for cut in CUTS}
    results = trained(world, {"undisturbed": settings, **resumed}, tmp_path)
    assert results["undisturbed"]["method"]["/epochs_ended"] == 2
    for cut in CUTS:
        assert_same(results[cut], results["undisturbed"], tolerance=0 if world <= 2 else 1e-10, name=cut)


def test_a_long_evaluation_is_followed_by_a_checkpoint_and_a_short_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, evaluation_seconds = 0.0, 61.0

    def evaluate(*arguments: Any) -> dict[str, float]:
        nonlocal clock
        clock += evaluation_seconds
        return validation_metrics(*arguments)

    monkeypatch.setattr(loop, "validation_metrics", evaluate)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock, perf_counter=time.perf_counter))
    config = config_from_flat({**TINY, "train.checkpoint_minutes": 1.0})
    next(fit(config, made_up_pair(), checkpoint=tmp_path / "long.pt"))
    position = load_state(tmp_path / "long.pt")["position"]
    assert (position["epoch"], position["step"]) == (1, 0), (
        "a kill from here on repeats neither training nor evaluation"
    )
    evaluation_seconds = 1.0
    next(fit(config, made_up_pair(), checkpoint=tmp_path / "short.pt"))
    assert not (tmp_path / "short.pt").exists()


def test_a_step_is_told_after_its_state_is_saved(tmp_path: Path) -> None:
    """Whoever kills a run when it hears of a step does not kill it in the midst of saving that one."""
    checkpoint = tmp_path / "checkpoint.pt"
    saved: list[int] = []
    config = config_from_flat({**TINY, "train.epochs": 1, "train.checkpoint_minutes": 0.0})
    told = lambda *_: saved.append(load_state(checkpoint)["steps"])  # noqa: E731
    list(fit(config, made_up_pair(), checkpoint=checkpoint, on_step=told))
    assert saved == [1, 2, 3, 4, 5]


def test_labels_that_are_ignored_count_in_no_loss_and_no_accuracy() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]], requires_grad=True)
    value, rows = task_loss(logits, torch.tensor([0, IGNORED, 1]))
    assert rows == 2
    torch.testing.assert_close(value, cross_entropy(logits[[0, 2]], torch.tensor([0, 1])))
    nothing, rows = task_loss(logits, torch.full((3,), IGNORED))
    nothing.backward()  # type: ignore[no-untyped-call]
    assert rows == 0 and nothing == 0
    assert logits.grad is not None and not logits.grad.any(), "a gradient of 0, and not none: all workers need one"
    training = Training(config_from_flat(TINY), masked(made_up_pair()))
    config = training.config
    inference = Inference(training.learner.model, config)
    measured = task_of(config.data).measure(inference, config, training.pair, "source/val")
    assert measured.confusion.sum() == 3 and len(measured.features) == 12


def test_without_a_group_there_is_one_process() -> None:
    rows = torch.arange(6.0).reshape(3, 2)
    assert collective.joined(rows) is rows and collective.summed(rows) is rows
    assert collective.part(7) == slice(0, 7) and collective.is_first() and collective.agreed(lambda: True)
    collective.check_agreement({"epochs": 2})


@pytest.mark.slow
def test_parts_of_unequal_size_count_by_their_rows(tmp_path: Path) -> None:
    """Sums, lists and means over rows, three processes holding 3, 0 and 2 of 5 rows."""
    shares, rows, total = unequal(tmp_path)
    assert shares == pytest.approx([3 * 3 / 5, 1.0, 1.0])
    assert rows == [0, 1, 2, 6, 7, 100, 101, 102, 106, 107] and total == 5


@pytest.mark.slow
def test_workers_that_do_not_find_the_same_on_disk_all_say_so(tmp_path: Path) -> None:
    complaints = disagreeing(tmp_path)
    assert len(set(complaints)) == 1
    assert re.search(r"the 3 workers disagree on where the run stands, by worker a checkpoint: 1, 1, 0;", complaints[0])


def test_workers_must_divide_the_batch() -> None:
    with pytest.raises(ConfigError, match=r"train\.workers: expected a divisor of train\.batch_size \(32\).*found 3"):
        config_from_flat({"train.workers": 3})
    with pytest.raises(ConfigError, match=r"model\.frozen_statistics: expected True with several workers"):
        config_from_flat({"train.workers": 2, "model.frozen_statistics": False})
    with pytest.raises(ConfigError, match=r"train\.gpus_per_worker: expected a whole number"):
        config_from_flat({"train.workers": 2, "train.gpus_per_worker": 0.5})


SMALL = [
    *("--data.name", "folders", "--data.image-size", "32", "--train.epochs", "4", "--train.batch-size", "8"),
    *("--train.precision", "float64", "--train.checkpoint-minutes", "0", "--tracking-uri", "none"),
    *("--method.queue-size", "256"),
]
TOGETHER = pytest.mark.xdist_group("the run of two workers")
"""Tests that look at one run, which one process trains."""


def command(output: Path, *flags: str) -> list[str]:
    """Train on few images, so that processes are waited for, not evaluations; they are the same beside any output."""
    renders, photographs = output.parent / "renders", output.parent / "photographs"
    if not renders.exists():
        write_folders(output.parent, per_class=24)
    data = ["--data.source", str(renders), "--data.target", str(photographs)]
    return [sys.executable, "-m", "csg", "train", *SMALL, *data, "--train.output", str(output), *flags]


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
@TOGETHER
def test_a_ray_train_run_of_two_workers_is_the_run_of_one(two_workers: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    subprocess.run(command(output), capture_output=True, text=True, check=True)
    assert record(output)["identity"] == record(two_workers)["identity"], "the worker count is no part of it"
    for mine, theirs in zip(figures(two_workers), figures(output), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9, abs=1e-9)
    assert kept(two_workers) == {"record.json", "selected.pt", "test_outputs.npz", "test_pictures.npz", ".lock"}


KEPT = {"record.json", "selected.pt", OUTPUTS, PICTURES, ".lock"}
"""What a finished run's folder holds."""


def kept(output: Path) -> set[str]:
    (folder,) = (output / "trained").iterdir()
    return {path.name for path in folder.iterdir()}


def started(output: Path, *, epochs: int = 1) -> subprocess.Popen[str]:
    """Start two workers and wait until so many epochs are on record and the next under way."""
    process = subprocess.Popen(
        command(output, "--train.workers", "2"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    wait_for_epochs(process, output, epochs)
    return process


def wait_for_epochs(process: subprocess.Popen[str], output: Path, epochs: int) -> None:
    """Wait until so many epochs of a run are on record."""
    while not any(output.rglob("record.json")) or len(record(output)["epochs"]) < epochs:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)


def workers_of(driver: int) -> list[int]:
    """Find the training workers below a driver: Ray names processes after their actors."""
    return [process for process in processes_named("ray::RayTrainWorker") if descends(process, driver)]


@pytest.mark.slow
def test_a_workers_error_reaches_the_user_at_once(tmp_path: Path) -> None:
    flags = ["--train.workers", "2", "--method.temperature", "1e-300"]
    done = subprocess.run(command(tmp_path / "runs", *flags), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(r"training failed: loss\w* is \w+ at step \d", done.stderr)
    assert record(tmp_path / "runs")["status"] == "failed"


@pytest.mark.slow
@TOGETHER
def test_a_run_survives_a_killed_worker_and_goes_on_after_its_driver_was_interrupted_and_killed(
    two_workers: Path, tmp_path: Path
) -> None:
    output = tmp_path / "runs"
    process = started(output)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    wait_for_epochs(process, output, 2)
    assert not set(workers) & set(workers_of(process.pid)), "both were started anew"
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130 and "Interrupted. The same command goes on" in said
    assert record(output)["status"] == "interrupted"
    process = started(output, epochs=3)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(record(output)["epochs"]) < 4
    done = subprocess.run(command(output, "--train.workers", "2"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert figures(output) == figures(two_workers)
    assert kept(output) == KEPT


@pytest.mark.slow
@TOGETHER
def test_two_that_want_the_same_run_under_different_workers_train_it_once(two_workers: Path, tmp_path: Path) -> None:
    output = tmp_path / "runs"
    together = started(output)
    alone = subprocess.Popen(command(output), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    first_epoch = record(output)["epochs"][0]
    said, _ = together.communicate()
    assert together.returncode == 0, said
    trained_once = record(output)
    said, _ = alone.communicate()
    assert alone.returncode == 0, said
    assert record(output) == trained_once, "with every second that it took: nothing was measured again"
    assert trained_once["epochs"][0] == first_epoch
    assert figures(output) == figures(two_workers)
    assert kept(output) == KEPT


class DyingLaunch(Launch):
    """Stands for workers that die while they measure target/test, and get it done when they are started again."""

    starts = 0

    def start(self) -> None:
        """Leave what such workers leave."""
        type(self).starts += 1
        recorded = Run(self._run.config, self._run.pair)
        recorded.record.epochs = [{"loss": 2.0}, {"loss": 1.0}]
        recorded.record.final = {"accuracy": 0.5} if self.starts > 1 else {}
        recorded._write()
        self.failure = "" if self.starts > 1 else "a worker died"


def test_the_last_epoch_is_told_when_workers_have_measured_the_test_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hears of the last epoch asks for these figures; the driver may have no device to measure them on."""
    monkeypatch.setattr(distributed, "Launch", DyingLaunch)
    monkeypatch.setattr(distributed, "_join_cluster", lambda config: None)
    config = config_from_flat({**TINY, "train.workers": 2, "train.output": str(tmp_path)})
    run = Run(config, made_up_pair()).create()
    finals = [(report.epoch, dict(run.record.final)) for report in run.epochs()]
    assert finals == [(1, {}), (2, {"accuracy": 0.5})]
    assert DyingLaunch.starts == 2


def test_a_run_is_held_by_one_at_a_time_and_waiting_for_it_can_be_left_off(tmp_path: Path) -> None:
    one, other = (Run(config_from_flat({**TINY, "train.output": str(tmp_path)}), made_up_pair()) for _ in range(2))
    one.create()
    with held(one, lambda: True) as first, held(other, lambda: True) as second:
        assert first and not second
    with held(other, lambda: True) as again:
        assert again
