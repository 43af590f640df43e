"""Where trials come from: a Ray Tune searcher that knows its own end, and takes back what Tune gave up too early."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from ray.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError


class TrialSource(Searcher):
    """Suggests trials, some of them again."""

    broken: UserError | OutsideFaultError | None = None
    """What ends the study, such as a full disk: Tune takes an error of a searcher's for the trial's."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether there is no trial to suggest any more; one that is taken back is."""

    @abstractmethod
    def take_back(self, number: int) -> None:
        """Suggest a trial again, the first that fits."""

    def save(self, checkpoint_path: str) -> None:
        """Write an empty file where Tune keeps what it would go on from: a study's own records say what is missing."""
        Path(checkpoint_path).touch()


class Suggestions(SearchGenerator):
    """What a source suggests, for Tune: over as long as the source says so, and not after so many trials."""

    def __init__(self, source: TrialSource, *, at_once: int) -> None:
        """Pass on what ``source`` suggests, ``at_once`` at most."""
        super().__init__(ConcurrencyLimiter(source, at_once))
        self._source = source
        self._is_stopped = False

    def set_finished(self) -> None:
        """Suggest nothing any more; Tune calls this when the time budget is used up."""
        self._is_stopped = True

    def is_finished(self) -> bool:
        """Return whether no trial is to be suggested."""
        return self._is_stopped or self._source.is_over
