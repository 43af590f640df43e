"""What ``import tune_spaces`` offers to notebooks and scripts: a search, and what came of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pandas as pd

from csg.commands.script import explain_store_errors
from csg.config import Config
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.notebook import configure
from csg.parsing import read_keywords
from csg.tracking import make_frame
from csg.tracking.tags import Tag
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import Search, plan_search
from tune_spaces.search.script import START, Conclusion, search_and_conclude

__all__ = ["FinishedSearch", "start_search"]


@dataclass(frozen=True)
class FinishedSearch:
    """A search whose trials have ended, or whose time budget is used up."""

    search: Search
    conclusion: Conclusion

    def __repr__(self) -> str:
        return f"FinishedSearch({self.search.name}; {self.folder})"

    @property
    def trials(self) -> pd.DataFrame:
        """Its trials by their number: settings, figures and tags as :func:`csg.read_runs` names them."""
        outcome = self.conclusion.outcome
        frame = make_frame(outcome.tracker.read_children(outcome.parent))
        return frame.set_index(frame[f"tags.{Tag.TRIAL}"].astype(int).rename("trial")).sort_index()

    @property
    def best(self) -> Config:
        """The configuration of the best trial, to be trained under other seeds, say.

        Raises:
            UserError: no trial has finished yet.
        """
        if not self.search.best.exists():
            raise UserError("best: expected a finished trial, found none yet; the same call goes on with the search")
        return configure(str(self.search.best))

    @property
    def folder(self) -> str:
        """Where its journal, its figures and ``best.yaml`` are."""
        return str(self.search.folder)


def start_search(config: str | os.PathLike[str] | None = None, /, **keywords: Any) -> FinishedSearch:
    """Start a search, or go on with it, and return when it has ended.

    What the search scripts do: ``start_search(num_samples=4, train={"epochs": 2})`` is
    ``python -m tune_spaces.visda_search --num-samples 4 --train.epochs 2``. Ray runs the trials in processes of
    their own.

    Args:
        config: a YAML file, or the name of a recipe; see :func:`csg.configure`.
        keywords: the fields of :class:`~tune_spaces.search.options.SearchOptions` by name, and settings as
            :func:`csg.configure` takes them. What is set is not searched.

    Raises:
        UserError: a keyword is unknown or cannot be used, or the data, the output folder or the store cannot.
        RunsFailedError: trials failed; all others are done.
        OutsideFaultError: something outside ended it; the same call goes on.
        KeyboardInterrupt: it was interrupted; the same call goes on.
    """
    console = Console()
    search = plan_search(read_keywords(SearchOptions, {"config": config, **keywords}, base=START), console)
    with explain_store_errors():
        conclusion = search_and_conclude(search, console)
    if not conclusion.done:
        raise KeyboardInterrupt("the same call goes on where the search was")
    return FinishedSearch(search, conclusion)
