"""Run what is missing of an ablation: every cell under every seed, each as a training run of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cached_property

from csg.commands.opening import make_starting_weights
from csg.config import Config
from csg.config.names import make_folder_name
from csg.config.settings import Flat
from csg.data.pair import Pair
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.messages.wording import is_or_are, pluralize
from csg.parsing import build_config, overlay, with_absolute_paths
from csg.storage.layout import ABLATIONS, place_at
from csg.storage.place import Place
from csg.tracking import TrackingError
from csg.tracking.tags import Tag, make_long_tag
from csg.training.identity import resolve_settings
from csg.training.program import get_program_digest
from csg.training.run import Run
from tune_spaces.ablation.cell_source import CellSource, LastEpochScheduler
from tune_spaces.ablation.console import AblationConsole
from tune_spaces.designs.design import Cell, Design
from tune_spaces.execution.driver import Outcome, Study, drive
from tune_spaces.execution.recorder import Entry, Progress
from tune_spaces.execution.trial import NUMBER


@dataclasses.dataclass(frozen=True)
class CellRun:
    """A cell under a seed."""

    cell: Cell
    config: Config
    pair: Pair

    def run(self) -> Run:
        """Open the training run as it is on disk now."""
        return Run(self.config, self.pair)

    def read_entry(self) -> Entry:
        """Return the run as it is on disk now, and how MLflow shows it."""
        return self.make_entry(self.run())

    def make_entry(self, run: Run) -> Entry:
        """Say how MLflow shows the run."""
        name = f"{self.cell.name} seed {self.config.train.seed}"
        return Entry(run, name=name, tags={Tag.CELL: self.cell.name})


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A design with everything decided."""

    name: str
    """The design's, for folders and run names."""
    design: Design
    runs: tuple[CellRun, ...]
    """Seed by seed, so that whatever is done allows a fair comparison."""
    tracking_uri: str
    experiment: str
    concurrency: int
    searches: tuple[str, ...] = ()
    """Names of the searches that chose its cells; none where somebody declared them."""

    @cached_property
    def key(self) -> str:
        """Names the ablation: same design, same data and same program give the same one, whatever its seeds."""
        cells = {cell_run.cell.name: resolve_settings(cell_run.config) for cell_run in self.runs}
        data = sorted({cell_run.pair.fingerprint for cell_run in self.runs})
        compared = [self.design.title, self.design.base, *self.design.comparisons.items()]
        what = {"cells": cells, "compared": compared, "data": data, "program": get_program_digest()}
        if self.runs[0].config.selection.protocol == "held_out_source":  # its runs get figures that others lack
            what["protocol"] = "held_out_source"
        if self.searches:
            what["searches"] = self.searches
        return f"{self.name}-{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]}"

    @property
    def folder(self) -> Place:
        """Where the ablation keeps its tables."""
        output = place_at(self.runs[0].config.train.output)
        return output / ABLATIONS / make_folder_name(self.experiment) / self.key

    @property
    def study(self) -> Study:
        """What the driver needs to know."""
        return Study(
            kind="ablation",
            key=self.key,
            folder=self.folder,
            config=self.runs[0].config,
            tracking_uri=self.tracking_uri,
            experiment=self.experiment,
            params={"design": self.name, "base": self.design.base},
            tags={Tag.TITLE: self.design.title, **make_long_tag(Tag.CELLS, json.dumps(self.design.comparisons))},
            description=f"{self.design.title} on {self.runs[0].pair.description}",
            base={},
            fingerprints={number: each.pair.fingerprint for number, each in enumerate(self.runs)},
            find_entry=lambda trial_config: self.runs[trial_config[NUMBER]].read_entry(),
        )


def configure_cells(design: Design, base: Flat, seeds: int) -> Iterator[tuple[Cell, Config]]:
    """Yield each cell's configuration under each of ``seeds`` seeds, which count up from ``train.seed``.

    A cell of the base's own method starts from the base's settings of it, others from their method's defaults. Paths in
    cells are resolved against the current folder, as those of flags are.

    Raises:
        UserError: a cell's settings cannot be used; names the cell.
    """
    first = base["train.seed"]
    for seed in range(first, first + seeds):
        for cell in design.cells:
            try:
                config = with_absolute_paths(build_config(overlay(base, cell.changes) | {"train.seed": seed}))
            except UserError as error:
                raise UserError(f"cell {cell.name!r} of the design: {error}") from None
            yield cell, config


def run_ablation(ablation: Ablation, console: Console) -> Outcome:
    """Train what is missing, several runs at a time, and bring MLflow up to date.

    Raises:
        UserError: the same ablation at work elsewhere, an unreachable store, an unwritable folder or resources that
            can never fit; nothing was trained.
        OutsideFaultError: the store that holds the results does not answer any more, a disk is full, or the like; the
            same command goes on.
    """
    with drive(ablation.study, console) as driver:
        entries = [cell_run.read_entry() for cell_run in ablation.runs]
        done = {number for number, entry in enumerate(entries) if entry.run.record.status == "finished"}
        missing = {number: each.config for number, each in enumerate(ablation.runs) if number not in done}
        source = CellSource(missing, asked=ablation.concurrency)
        if done:
            console.print(f"{len(done)} of {pluralize(len(entries), 'run')} {is_or_are(len(entries))} on record.")
        driver.open(source.make_slots() if missing else None)
        for config in missing.values():
            make_starting_weights(config, console, left="")
        if done:
            with suppress(TrackingError):  # a store that is away for a while gets them at the end
                driver.recorder.settle({number: Progress(entries[number], "finished") for number in done})
        if missing:
            driver.run(
                source,
                LastEpochScheduler(),
                AblationConsole(console, ablation.study, total=len(entries), ended=len(done)),
                source.make_slots,
                count=len(missing),
            )
        progress = find_progress(ablation, done | source.ended | driver.recorder.lost.keys())
        return driver.conclude(progress, unfinished=len(missing.keys() - source.ended))


def find_progress(ablation: Ablation, ended: Collection[int]) -> dict[int, Progress]:
    """Return how far each run that has begun has come, by its record.

    Raises:
        OutsideFaultError: a run that has ended has no end on record.
    """
    progress = {}
    for number, cell_run in enumerate(ablation.runs):
        run = cell_run.run()
        entry = cell_run.make_entry(run)
        if number in ended:
            if run.record.status not in ("finished", "failed"):
                raise OutsideFaultError(
                    f"{entry.name} has ended, but {run.folder} has no end of it on record (status "
                    f"{run.record.status}); see that all nodes share train.output and that no other command trains it, "
                    "and the same command goes on where it was"
                )
            progress[number] = Progress(entry, run.record.status)
        elif run.record.epochs or run.checkpoint.exists():
            progress[number] = Progress(entry, "interrupted")
    return progress


def estimate_seconds(ablation: Ablation) -> float | None:
    """Estimate the missing runs' time from the finished ones, one at a time; None while there is none."""
    records = [cell_run.run().record for cell_run in ablation.runs]
    spent = [record.durations["duration_seconds"] for record in records if record.status == "finished"]
    return (len(records) - len(spent)) * sum(spent) / len(spent) if spent else None
