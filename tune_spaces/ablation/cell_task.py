"""A cell of an ablation as a Ray task: started, tried again where its process died, and seen to have ended."""

from __future__ import annotations

from typing import Any

import ray

from csg.config.settings import flatten
from csg.messages.faults import LostProcessError, OutsideFaultError, find_outside_fault
from csg.storage.object_store import address_of
from csg.training.run import Run
from csg.workers.cluster import resources_of
from tune_spaces.ablation.cell import train_cell

MAX_RETRIES = 2
"""Restarts of a run whose process died, or ran out of memory; it goes on from its checkpoint."""


def start_cell(run: Run) -> Any:
    """Start the Ray task that trains a run, with the resources that it takes, and return its reference."""
    resources = resources_of(run.config)
    head = {name: share for name, share in resources.items() if name not in ("cpu", "gpu")}
    task = ray.remote(
        num_cpus=resources["cpu"],
        num_gpus=resources.get("gpu", 0),
        resources=head,
        max_retries=MAX_RETRIES,
    )(train_cell)
    return task.remote(flatten(run.config), run.identity)


def end_cell(reference: Any, run: Run, name: str, *, tries: int) -> bool:
    """See that the run of a task that ended has its end on record, and put it there where its process could not.

    Ray itself starts a task anew whose process died, but prints the traceback of one that raised an error.

    Args:
        reference: the task's.
        run: as it is on disk.
        name: of the run, for people.
        tries: how many tasks of the run have ended, this one among them.

    Returns:
        Whether the run ended; otherwise it is worth another try.

    Raises:
        UserError: the sources of csg changed meanwhile.
        OutsideFaultError: what ended the task is no fault of the run's, or the end is not where the driver looks.
    """
    try:
        ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if not isinstance(cause, LostProcessError):
            raise find_outside_fault(cause) or cause from None
        if tries <= MAX_RETRIES:
            return False
        run.close("failed", f"the run's process died {tries} times ({cause})")
    except ray.exceptions.RayError as error:
        run.close("failed", f"the run's process died {MAX_RETRIES + 1} times ({type(error).__name__})")
    run.reread()
    if run.record.status not in ("finished", "failed"):
        raise OutsideFaultError(
            f"{name} has ended, but {address_of(run.folder)} has no end of it on record (status {run.record.status}); "
            "see that all nodes share train.output and that no other command trains it, and the same command goes on "
            "where it was"
        )
    return True
