"""A search from its first line to its last trial."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ray import tune

from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.wording import pluralize
from csg.training.record import Status
from csg.workers.slots import Slots
from tune_spaces.execution.driver import Outcome, drive
from tune_spaces.execution.recorder import Progress
from tune_spaces.execution.trial import NUMBER, ROLE, TrainingTrial
from tune_spaces.search.console import SearchConsole
from tune_spaces.search.journal import Event, count_unfinished
from tune_spaces.search.plan import Search
from tune_spaces.search.scheduler import JournaledASHA, Rungs
from tune_spaces.search.searcher import JournaledOptunaSearch


def run_search(search: Search, console: Console, trainable: type[tune.Trainable] = TrainingTrial) -> Outcome:
    """Run what is missing of a search, each trial by ``trainable``.

    Raises:
        UserError: nothing to resume, the same search at work elsewhere, an unreachable store, an unwritable folder or
            resources that can never fit; nothing was trained. Or another driver runs the search.
        OutsideFaultError, OSError: the store that holds the results does not answer any more, a disk is full, or the
            like; the search can be resumed.
    """
    options = search.options
    rungs = Rungs(search.epochs, grace_epochs=max(1, search.epochs // 4))
    journal = search.journal
    if options.resume and not journal.read_events():
        found = ", ".join(search.above.list_names()) or "none"
        raise UserError(f"--resume: no search with these flags was started in {search.above}; found {found}")
    with drive(search.study, console) as driver:
        journal.repair()
        known = journal.read_events()
        remaining = count_unfinished(known, options.num_samples)
        # Few enough at a time for the sampler to learn from four rounds, unless told otherwise.
        slots = Slots((search.config,), asked=options.concurrency, at_most=max(1, options.num_samples // 4))
        driver.open(slots if remaining else None)
        searcher = JournaledOptunaSearch(
            search.space,
            fixed=search.base,
            references=[] if search.reference is None else [("source_only", search.reference)],
            journal=journal,
            trials=options.num_samples,
            rungs=rungs,
            seed=options.seed,
            slots=slots.count_now,
        )
        if remaining:
            if known:
                ended = pluralize(sum(event.kind == "ended" for event in known), "trial")
                console.print(f"Going on with an interrupted search: {ended} ended, {remaining} to go.")
            with SearchConsole(console, search, known) as table:
                driver.run(
                    searcher,
                    JournaledASHA(journal, rungs),
                    table,
                    lambda: slots,
                    trainable=trainable,
                    count=remaining,
                    minutes=options.time_budget,
                )
        events = journal.read_events()
        progress = find_progress(search, events, lost=driver.recorder.lost)
        left = count_unfinished(events, options.num_samples)
        return driver.conclude(progress, unfinished=left, minutes=options.time_budget)


def find_progress(search: Search, events: Sequence[Event], *, lost: Mapping[int, str]) -> dict[int, Progress]:
    """Return how far each trial of the journal has come."""
    endings = {event.trial: event for event in events if event.kind == "ended"}
    progress = {}
    for event in events:
        if event.kind == "suggested":
            entry = search.find_entry({**event.settings, NUMBER: event.trial, ROLE: event.role})
            ending = endings.get(event.trial)
            if ending is not None:
                progress[event.trial] = Progress(entry, cast(Status, ending.decision), ending.epoch or None)
            else:
                progress[event.trial] = Progress(entry, "failed" if event.trial in lost else "interrupted")
    return progress
