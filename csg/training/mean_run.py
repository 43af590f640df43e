"""The trainings without each source in turn: one run for whoever trains and records it, whose figures are the means.

Under the protocol ``held_out_source`` they score what trains on all sources. Each is a run of its own
(``data.held_out``), on record like any other: it is trained once, whoever asks for it.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Generator, Mapping, Sequence
from typing import Final

import torch

from csg.config import Config
from csg.config.settings import flatten
from csg.data.held_out import HELD_OUT, hold_out, hold_out_each, list_removable_sources
from csg.data.pair import Pair
from csg.messages.errors import UserError
from csg.storage.place import Place
from csg.tasks import find_task
from csg.training.identity import Identity
from csg.training.loop import EpochReport
from csg.training.record import Record, Status
from csg.training.run import Run

SUMS: Final = ("/seconds", "/skipped_images")
"""Ends of the names of metrics that add up over trainings; of all others the mean counts."""
WORST_FIRST: Final[tuple[Status, ...]] = ("failed", "running", "stopped", "interrupted", "finished")
"""The first status that any training has is that of all together."""


def list_parts(config: Config, pair: Pair) -> dict[str, Run]:
    """Return the run without each source, as it is on disk now, by the name of the source; none where there is one.

    Args:
        config: of a training on all sources.
        pair: with all sources.
    """
    return {
        name: Run(
            dataclasses.replace(config, data=dataclasses.replace(config.data, held_out=name)), hold_out(pair, name)
        )
        for name in list_removable_sources(pair)
    }


def average_metrics(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of every metric over the trainings that have it; times and lost images add up."""
    names = dict.fromkeys(name for metrics in each for name in metrics)
    values = {name: [metrics[name] for metrics in each if name in metrics] for name in names}
    return {name: sum(held) if name.endswith(SUMS) else statistics.fmean(held) for name, held in values.items()}


def read_held_out_figures(run: Run) -> dict[str, float]:
    """Return the figures of a training on all sources on sources that it was not trained on: ``selected/held_out/...``.

    They are means over the trainings without each source; nothing where not all of these are finished.
    """
    if HELD_OUT in run.pair.streams:
        return {}
    finals = [part.record.final for part in list_parts(run.config, run.pair).values()]
    task = find_task(run.config.data)
    names = [f"selected/{HELD_OUT}/{name}" for name in (task.score, task.overall)]
    if not finals or not all(name in final for name in names for final in finals):
        return {}
    return {name: statistics.fmean(final[name] for final in finals) for name in names}


class MeanRun:
    """What a trial of a search under ``held_out_source`` trains, with the face of a :class:`~csg.training.run.Run`.

    The trainings advance together, epoch by epoch, so that a trial can be stopped by the mean of their scores; their
    weights are in memory at the same time.
    """

    def __init__(self, config: Config, pair: Pair) -> None:
        """Open the runs below ``train.output``, whether or not they exist; nothing is written yet.

        Raises:
            UserError: ``train.workers`` is more than 1.
        """
        if config.train.workers > 1:
            raise UserError(
                "train.workers: expected 1 in a search with selection.protocol=held_out_source, the trainings of whose "
                f"trials advance together in one process, found {config.train.workers}"
            )
        self.config = config
        self.pair = hold_out_each(pair)
        self.parts = list_parts(config, pair)
        self.identity = Identity.of(config, self.pair)
        self.artifacts: tuple[Place, ...] = ()
        self._training = ""
        """Name of the source without which something is being trained or measured."""

    @property
    def record(self) -> Record:
        """What all trainings together showed: of every epoch that all have on record, the mean."""
        records = [part.record for part in self.parts.values()]
        finals = [record.final for record in records]
        statuses = {record.status for record in records}
        errors = [f"without {name}: {part.record.error}" for name, part in self.parts.items() if part.record.error]
        return Record(
            dataclasses.asdict(self.identity),
            flatten(self.config),
            epochs=[average_metrics(each) for each in zip(*(record.epochs for record in records), strict=False)],
            final=average_metrics(finals) if all(finals) else {},
            status=next(status for status in WORST_FIRST if status in statuses),
            error="; ".join(errors),
            megabytes=sum(record.megabytes for record in records),
        )

    def create(self) -> MeanRun:
        """Make the runs' folders; see :meth:`Run.create`."""
        for part in self.parts.values():
            part.create()
        return self

    def reread(self) -> None:
        """Read all records again; see :meth:`Run.reread`."""
        for part in self.parts.values():
            part.reread()

    def train(self) -> Generator[EpochReport]:
        """Yield the mean of every epoch: at once where all have it on record, else as this process trains the others.

        Torch's own random state is each training's, as if it were alone.

        Raises:
            NonFiniteLossError: see :meth:`Run.train`.
        """
        reports = {name: part.train() for name, part in self.parts.items()}
        states = dict.fromkeys(reports, _get_random_state())
        try:
            for epoch in range(1, self.config.train.epochs + 1):
                metrics = []
                for name, each in reports.items():
                    self._training = name
                    _set_random_state(states[name])
                    metrics.append(next(each).metrics)
                    states[name] = _get_random_state()
                yield EpochReport(epoch, average_metrics(metrics))
        finally:
            for each in reports.values():
                each.close()

    def score(self, epoch: int) -> float:
        """Return the mean selection score, after ``epoch`` epochs, of the weights that would be measured then."""
        return statistics.fmean(part.score(epoch) for part in self.parts.values())

    def finish(self) -> dict[str, float]:
        """Finish every training, and return the mean of their final metrics; see :meth:`Run.finish`."""
        finals = []
        for name, part in self.parts.items():
            self._training = name
            finals.append(part.finish())
        return average_metrics(finals)

    def fail(self, error: Exception) -> None:
        """Record an error with the training that it is of. The others are left to go on with."""
        for name, part in self.parts.items():
            if name == self._training or not self._training:
                part.fail(error)
            else:
                part.close("interrupted")

    def close(self, status: Status, error: str = "") -> None:
        """Record how all trainings ended; see :meth:`Run.close`."""
        for part in self.parts.values():
            part.close(status, error)


def _get_random_state() -> list[torch.Tensor]:
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else ())]


def _set_random_state(state: list[torch.Tensor]) -> None:
    torch.set_rng_state(state[0])
    if state[1:]:
        torch.cuda.set_rng_state_all(state[1:])


def open_trial_run(config: Config, pair: Pair) -> Run | MeanRun:
    """Open what a trial of a search trains, below ``train.output``; nothing is written yet.

    Raises:
        UserError: see :class:`Run` and :class:`MeanRun`.
    """
    run = Run(config, pair)
    in_turn = config.selection.protocol == "held_out_source" and HELD_OUT not in pair.streams
    return MeanRun(config, pair) if in_turn else run
