"""A run on disk: what it is, what it showed so far, and how it goes on."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress

from csg.collective import ask_first, check_agreement, is_first, wait_for_all
from csg.config import Config
from csg.config.settings import flatten
from csg.data.pair import TARGET_TEST, Pair
from csg.messages.errors import UserError
from csg.messages.wording import is_or_are, pluralize
from csg.models.model import Model
from csg.storage.layout import CHECKPOINT, OUTPUTS, PICTURES, RECORD, SELECTED, get_run_folder
from csg.storage.place import Place
from csg.tasks.measurement import Inference
from csg.training.checkpoint import load_state
from csg.training.evaluation import measure_test
from csg.training.identity import Identity
from csg.training.loop import EpochReport, OnStep, Stop, Training, fit
from csg.training.outputs import save_outputs
from csg.training.pictures import save_pictures
from csg.training.protocol import check_protocol
from csg.training.record import Record, Status, read_record, write_record
from csg.training.selected import save_selected
from csg.training.selection import compute_score_after, describe_selected, selects_newest
from csg.training.step import NonFiniteLossError


class Run:
    """One configuration, seed, data and program version, in a folder of its own.

    The folder holds ``record.json``; while the run is under way ``checkpoint.pt``, its whole state; ``selected.pt``,
    the weights of the selected epoch so far, on which target/test is measured at the end, with the names of their
    classes; and then ``test_outputs.npz``, what they answered, with a few of the images in ``test_pictures.npz``.
    """

    def __init__(self, config: Config, pair: Pair) -> None:
        """Open the run below ``train.output``, whether or not it exists; nothing is written yet.

        Raises:
            UserError: see :func:`csg.training.protocol.check_protocol`.
        """
        check_protocol(config, pair)
        self.config = config
        self.pair = pair
        self._training: Training | None = None
        self.identity = Identity.of(config, pair)
        self.folder = get_run_folder(config.train.output, self.identity.name)
        self.checkpoint = self.folder / CHECKPOINT
        self.selected = self.folder / SELECTED
        self.outputs = self.folder / OUTPUTS
        self.pictures = self.folder / PICTURES
        self._kept = (self.checkpoint, self.selected, self.outputs, self.pictures)
        self._has_lock = False
        self.record = read_record(self.folder) or Record(dataclasses.asdict(self.identity), flatten(config))

    def create(self) -> Run:
        """Make the run's folder.

        Raises:
            UserError: it cannot be written to.
        """
        self.folder.make_folder("train.output")
        return self

    def train(self, on_step: OnStep | None = None) -> Generator[EpochReport]:
        """Yield every epoch's report: those on record at once, the others as this process trains them.

        One process, or one group of workers, at a time trains a run. Another one that asks for it waits, and then finds
        what was trained. Closing the generator leaves off training. A run of several workers is started by
        :func:`csg.workers.run.train_run`.

        Raises:
            NonFiniteLossError: see :func:`csg.training.loop.fit`. The caller records it with :meth:`fail`.
        """
        self.create().reread()
        with self.hold_lock(wait=True):
            yield from self.work(on_step)

    @property
    def artifacts(self) -> tuple[Place, ...]:
        """Files of a finished run, of which not all need exist, that are worth keeping with what it showed."""
        return self.outputs, self.pictures

    @property
    def is_measured(self) -> bool:
        """Whether target/test was measured, on weights that are still there."""
        return bool(self.record.final) and self.selected.exists()

    def _is_complete(self) -> bool:
        return len(self.record.epochs) == self.config.train.epochs

    @contextmanager
    def hold_lock(self, *, wait: bool) -> Iterator[None]:
        """Lock the run and read its record again; see :func:`csg.storage.files.hold_lock`.

        A process may lock twice. In a group of workers the first one locks for all.
        """
        if self._has_lock or not is_first():
            yield
            return
        with self.folder.lock(wait=wait):
            self._has_lock = True
            self.reread()
            try:
                yield
            finally:
                self._has_lock = False

    def work(self, on_step: OnStep | None = None, stop: Stop | None = None) -> Iterator[EpochReport]:
        """Yield every epoch's report, trained in this process, or in its process group: then every process iterates.

        The caller has locked the run.
        """
        check_agreement(
            {
                "epochs on record": len(self.record.epochs),
                "a checkpoint": self.checkpoint.exists(),
                "selected weights": self.selected.exists(),
                "final metrics": bool(self.record.final),
            }
        )
        for file in (*self._kept, self.folder / RECORD) if is_first() else ():
            file.remove_leftovers()
        if self._has_lost_weights():
            if self.config.selection.epoch == "best" and is_first():
                self.checkpoint.remove()  # its weights need not be those of the best epoch
            self.record.epochs, self.record.final = [], {}
            self._write()
        for epoch, metrics in enumerate(self.record.epochs, start=1):
            yield EpochReport(epoch, metrics)
        if self._is_complete():
            return
        training = self._training = Training(self.config, self.pair)
        for report in fit(training, checkpoint=self.checkpoint, on_step=on_step, stop=stop):
            if report.epoch <= len(self.record.epochs):
                continue
            if stop is not None and ask_first(stop):
                return
            if ask_first(self._is_finished_elsewhere):
                self.reread()
                for epoch in range(report.epoch, self.config.train.epochs + 1):
                    yield EpochReport(epoch, self.record.epochs[epoch - 1])
                return
            epochs = [*self.record.epochs, report.metrics]
            if selects_newest(epochs, self.config):
                if is_first():
                    save_selected(self.selected, training.make_measured_model(), self.config, self.pair)
                wait_for_all()
            self.record.epochs = epochs
            self.record.status, self.record.error = "running", ""
            self._write()
            yield report

    def _is_finished_elsewhere(self) -> bool:
        """Whether another machine has finished the run meanwhile: a lock in a bucket binds one machine only."""
        found = read_record(self.folder)
        return found is not None and bool(found.final)

    def _has_lost_weights(self) -> bool:
        """Whether recorded weights are missing and resuming would not restore them: training then starts anew.

        They were deleted, or the run was stopped, which keeps nothing.
        """
        if self.selected.exists():
            return False
        among_recorded = self.config.selection.epoch == "best" and bool(self.record.epochs)
        return among_recorded or self._is_complete()

    def score(self, epoch: int) -> float:
        """Return the selection score, after ``epoch`` epochs, of the weights that would be measured then."""
        return compute_score_after(self.record.epochs[:epoch], self.config)

    def finish(self) -> dict[str, float]:
        """Measure target/test, where there is one, on the selected weights, once, and delete the checkpoint.

        Returns:
            The final metrics; from the record where they were measured before.
        """
        with self.hold_lock(wait=True):
            if not self.record.final:
                began = time.perf_counter()
                inference = Inference(self.load_selected_model(), self.config)
                final = self._measure_test(inference) if TARGET_TEST in self.pair.streams else {}
                final |= describe_selected(self.record.epochs, self.config)
                self.record.final = {**final, "test/seconds": time.perf_counter() - began}
            if is_first():
                self._close("finished", "")
        return self.record.final

    def _measure_test(self, inference: Inference) -> dict[str, float]:
        """Measure target/test, and keep what was answered."""
        final, measured = measure_test(inference, self.config, self.pair)
        if is_first():
            save_outputs(self.outputs, measured)
            save_pictures(self.pictures, inference, self.config, self.pair)
        return final

    def load_selected_model(self) -> Model:
        """Return the model with the weights that target/test is measured on.

        Raises:
            UserError: the run has not come that far.
        """
        epochs = self.config.train.epochs
        if not (self._is_complete() and self.selected.exists()):
            raise UserError(
                f"{self.folder} holds no finished run of this configuration ({len(self.record.epochs)} of "
                f"{pluralize(epochs, 'epoch')} {is_or_are(epochs)} on record); train it first: csg train "
                "with the same flags"
            )
        model = (self._training or Training(self.config, self.pair)).learner.model
        model.load_state_dict(load_state(self.selected)["model"])
        return model

    def fail(self, error: Exception) -> None:
        """Record an error. The checkpoint goes after a loss that is not finite, since it would lead there again."""
        if isinstance(error, NonFiniteLossError) and is_first():
            self.checkpoint.remove()
        self.close("failed", f"{type(error).__name__}: {error}")

    def close(self, status: Status, error: str = "") -> None:
        """Record how the run ended, unless by :meth:`finish`.

        A finished run stays finished, and a run that another process trains is left alone. A stopped run keeps nothing;
        an interrupted or failed one keeps its checkpoint. A run whose epochs are all trained is not stopped any more:
        whoever trained it measures target/test.
        """
        if not is_first():
            return
        with suppress(BlockingIOError), self.create().hold_lock(wait=False):
            if self.record.status != "finished" and not (status == "stopped" and self._is_complete()):
                self._close(status, error)

    def _close(self, status: Status, error: str) -> None:
        """Put the end on record. A finished run keeps its selected weights."""
        if status in ("finished", "stopped"):
            self.checkpoint.remove()
        if status == "stopped":
            self.selected.remove()
        self.record.status, self.record.error = status, error
        stamps = [file.stamp() for file in self._kept]
        self.record.megabytes = sum(found.size for found in stamps if found is not None) / 1e6
        self._write()

    def reread(self) -> None:
        """Read the record again, which other processes may have written."""
        self.record = read_record(self.folder) or self.record

    def _write(self) -> None:
        if is_first():
            write_record(self.folder, self.record)
