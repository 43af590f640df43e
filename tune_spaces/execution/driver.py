"""The driver of a search or an ablation, from the lock on its folder to the last word in MLflow."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import ray
from ray import tune

from csg.config import Config
from csg.messages.console import Console
from csg.storage.place import Place
from csg.tracking import Tracker, TrackingError, make_recording_error
from csg.training.program import compute_program_digest, get_program_digest
from csg.workers.cluster import check_nodes, check_output, list_inputs, start_ray
from csg.workers.slots import RoomWatch, Slots
from tune_spaces.execution.callbacks import DriverCallback
from tune_spaces.execution.closing import AnotherDriverError, close_on_error
from tune_spaces.execution.recorder import Entry, MlflowRecorder, Progress
from tune_spaces.execution.source import TrialSource
from tune_spaces.execution.trial import TrainingTrial
from tune_spaces.execution.tuning import run_trials


@dataclasses.dataclass(frozen=True)
class Study:
    """What a driver runs: the trials of a search or an ablation, below one parent run in MLflow."""

    kind: Literal["search", "ablation"]
    key: str
    """Names the study by all that decides about its trials."""
    folder: Place
    """Of this study alone."""
    config: Config
    """Of any of its trials, which share where they write."""
    tracking_uri: str
    experiment: str
    params: Mapping[str, Any]
    """Of the parent run; so are tags and description."""
    tags: Mapping[str, str]
    description: str
    base: Mapping[str, Any]
    """The settings that all trials share."""
    fingerprints: Mapping[int, str]
    """Of the data that the driver has loaded, by trial number."""
    find_entry: Callable[[Mapping[str, Any]], Entry]
    """Finds a trial's run by the trial's Tune configuration."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a search or an ablation came to."""

    parent: str
    """MLflow run id."""
    tracker: Tracker
    ending: Literal["complete", "out of time", "interrupted"]
    """complete: every trial ended, or was lost; otherwise the same command goes on."""
    lost: Mapping[int, str]
    """By trial, what ended its process once too often; the same command tries those again."""
    startup_seconds: float
    """From the call to the first trial."""
    running_seconds: float
    """From the first trial to the last one's end."""
    met_outdated: bool = False
    """Whether a process of a trial had other sources of csg than the driver."""

    @property
    def reason(self) -> str:
        """Why trials are left, for people."""
        if compute_program_digest() != get_program_digest():
            return "ended, because the sources of csg changed while it ran"
        if self.met_outdated:
            return "ended, because a process on some node has other sources of csg; put the same on every node"
        return "was interrupted" if self.ending == "interrupted" else "has used up its time budget"


@contextmanager
def drive(study: Study, console: Console) -> Iterator[Driver]:
    """Reserve a study for this process, reach MLflow, and at the end close what would seem to be running.

    Raises:
        UserError: the same study at work elsewhere, an unreachable store or an unwritable folder; nothing was trained.
    """
    began = time.monotonic()
    check_output(study.config, study.tracking_uri)
    study.folder.make_folder("--train.output")
    with ExitStack() as stack:
        try:
            stack.enter_context(study.folder.lock(wait=False))
        except BlockingIOError:
            what = f"this {study.kind} is at work in another process (folder {study.folder})"
            raise AnotherDriverError(what) from None
        stack.callback(ray.shutdown)
        tracker = Tracker(study.tracking_uri, study.experiment)
        stack.enter_context(close_on_error(tracker, study.kind, study.key, study.folder))
        yield Driver(study, tracker, console, began=began)


class Driver:
    """Runs a study's trials and keeps MLflow up to date; see :func:`drive`."""

    def __init__(self, study: Study, tracker: Tracker, console: Console, *, began: float) -> None:
        self.recorder: MlflowRecorder
        self._study = study
        self._tracker = tracker
        self._console = console
        self._parent = ""
        self._began = self._started = self._finished = began

    def open(self, slots: Slots | None) -> None:
        """Join the cluster, if trials are to run there, and open the parent run.

        Raises:
            UserError: a trial can never fit on the cluster, or a node lacks what it reads; nothing was trained.
        """
        if slots is not None:
            start_ray()
            slots.wait_and_check()
            for config in {str(list_inputs(config)): config for config in slots.configs}.values():
                check_nodes(config)
        study = self._study
        self._parent = self._tracker.open_parent(
            study.kind,
            study.key,
            folder=study.folder,
            name=f"{study.kind} {study.key}",
            params=study.params,
            tags=study.tags,
            description=study.description,
        )
        self.recorder = MlflowRecorder(self._tracker, parent=self._parent, find_entry=study.find_entry)
        self._started = self._finished = time.monotonic()

    def run(
        self,
        source: TrialSource,
        scheduler: tune.schedulers.TrialScheduler,
        view: DriverCallback,
        slots: Callable[[], Slots],
        *,
        count: int,
        trainable: type[tune.Trainable] = TrainingTrial,
        minutes: float = 0.0,
    ) -> None:
        """Run the trials that ``source`` suggests; see :func:`~tune_spaces.execution.tuning.run_trials`.

        ``view`` shows them, and ``slots`` says how many fit on the cluster.
        """
        self._started = time.monotonic()
        run_trials(
            trainable,
            source,
            scheduler,
            [self.recorder, view, WaitingNotice(self._console, slots)],
            count=count,
            folder=self._study.folder.local,
            base=self._study.base,
            fingerprints=self._study.fingerprints,
            minutes=minutes,
        )
        self._finished = time.monotonic()

    def conclude(self, progress: Mapping[int, Progress], *, unfinished: int, minutes: float = 0.0) -> Outcome:
        """Leave the cluster and bring MLflow up to date.

        Args:
            progress: how far each trial has come, by its number.
            unfinished: trials that have not ended, those that lost their processes among them.
            minutes: the time budget; 0 for none.

        Raises:
            TrackingAwayError, UserError: the MLflow store lacks something, because it is away, or refuses.
        """
        ray.shutdown()  # now no process trains a run any more
        seconds = self._finished - self._started
        ending: Literal["complete", "out of time", "interrupted"] = "complete"
        if unfinished > len(self.recorder.lost):
            ending = "out of time" if 0 < 60 * minutes <= seconds else "interrupted"
        try:
            recorded = self.recorder.settle(progress)
            self._tracker.set_status(self._parent, "interrupted" if ending == "interrupted" else "finished")
            refusal = self.recorder.refusal
        except TrackingError as error:
            recorded, refusal = False, self._tracker.describe_refusal(error)
        if not recorded:
            raise make_recording_error(self._tracker.uri, refusal)
        startup = self._started - self._began
        recorder = self.recorder
        return Outcome(
            self._parent, self._tracker, ending, recorder.lost, startup, seconds, met_outdated=recorder.met_outdated
        )


class WaitingNotice(DriverCallback):
    """Says when trials wait for machines."""

    def __init__(self, console: Console, slots: Callable[[], Slots]) -> None:
        """Say it on ``console``; ``slots`` returns what is to run at this moment."""
        self._room = RoomWatch(lambda text: console.print(text, style="yellow"))
        self._slots = slots

    def on_step_begin(self, **info: Any) -> None:
        """Look whether the cluster has room; Tune calls this several times a second."""
        self._room.look(self._slots())
