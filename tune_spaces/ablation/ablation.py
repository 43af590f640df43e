"""Run what is missing of an ablation: every cell under every seed, each as a training run of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import ray

from csg.config import Config
from csg.config.names import make_folder_name
from csg.config.settings import Flat
from csg.data.pair import TARGET_TEST, Pair
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.wording import is_or_are, pluralize
from csg.parsing import config_from_flat, overlay
from csg.storage.files import exists, locked, make_folder
from csg.storage.layout import ABLATIONS
from csg.storage.object_store import folder_of
from csg.tasks import find_task
from csg.tracking import RunTracker, Tracker
from csg.tracking.tags import CELL_TAG, CELLS_TAG, TITLE_TAG
from csg.training.identity import canonical
from csg.training.program import source_digest
from csg.training.record import Status
from csg.training.run import Run
from csg.workers.cluster import Slots, check_nodes, check_output, list_inputs, start_ray
from csg.workers.room_watch import RoomWatch
from tune_spaces.ablation.cell_task import end_cell, start_cell
from tune_spaces.designs.design import Cell, Design
from tune_spaces.execution.closing import AnotherDriverError, closed_on_error

POLL_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Planned:
    """A cell under a seed."""

    cell: Cell
    config: Config
    pair: Pair

    @property
    def label(self) -> str:
        """Names the run for people."""
        return f"{self.cell.name} seed {self.config.train.seed}"

    def run(self) -> Run:
        """Open the training run as it is on disk now."""
        return Run(self.config, self.pair)

    def began(self) -> bool:
        """Whether the run left anything on disk."""
        run = self.run()
        return exists(run.checkpoint) or bool(run.record.epochs)


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A design with everything decided."""

    name: str
    """The design's, for folders and run names."""
    design: Design
    planned: tuple[Planned, ...]
    """Seed by seed, so that whatever is done allows a fair comparison."""
    tracking_uri: str
    experiment: str
    concurrency: int

    @property
    def key(self) -> str:
        """Names the ablation: same cells, same data and same program give the same one, whatever its seeds."""
        cells = {planned.cell.name: canonical(planned.config) for planned in self.planned}
        data = sorted({planned.pair.fingerprint for planned in self.planned})
        what = json.dumps({"cells": cells, "data": data, "program": source_digest()}, sort_keys=True)
        return f"{self.name}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"

    @property
    def folder(self) -> Path:
        """Where the ablation keeps its tables."""
        output = folder_of(self.planned[0].config.train.output)
        return output / ABLATIONS / make_folder_name(self.experiment) / self.key


def cells_of(design: Design, base: Flat, seeds: int) -> Iterator[tuple[Cell, Config]]:
    """Yield each cell's configuration under each of ``seeds`` seeds, which count up from ``train.seed``.

    A cell of the base's own method starts from the base's settings of it, others from their method's defaults.

    Raises:
        UserError: a cell's settings cannot be used; names the cell.
    """
    first = base["train.seed"]
    for seed in range(first, first + seeds):
        for cell in design.cells:
            try:
                config = config_from_flat(overlay(overlay(base, design.common), cell.changes) | {"train.seed": seed})
            except UserError as error:
                raise UserError(f"cell {cell.name!r} of the design: {error}") from None
            yield cell, config


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What an ablation came to."""

    ablation: Ablation
    parent: str
    """MLflow run id."""
    tracker: Tracker
    complete: bool
    """Whether every run ended; otherwise the same command goes on."""
    recorded: bool
    """Whether the MLflow store has everything; otherwise it was away, or refuses."""
    refusal: str
    """What it refuses for good, and what to do."""


def run_ablation(ablation: Ablation, console: Console) -> Outcome:
    """Train what is missing, several runs at a time, and bring MLflow up to date.

    Raises:
        UserError: the same ablation at work elsewhere, an unreachable store, an unwritable folder or resources that
            can never fit; nothing was trained.
    """
    check_output(ablation.planned[0].config, ablation.tracking_uri)
    make_folder(ablation.folder, "--train.output")
    try:
        with locked(ablation.folder / ".lock", wait=False):
            tracker = Tracker(ablation.tracking_uri, ablation.experiment)
            with closed_on_error(tracker, "ablation", ablation.key, ablation.folder):
                return _run_alone(ablation, tracker, console)
    except BlockingIOError:
        raise AnotherDriverError(f"this ablation is at work in another process (folder {ablation.folder})") from None


def _run_alone(ablation: Ablation, tracker: Tracker, console: Console) -> Outcome:
    done = {index for index, planned in enumerate(ablation.planned) if planned.run().record.status == "finished"}
    missing = [index for index in range(len(ablation.planned)) if index not in done]
    if done:
        runs = len(ablation.planned)
        console.print(f"{len(done)} of {pluralize(runs, 'run')} {is_or_are(runs)} on record.")
    if missing:
        start_ray()
    try:
        slots = _slots(ablation, missing)
        parent = tracker.open_parent(
            "ablation",
            ablation.key,
            folder=ablation.folder,
            name=f"ablation {ablation.key}",
            params={"design": ablation.name, "base": ablation.design.base},
            tags={TITLE_TAG: ablation.design.title, CELLS_TAG: json.dumps(ablation.design.comparisons)},
            description=f"{ablation.design.title} on {ablation.planned[0].pair.description}",
        )
        ledger = Ledger(ablation, tracker, parent)
        for index in sorted(done):
            ledger.note(index)
        interrupted = False
        try:
            room = RoomWatch(lambda text: console.print(text, style="yellow"))
            for index in _train(ablation, missing, slots, room):
                done.add(index)
                _announce(ablation, index, len(done), console)
                ledger.note(index)
        except KeyboardInterrupt:
            interrupted = True
    finally:
        ray.shutdown()
    for index in missing:
        if index not in done and ablation.planned[index].began():
            ledger.note(index, "interrupted")
    recorded = ledger.catch_up()
    if recorded:
        tracker.set_status(parent, "interrupted" if interrupted else "finished")
    return Outcome(ablation, parent, tracker, not interrupted, recorded, ledger.refusal)


class Ledger:
    """Writes an ablation's runs to MLflow; what a store that is away misses is written when it answers again."""

    def __init__(self, ablation: Ablation, tracker: Tracker, parent: str) -> None:
        self._ablation = ablation
        self._tracker = tracker
        self._parent = parent
        self._behind: dict[int, Status | None] = {}
        self.refusal = ""
        """What the store refused for good, and what to do; empty where it took all or is away."""

    def note(self, index: int, status: Status | None = None) -> None:
        """Record a run as it is on disk, or with another status."""
        self._behind[index] = status
        self.catch_up()

    def catch_up(self) -> bool:
        """Write what the store misses, as long as it answers; return whether it has everything."""
        self.refusal = self._tracker.write_all(self._behind, self._write)
        return not self._behind

    def _write(self, index: int, status: Status | None) -> None:
        planned = self._ablation.planned[index]
        run = planned.run()
        tags = {CELL_TAG: planned.cell.name}
        tracked = RunTracker(self._tracker, run, parent=self._parent, name=planned.label, tags=tags)
        tracked.log(dataclasses.replace(run.record, status=status or run.record.status))


