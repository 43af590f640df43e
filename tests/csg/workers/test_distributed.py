"""Workers that train together compute what one process would, and lose nothing when they die."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from csg import collective
from csg.data.pair import IGNORED
from csg.messages.errors import UserError
from csg.parsing import build_config
from csg.storage.disk import DiskPlace
from csg.storage.files import make_temporary_path
from csg.tasks import find_task
from csg.tasks.measurement import Inference
from csg.training import checkpoint, loop
from csg.training.checkpoint import load_state
from csg.training.evaluation import measure_validation
from csg.training.loop import Training, fit
from csg.training.run import Run
from csg.training.step import task_loss
from csg.workers import distributed
from csg.workers.distributed import Launch, hold_run
from csg.workers.launch_files import LaunchFiles
from csg.workers.run import train_run
from tests.made_up_pair import TINY, made_up_pair
from tests.process_group import Result, disagreeing, masked, trained, unequal

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
    "miro, swad": {
        **{"method.name": "miro", "averaging.name": "swad"},
        **{"averaging.open_patience": 1, "averaging.close_patience": 2},
    },
    "mixstyle, pasta": {"method.name": "mixstyle", "method.probability": 0.9, "data.augmentation": "pasta"},
    "gcisg": {"method.name": "gcisg", "method.queue_size": 31},
    "low_rank": {"method.name": "low_rank"},
    "lp_ft, wise_ft, masked labels": {
        **{"masked": True, "method.name": "lp_ft", "averaging.name": "wise_ft", "optim.name": "adamw"},
    },
    "csg, masked labels": {"masked": True},
    "asg, masked labels": {"masked": True, "method.name": "asg", "method.controller_interval": 2},
    "scenes: csg": {**SCENES, "method.stage3.chunks": 4, "method.stage4.chunks": 2, "method.stage4.pooling": "average"},
    "scenes: drpc": {**SCENES, "method.name": "drpc"},
    "scenes: feature l2": {**SCENES, "method.name": "feature_l2"},
    "scenes: mixstyle, swad": {**SCENES, "method.name": "mixstyle", "averaging.name": "swad"},
    "scenes: gcisg, wise_ft": {**SCENES, "method.name": "gcisg", "averaging.name": "wise_ft"},
}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    return trained(1, RUNS, tmp_path_factory.mktemp("one"))


@pytest.mark.slow
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
        return measure_validation(*arguments)

    monkeypatch.setattr(loop, "measure_validation", evaluate)
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: clock))
    config = build_config({**TINY, "train.checkpoint_minutes": 1.0})
    next(fit(Training(config, made_up_pair()), checkpoint=DiskPlace(tmp_path / "long.pt")))
    position = load_state(DiskPlace(tmp_path / "long.pt"))["position"]
    assert (position["epoch"], position["step"]) == (1, 0), (
        "a kill from here on repeats neither training nor evaluation"
    )
    evaluation_seconds = 1.0
    next(fit(Training(config, made_up_pair()), checkpoint=DiskPlace(tmp_path / "short.pt")))
    assert not (tmp_path / "short.pt").exists()


def test_a_step_is_told_after_its_state_is_saved(tmp_path: Path) -> None:
    """Whoever kills a run when it hears of a step does not kill it in the midst of saving that one."""
    checkpoint = DiskPlace(tmp_path / "checkpoint.pt")
    saved: list[int] = []
    config = build_config({**TINY, "train.epochs": 1, "train.checkpoint_minutes": 0.0})
    told = lambda *_: saved.append(load_state(checkpoint)["steps"])  # noqa: E731
    list(fit(Training(config, made_up_pair()), checkpoint=checkpoint, on_step=told))
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
    training = Training(build_config(TINY), masked(made_up_pair()))
    config = training.config
    inference = Inference(training.learner.model, config)
    measured = find_task(config.data).measure(inference, config, training.pair, "source/val")
    assert measured.confusion.sum() == 3 and len(measured.features) == 12


def test_without_a_group_there_is_one_process() -> None:
    rows = torch.arange(6.0).reshape(3, 2)
    assert collective.gather_rows(rows) is rows and collective.sum_over_processes(rows) is rows
    assert collective.get_own_slice(7) == slice(0, 7) and collective.is_first() and collective.ask_first(lambda: True)
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
    with pytest.raises(UserError, match=r"train\.workers: expected a divisor of train\.batch_size \(32\).*found 3"):
        build_config({"train.workers": 3})
    with pytest.raises(UserError, match=r"model\.frozen_statistics: expected True with several workers"):
        build_config({"train.workers": 2, "model.frozen_statistics": False})
    with pytest.raises(UserError, match=r"train\.gpus_per_worker: expected a whole number"):
        build_config({"train.workers": 2, "train.gpus_per_worker": 0.5})


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
    config = build_config({**TINY, "train.workers": 2, "train.output": str(tmp_path)})
    run = Run(config, made_up_pair()).create()
    finals = [(report.epoch, dict(run.record.final)) for report in train_run(run)]
    assert finals == [(1, {}), (2, {"accuracy": 0.5})]
    assert DyingLaunch.starts == 2


def test_a_run_is_held_by_one_at_a_time_and_waiting_for_it_can_be_left_off(tmp_path: Path) -> None:
    one, other = (Run(build_config({**TINY, "train.output": str(tmp_path)}), made_up_pair()) for _ in range(2))
    one.create()
    with hold_run(one, lambda: True) as first, hold_run(other, lambda: True) as second:
        assert first and not second
    with hold_run(other, lambda: True) as again:
        assert again


def test_a_finished_run_keeps_no_file_of_drivers_and_workers_that_were_killed(tmp_path: Path) -> None:
    run = Run(build_config(TINY | {"train.output": str(tmp_path), "train.workers": 2}), made_up_pair())
    for _ in run.train():
        pass
    run.finish()
    kept = {path.name for path in run.folder.local.iterdir()}
    files = LaunchFiles(run.folder, "0123456789ab")
    files.wanted.write(b"")
    files.ray_train.mkdir()
    killed = LaunchFiles(run.folder, "ba9876543210")
    make_temporary_path(killed.progress.local).touch()
    assert len(list(train_run(run))) == 2
    assert {path.name for path in run.folder.local.iterdir()} == kept
