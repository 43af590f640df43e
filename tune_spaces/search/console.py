"""What a person sees of a search while it runs: a live table, or a line per result where output goes to a file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from rich.live import Live
from rich.table import Table

from csg.messages.console import Console
from csg.messages.progress import show_bars_on
from csg.messages.wording import pluralize
from csg.training.score_words import Unit, describe_score
from tune_spaces.execution.callbacks import DriverCallback
from tune_spaces.execution.trial import EPOCH, NUMBER, ROLE, SCORE, get_ending, get_epochs
from tune_spaces.search.journal import Event
from tune_spaces.search.plan import Search

STYLES = {"running": "cyan", "finished": "green", "stopped": "dim", "failed": "red"}


@dataclass
class Row:
    """One trial."""

    what: str
    epochs: int
    """That it trains at most."""
    role: str
    """Source only may not be the best: it is there to be compared with."""
    epoch: int = 0
    score: float | None = None
    status: str = "running"
    began: float = 0.0
    seconds: float = 0.0


class SearchConsole(DriverCallback):
    """Draws the trials as Tune reports on them."""

    def __init__(self, console: Console, search: Search, known: Sequence[Event]) -> None:
        """Draw on ``console``; ``known`` says which trials ended before an interruption."""
        config = search.config
        self._console = console
        self._search = search
        self._epochs = search.epochs
        self._trials = search.options.num_samples
        self._score_name = describe_score(config)
        self._unit = Unit.of(search.score_metric)
        self._live: Live | None = None
        self._shown = ExitStack()
        self._rows: dict[int, Row] = {}
        suggested = {event.trial: event for event in known if event.kind == "suggested"}
        for event in known:
            if event.kind == "ended":
                begun = suggested[event.trial]
                what = self._describe({**begun.settings, ROLE: begun.role})
                epochs = get_epochs(begun.settings, self._epochs)
                self._rows[event.trial] = Row(what, epochs, begun.role, event.epoch, event.score, event.decision)

    def _describe(self, trial_config: Mapping[str, Any]) -> str:
        return self._search.label(trial_config).removeprefix("csg ")

    def __enter__(self) -> SearchConsole:
        if self._console.is_terminal:
            self._live = Live(
                self._make_table(), console=self._console, refresh_per_second=2, get_renderable=self._make_table
            )
            self._live.start()
            self._shown.enter_context(show_bars_on(self._console))
        else:
            for number in sorted(self._rows):
                self._print(number)
        return self

    def __exit__(self, *exception: object) -> None:
        self._shown.close()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def on_trial_start(self, *, trial: Any, **info: Any) -> None:
        """Show a trial that starts."""
        what = self._describe(trial.config)
        epochs = get_epochs(trial.config, self._epochs)
        self._rows[trial.config[NUMBER]] = Row(what, epochs, trial.config[ROLE], began=time.monotonic())

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Show an epoch."""
        row = self._update_row(trial)
        row.epoch, row.score = result[EPOCH], result.get(SCORE)
        row.status = get_ending(result, row.epochs) or "running"
        self._print(trial.config[NUMBER])

    def on_trial_lost(self, trial: Any) -> None:
        """Show a failure."""
        self._update_row(trial).status = "failed"
        self._print(trial.config[NUMBER])

    def _update_row(self, trial: Any) -> Row:
        unknown = Row("", get_epochs(trial.config, self._epochs), trial.config[ROLE], began=time.monotonic())
        row = self._rows.setdefault(trial.config[NUMBER], unknown)
        row.seconds = time.monotonic() - row.began
        return row

    def _print(self, number: int) -> None:
        if self._live is None:
            row = self._rows[number]
            seconds = f"{row.seconds:4.0f} s" if row.seconds else ""
            self._console.print(
                f"trial {number:03d}  epoch {row.epoch}/{row.epochs}  {self._format(row.score):>6}  {row.status:<8}  "
                f"{seconds:>6}  {row.what}",
            )

    def _make_table(self) -> Table:
        ended = sum(row.status in ("finished", "stopped", "failed") for row in self._rows.values())
        table = Table(
            title=f"{ended} of {pluralize(self._trials, 'trial')} ended", title_justify="left", box=None, pad_edge=False
        )
        for name in ("trial", "epoch", self._score_name, "status", "time"):
            table.add_column(name, justify="right")
        table.add_column("configuration", overflow="fold")
        best = self._find_best()
        rows = sorted(self._rows.items())
        space = max(3, self._console.height - 6)
        for number, row in [
            *[(number, row) for number, row in rows[:-space] if row.status == "running" or row is best],
            *rows[-space:],
        ]:
            seconds = time.monotonic() - row.began if row.status == "running" else row.seconds
            table.add_row(
                f"{number:03d}",
                f"{row.epoch}/{row.epochs}",
                self._format(row.score) + (" *" if row is best else "  "),
                row.status,
                f"{seconds:.0f} s" if seconds else "",
                row.what,
                style=STYLES[row.status],
            )
        return table

    def _find_best(self) -> Row | None:
        """Return the best finished trial so far; of equal ones the earliest."""
        scores = {
            number: row.score
            for number, row in sorted(self._rows.items())
            if row.role != "source_only" and row.status == "finished" and row.score is not None
        }
        return self._rows[max(scores, key=lambda number: scores[number])] if scores else None

    def _format(self, score: float | None) -> str:
        return "" if score is None else self._unit.format_whole(score)
