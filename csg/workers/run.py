"""The one way to train a run: by this process, or by several workers."""

from __future__ import annotations

from collections.abc import Generator

from csg.training.loop import EpochReport, OnStep, OnWait
from csg.training.run import Run
from csg.workers.launch_files import LaunchFiles


def train_run(run: Run, on_step: OnStep | None = None, on_wait: OnWait | None = None) -> Generator[EpochReport]:
    """Yield every epoch's report of a run: those on record at once, the others as they are trained.

    With ``train.workers`` above 1 Ray Train starts the workers, unless the run is measured already; otherwise this
    process trains, without Ray. Closing the generator stops training.
    ``on_wait`` is called when several workers wait for machines.

    Raises:
        NonFiniteLossError: see :func:`csg.training.loop.fit`. The caller records it with
            :meth:`csg.training.run.Run.fail`.
    """
    if run.config.train.workers > 1:
        run.create().reread()
        if not run.is_measured:
            from csg.workers.distributed import train_on_workers  # one process trains without Ray

            yield from train_on_workers(run, on_step, on_wait)
            return
        if run.record.status == "finished":  # perhaps by the workers of a driver that was killed
            LaunchFiles.remove_all(run.folder)
    yield from run.train(on_step)
