"""A search from its first line to its summary: the driver around Ray Tune."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import ray
from ray import tune
from ray.tune import TuneError

from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError, find_outside_fault, walk_causes
from csg.messages.wording import pluralize
from csg.storage.files import locked, make_folder, names
from csg.storage.layout import JOURNAL
from csg.storage.object_store import address_of
from csg.tasks import find_task
from csg.tracking import StoreError, Tracker
from csg.tracking.tags import SCORE_TAG, SPACE_TAG
from csg.training.evaluation import PROTOCOL_STREAMS
from csg.training.program import compute_source_digest, source_digest
from csg.workers.cluster import Slots, check_nodes, check_output, resources_of, start_ray
from tune_spaces.execution.closing import AnotherDriverError, closed_on_error
from tune_spaces.search.console import SearchConsole
from tune_spaces.search.journal import Event, Journal, unfinished
from tune_spaces.search.plan import Search
from tune_spaces.search.recorder import ROLE_NAMES, MlflowRecorder
from tune_spaces.search.scheduler import JournaledASHA
from tune_spaces.search.searcher import NUMBER, JournaledOptunaSearch
from tune_spaces.search.trial import TrainingTrial, trial_settings

REFERENCES = (("source_only", {"method.name": "source_only"}),)
"""Trials that lie outside the space and come first."""
MAX_RETRIES = 2
"""Restarts of a trial whose process died; it goes on from its checkpoint."""
TUNES_LOGGERS = ("ray.tune", "ray.air")

Ending = Literal["complete", "out of time", "interrupted"]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a search came to."""

    search: Search
    parent: str
    """MLflow run id."""
    tracker: Tracker
    ending: Ending
    """complete: every trial ended, or was lost; otherwise the search can be resumed."""
    lost: Mapping[int, str]
    """By trial, what ended its process once too often; the same command tries those again."""
    recorded: bool
    """Whether the MLflow store has everything; otherwise it was away, or refuses."""
    refusal: str
    """What it refuses for good, and what to do."""
    startup_seconds: float
    """From the call to the first trial."""
    search_seconds: float
    """From the first trial to the last one's end."""


def run_search(search: Search, console: Console, trainable: type[tune.Trainable] = TrainingTrial) -> Outcome:
    """Run what is missing of a search, each trial by ``trainable``.

    Raises:
        UserError: nothing to resume, the same search at work elsewhere, an unreachable store, an unwritable folder or
            resources that can never fit; nothing was trained. Or another driver is at the search.
        OutsideFaultError, OSError: the store that holds the results does not answer any more, a disk is full, or the
            like; the search can be resumed.
    """
    journal = Journal(search.folder / JOURNAL)
    if search.options.resume and not journal.events():
        folder = address_of(search.folder.parent)
        raise UserError(f"--resume: no search with these flags was started in {folder}; found {_found(search)}")
    check_output(search.config, search.tracking_uri)
    make_folder(search.folder, "--train.output")
    try:
        with locked(search.folder / ".lock", wait=False):
            return _run_alone(search, journal, console, trainable)
    except BlockingIOError:
        raise AnotherDriverError(f"this search is at work in another process (folder {search.folder})") from None


def _run_alone(search: Search, journal: Journal, console: Console, trainable: type[tune.Trainable]) -> Outcome:
    began = time.monotonic()
    journal.repair()
    tracker = Tracker(search.tracking_uri, search.experiment)
    try:
        missing = unfinished(journal.events(), search.options.num_samples)
        slots = _slots(search)
        if missing:
            start_ray()
            slots.wait_and_check()
            check_nodes(search.config)
        with closed_on_error(tracker, "search", search.name, search.folder):
            return _run_checked(search, journal, console, trainable, tracker, slots=slots, began=began)
    finally:
        ray.shutdown()