def _announce(ablation: Ablation, index: int, count: int, console: Console) -> None:
    planned = ablation.planned[index]
    record, task = planned.run().record, find_task(planned.config.data)
    result = record.error[:150]
    if record.final:
        result = f"real {task.headline_words} {100 * record.final[f'{TARGET_TEST}/{task.headline}']:5.1f} %"
    console.print(
        f"{count:3d}/{len(ablation.planned)}  {planned.cell.name:<36} seed {planned.config.train.seed}  "
        f"{record.status:<8}  {result}",
    )


def _slots(ablation: Ablation, missing: list[int]) -> Slots:
    """Check every missing cell against the cluster, and return what says how many runs may be under way at a time.

    Raises:
        UserError: a cell can never fit, or a node lacks what it reads.
    """
    cells = {ablation.planned[index].cell.name: ablation.planned[index].config for index in missing}
    slots = Slots(tuple(cells.values()), asked=ablation.concurrency, at_most=len(missing))
    slots.wait_and_check()
    for config in {str(list_inputs(config)): config for config in cells.values()}.values():
        check_nodes(config)
    return slots


def _train(ablation: Ablation, missing: list[int], slots: Slots, room: RoomWatch) -> Iterator[int]:
    """Yield each missing run as it ends; a failure is on record and ends that run alone.

    Raises:
        UserError: the sources of csg changed meanwhile.
        OutsideFaultError: the store that holds the results does not answer any more, a disk is full, or the like; runs
            under way can go on later.
    """
    waiting = list(missing)
    under_way: dict[Any, int] = {}
    tries: Counter[int] = Counter()

    def configs_of(indices: Iterable[int]) -> list[Config]:
        return [ablation.planned[index].config for index in indices]

    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        while waiting or under_way:
            open_configs = {str(config): config for config in configs_of([*waiting, *under_way.values()])}
            slots = dataclasses.replace(slots, configs=tuple(open_configs.values()))
            room.look(slots)
            while (place := slots.next_place(configs_of(waiting), configs_of(under_way.values()))) is not None:
                index = waiting.pop(place)
                under_way[start_cell(ablation.planned[index].run())] = index
            ended, _ = ray.wait(list(under_way), num_returns=1, timeout=POLL_SECONDS)
            for reference in ended:
                index = under_way.pop(reference)
                planned = ablation.planned[index]
                tries[index] += 1
                if end_cell(reference, planned.run(), planned.label, tries=tries[index]):
                    yield index
                else:
                    waiting.insert(0, index)
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(*_: object) -> None:
    """End like Ctrl-C, also in the background of a shell, where SIGINT is ignored."""
    raise KeyboardInterrupt


def estimated_seconds(ablation: Ablation) -> float | None:
    """Estimate the missing runs' time from the finished ones, one at a time; None while there is none."""
    records = [planned.run().record for planned in ablation.planned]
    spent = [seconds_of(record.epochs, record.final) for record in records if record.status == "finished"]
    return (len(records) - len(spent)) * sum(spent) / len(spent) if spent else None


def seconds_of(epochs: list[dict[str, float]], final: Mapping[str, float]) -> float:
    """Return the time in a run's training and measuring."""
    return sum(value for values in (*epochs, final) for name, value in values.items() if name.endswith("/seconds"))
