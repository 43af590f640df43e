"""A whole search under ``unlabelled`` sees the images of target/val and none of their labels."""

from __future__ import annotations

import copy
import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest

from csg.data.pair import TARGET_VAL
from csg.messages.console import Console
from csg.parsing import parse_flags
from csg.training.mean_run import MeanRun
from csg.training.run import Run
from tests.simulated_cluster import started_cluster
from tests.tune_spaces.search.test_search import ROOT, command, timeless, tracked
from tune_spaces.execution.trial import TrainingTrial
from tune_spaces.search.journal import Event, Journal
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import plan_search
from tune_spaces.search.search import run_search


class MislabelledTrial(TrainingTrial):
    """A trial whose images of target/val have each other's labels."""

    def _open(self) -> Run | MeanRun:
        run = super()._open()
        assert isinstance(run, Run)
        stream: Any = copy.copy(run.pair.streams[TARGET_VAL])
        stream.labels = (stream.labels + 1) % len(run.pair.classes)
        stream.files = dataclasses.replace(stream.files, labels=stream.labels)
        run.pair = dataclasses.replace(run.pair, streams={**run.pair.streams, TARGET_VAL: stream})
        return run


def search(output: Path, trial: type[TrainingTrial]) -> tuple[list[Event], list[dict[str, float]]]:
    """Search with three trials; return all that the search decided, trial by trial, and what target/val showed."""
    learns = ("--model.name", "efficientnet_lite0", "--model.weights", "imagenet")  # to answer not with one class
    argv = command(output, *learns, "--num-samples", "3", "--protocol", "unlabelled")[2:]
    plan = plan_search(parse_flags(SearchOptions, argv, prog="", description=""), Console(file=io.StringIO()))
    run_search(plan, Console(file=io.StringIO()), trial)
    metrics = [
        {name: value for name, value in run.metrics.items() if name.startswith("target/val/")}
        for run in tracked(output)[2]
    ]
    events = timeless(Journal(plan.folder / "journal.jsonl"))
    return sorted(events, key=lambda event: (event.trial, event.epoch, event.kind)), metrics


@pytest.mark.slow
def test_permuted_labels_of_the_target_change_no_score_no_trial_and_no_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # where Ray's processes find the trial of this file
    with started_cluster(cpus=2) as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        events, metrics = search(tmp_path / "labelled" / "runs", TrainingTrial)
        mislabelled, permuted = search(tmp_path / "mislabelled" / "runs", MislabelledTrial)
    assert mislabelled == events and len(events) > 6
    differing = {name for one, other in zip(metrics, permuted, strict=True) for name in one if one[name] != other[name]}
    assert differing == {"target/val/accuracy", "target/val/mean_class_accuracy"}, "the labels were permuted"
