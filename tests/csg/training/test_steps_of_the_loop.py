"""What the loop hands to each step, and what it reports of the steps: rates, orders, views and means."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch

from csg.methods.method import Batch
from csg.parsing import build_config
from csg.training.loop import EpochReport, Training, fit
from csg.training.optimiser import compute_lr_factor
from csg.training.step import StepResult
from tests.made_up_pair import TINY, made_up_pair


class Noted:
    """A training of two epochs of five steps, and what its steps were given and returned."""

    def __init__(self, output: Path, **settings: Any) -> None:
        self.training = Training(build_config({**TINY, "train.output": str(output), **settings}), made_up_pair())
        self.batches: list[Batch] = []
        self.factors: list[float] = []
        self.losses: list[float] = []
        step = self.training.learner.step

        def note(batch: Batch, factor: float) -> tuple[StepResult, dict[str, float]]:
            loss, scalars = step(batch, factor)
            self.batches.append(batch)
            self.factors.append(factor)
            self.losses.append(scalars["loss"])
            return loss, scalars

        with patch.object(self.training.learner, "step", note):
            self.reports: list[EpochReport] = list(fit(self.training))


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Noted:
    return Noted(tmp_path_factory.mktemp("noted"))


def test_the_schedule_runs_over_all_epochs_and_the_reported_rate_is_the_last_applied(noted: Noted) -> None:
    optim = noted.training.config.optim
    assert noted.factors == [compute_lr_factor(optim, step, 10) for step in range(10)]
    rates = [report.metrics["train/lr"] for report in noted.reports]
    assert rates == pytest.approx([optim.lr * noted.factors[4], optim.lr * noted.factors[9]])


def test_the_reported_loss_is_the_mean_over_the_epochs_steps(noted: Noted) -> None:
    means = [statistics.fmean(noted.losses[:5]), statistics.fmean(noted.losses[5:])]
    assert [report.metrics["train/loss"] for report in noted.reports] == pytest.approx(means)


def list_indices(noted: Noted) -> list[list[int]]:
    return [batch.indices.tolist() for batch in noted.batches]


def test_an_epoch_shows_every_image_once_and_the_next_one_in_another_order(noted: Noted, tmp_path: Path) -> None:
    shown = list_indices(noted)
    assert all(sorted(itertools.chain(*shown[epoch : epoch + 5])) == list(range(40)) for epoch in (0, 5))
    assert shown[:5] != shown[5:]
    assert [batch.epoch for batch in noted.batches] == [0] * 5 + [1] * 5
    assert list_indices(Noted(tmp_path, **{"train.seed": 1, "train.epochs": 1})) != shown[:5], "the seed decides it"


def test_an_image_is_drawn_anew_in_every_epoch_and_for_every_seed(noted: Noted, tmp_path: Path) -> None:
    other = Noted(tmp_path, **{"train.seed": 1, "train.epochs": 1})
    first, second, apart = (
        {int(index): view for batch in batches for index, view in zip(batch.indices, batch.query, strict=True)}
        for batches in (noted.batches[:5], noted.batches[5:], other.batches)
    )
    for views in (second, apart):
        assert sum(torch.equal(first[index], views[index]) for index in first) < len(first) / 2