def _slots(search: Search) -> Slots:
    """Say how many trials run at a time; unless told, few enough for the sampler to learn from four rounds."""
    options = search.options
    return Slots((search.config,), asked=options.concurrency, at_most=max(1, options.num_samples // 4))


def _run_checked(
    search: Search,
    journal: Journal,
    console: Console,
    trainable: type[tune.Trainable],
    tracker: Tracker,
    *,
    slots: Slots,
    began: float,
) -> Outcome:
    config, options = search.config, search.options
    known = journal.events()
    remaining = unfinished(known, options.num_samples)
    parent = tracker.open_parent(
        "search",
        search.name,
        folder=search.folder,
        name=f"search {search.name}",
        params={"num_samples": options.num_samples, "sampler_seed": options.seed}
        | {name: value for name, value in search.base.items() if value is not None},
        tags={SCORE_TAG: search.score_metric, SPACE_TAG: json.dumps(search.space.names)},
        description=f"Search over {', '.join(search.space.names)} on {search.where}",
    )
    searcher = JournaledOptunaSearch(
        search.space,
        fixed=search.base,
        references=() if config.method.name == "source_only" else REFERENCES,
        journal=journal,
        trials=options.num_samples,
        epochs=config.train.epochs,
        seed=options.seed,
        slots=slots.now,
    )
    if known and remaining:
        ended = sum(event.kind == "ended" for event in known)
        console.print(f"Going on with an interrupted search: {pluralize(ended, 'trial')} ended, {remaining} to go.")
    recorder = MlflowRecorder(tracker, parent=parent, base=search.base, epochs=config.train.epochs)
    started = time.monotonic()
    if remaining:
        table = SearchConsole(
            console,
            base=search.base,
            epochs=config.train.epochs,
            trials=options.num_samples,
            slots=slots,
            score_name=f"{PROTOCOL_STREAMS[config.selection.protocol]} {find_task(config.data).score_words}",
        )
        _show_ended(table, search, known)
        started = time.monotonic()
        with table:
            _tune(
                search,
                trainable,
                searcher,
                journal,
                [recorder, table],
                remaining=remaining,
            )
    finished = time.monotonic()
    ray.shutdown()  # now no process is at a run any more
    events = journal.events()
    ending: Ending = "complete"
    lost = recorder.lost if compute_source_digest() == source_digest() else {}
    if unfinished(events, options.num_samples) > len(lost):
        in_time = not options.time_budget or finished - started < 60 * options.time_budget
        ending = "interrupted" if in_time else "out of time"
    try:
        recorded = recorder.note_all(events)
        tracker.set_status(parent, "interrupted" if ending == "interrupted" else "finished")
        refusal = recorder.refusal
    except StoreError as error:
        recorded, refusal = False, tracker.describe_refusal(error)
    return Outcome(search, parent, tracker, ending, lost, recorded, refusal, started - began, finished - started)


def _found(search: Search) -> str:
    found = names(search.folder.parent)
    return ", ".join(found) if found else "none"


def _show_ended(table: SearchConsole, search: Search, known: list[Event]) -> None:
    suggested = {event.trial: event for event in known if event.kind == "suggested"}
    for event in known:
        if event.kind == "ended":
            origin = suggested[event.trial]
            summary = trial_settings(search.base, origin.settings).method.summary.removeprefix("csg ")
            what = ROLE_NAMES.get(origin.role, summary)
            table.add_ended(event.trial, what, epoch=event.epoch, score=event.score, status=event.decision)


def _one_fingerprint(search: Search) -> str:
    """Return the fingerprint of the data of all trials; empty where the space changes the data."""
    return "" if any(name.startswith("data.") for name in search.space.names) else search.pair.fingerprint


def _own_error(error: BaseException) -> BaseException:
    """Return this program's error for people that Tune, in whose callbacks it arose, has put into one of its own."""
    own = (each for each in walk_causes(error) if isinstance(each, (UserError, OutsideFaultError)))
    return next(own, None) or find_outside_fault(error) or error


def trial_folder(trial: Any) -> str:
    """Name Tune's own folder of a trial."""
    return f"trial-{trial.config[NUMBER]:03d}-{trial.trial_id}"


class _TuneLog(logging.FileHandler):
    """A log file that a full disk leaves without some lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Say nothing on the console."""


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Have Tune write to a file, and not to the console, while the block lasts."""
    handler = _TuneLog(path)
    before = [(logger, logger.handlers, logger.propagate) for logger in map(logging.getLogger, TUNES_LOGGERS)]
    for logger, *_ in before:
        logger.handlers, logger.propagate = [handler], False
    try:
        yield
    finally:
        for logger, handlers, propagate in before:
            logger.handlers, logger.propagate = handlers, propagate
        handler.close()


def _tune(
    search: Search,
    trainable: type[tune.Trainable],
    searcher: JournaledOptunaSearch,
    journal: Journal,
    callbacks: list[tune.Callback],
    *,
    remaining: int,
) -> None:
    """Run Ray Tune to the end, or to an interruption, which leaves everything resumable.

    Raises:
        UserError: another driver is at the search.
        OutsideFaultError: the store that holds the results does not answer any more, a disk is full, or the like.
    """
    config = search.config
    resources = resources_of(config)
    budget = 60 * search.options.time_budget
    tuner = tune.Tuner(
        tune.with_resources(
            tune.with_parameters(
                trainable, base=dict(search.base), program=source_digest(), data=_one_fingerprint(search)
            ),
            resources,
        ),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=JournaledASHA(journal, epochs=config.train.epochs),
            num_samples=remaining,
            time_budget_s=budget or None,
            reuse_actors=True,
            trial_dirname_creator=trial_folder,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(search.folder),
            callbacks=callbacks,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        ),
    )
    previous = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with logged(search.folder / "tune.log"):
            tuner.fit()
    except (TuneError, OSError) as error:
        raise _own_error(error) from None
    finally:
        signal.signal(signal.SIGTERM, previous)
    if searcher.broken is not None:
        raise searcher.broken
