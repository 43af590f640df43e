"""A run trained to its end, with its progress on a console and its figures in MLflow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from csg.config import Config
from csg.data.held_out import HELD_OUT
from csg.data.pair import SOURCE_SHIFTED, SOURCE_VAL, TARGET_VAL
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.faults import find_outside_fault
from csg.messages.progress import CountProgress
from csg.messages.text import get_first_line
from csg.messages.wording import is_or_are, pluralize
from csg.tasks import find_task
from csg.training.loop import EpochReport
from csg.training.run import Run
from csg.workers.run import train_run

if TYPE_CHECKING:
    from csg.tracking import RunTracker, Tracker


NO_STORE: Final = "none"
"""What stands for no store in the place of an address."""


def check_store(config: Config, *, uri: str | None, experiment: str, needed_by: str = "") -> None:
    """See that a store that somebody names can be used, before weights are trained and images are looked at for it.

    Args:
        config: of what is to be tracked.
        uri, experiment: see :func:`open_tracker`; both are made if they are new. The SQLite file below
            ``train.output`` is not asked.
        needed_by: what cannot do without a store, such as "a search"; empty where nothing is.

    Raises:
        UserError, TrackingAwayError: the store refuses, does not answer, or is none where one is needed.
    """
    if uri == NO_STORE and needed_by:
        raise UserError(f"--tracking-uri: {needed_by} keeps its runs in an MLflow store; name one, or leave this out")
    if uri not in (None, NO_STORE):
        _open_store(config, uri, experiment)


def open_tracker(run: Run, *, uri: str | None, experiment: str) -> RunTracker | None:
    """Find or make a run in MLflow.

    Args:
        run: what is to be tracked.
        uri: the store; None for the SQLite file below ``train.output``, or :data:`NO_STORE`.
        experiment: its name; an empty one takes the data set's.

    Raises:
        UserError, TrackingAwayError: the store refuses, or does not answer.
    """
    if uri == NO_STORE:
        return None
    from csg import tracking

    store = _open_store(run.config, uri, experiment)
    with _explain_refusals():
        return tracking.RunTracker(store, run)


def _open_store(config: Config, uri: str | None, experiment: str) -> Tracker:
    from csg import tracking  # takes seconds to import

    with _explain_refusals():
        return tracking.Tracker(
            uri or tracking.get_default_tracking_uri(config.train.output), experiment or config.data.name
        )


@contextmanager
def _explain_refusals() -> Iterator[None]:
    """Say in a sentence why a store refuses."""
    from csg import tracking

    try:
        yield
    except tracking.TrackingError as error:
        raise tracking.make_recording_error(get_first_line(str(error)), tracking.describe_refusal(error)) from None


def train_to_end(run: Run, track: RunTracker | None, console: Console) -> bool:
    """Train what is missing of a run, and measure it on target/test.

    Returns:
        Whether the store has everything; see :func:`make_unrecorded_error`.

    Raises:
        NonFiniteLossError: the run has failed.
        OutsideFaultError: something outside ended it; the run goes on where it was.
        KeyboardInterrupt: the same.
    """
    known, epochs = len(run.record.epochs), run.config.train.epochs
    if known:
        of_all = f"{known} of {pluralize(epochs, 'epoch')} {is_or_are(epochs)}"
        console.print(f"{of_all} on record in {run.folder}")
    try:
        lines = 4 if console.is_jupyter else 20  # a notebook keeps them
        with CountProgress(console, doing="training steps", line="step {}/{}".format, lines=lines) as progress:
            for report in train_run(run, progress, lambda text: console.print(text, style="yellow")):
                console.print(_format_epoch(report, run.config))
                _log(track, console)
        run.finish()
    except KeyboardInterrupt:
        run.close("interrupted")
        raise KeyboardInterrupt("the same command goes on from the last checkpoint") from None
    except Exception as error:
        fault = find_outside_fault(error)
        if fault is not None:
            raise fault from error  # the run is not to blame, and its record stays as it is
        run.fail(error)
        raise
    finally:
        recorded = _log(track, console)
    return recorded


def make_unrecorded_error(track: RunTracker | None) -> Exception:
    """Return the error of a store that lacks figures of a run that is trained."""
    from csg.tracking import make_recording_error

    assert track is not None, "without a store nothing is missing"
    return make_recording_error(track.uri, track.refusal)


def _log(track: RunTracker | None, console: Console) -> bool:
    """Write what the store lacks, and return whether it has all. Training goes on if the store does not answer."""
    if track is None:
        return True
    before = track.refusal
    if track.try_to_log():
        return True
    if not before or track.refusal != before:
        said = track.refusal or "The MLflow store is away; the next epoch, or the same command again, fills it in."
        console.print(said)
    return False


def _format_epoch(report: EpochReport, config: Config) -> str:
    metrics, score = report.metrics, find_task(config.data).score
    figures = [f"loss {metrics['train/loss']:.3f}"]
    figures += [
        f"{stream} {100 * metrics[f'{stream}/{score}']:.1f} %"
        for stream in (SOURCE_VAL, SOURCE_SHIFTED, HELD_OUT, TARGET_VAL)
        if f"{stream}/{score}" in metrics
    ]
    energy = metrics.get(f"{TARGET_VAL}/E0_mhe")
    if energy is not None:  # absent if features are not finite, or all zero
        figures.append(f"E_0 (mhe) {energy:.3f}")
    figures.append(f"{metrics['train/images_per_second']:.0f} images/s")
    return f"epoch {report.epoch}: " + ", ".join(figures)
