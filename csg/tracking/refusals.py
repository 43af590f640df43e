"""Errors of a store: an outage, which passes, or a refusal, which lasts."""

from __future__ import annotations

import re
from typing import Final

from mlflow.exceptions import InvalidUrlException, MlflowException
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, TimeoutError

from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.messages.text import get_first_line

CREDENTIALS: Final = (
    "expected credentials that may write there (MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD)"
)
LASTING: Final = {
    "RESOURCE_DOES_NOT_EXIST": "what it names is not in the store",
    "NOT_FOUND": "what it names is not in the store",
    "ENDPOINT_NOT_FOUND": "expected the address of an MLflow server, of this version or a newer one",
    "NOT_IMPLEMENTED": "expected an MLflow server of this version or a newer one",
    "PERMISSION_DENIED": CREDENTIALS,
    "UNAUTHENTICATED": CREDENTIALS,
    "CUSTOMER_UNAUTHORIZED": CREDENTIALS,
    "INVALID_PARAMETER_VALUE": "",
    "BAD_REQUEST": "",
    "INVALID_STATE": "",
    "ALREADY_EXISTS": "",
    "RESOURCE_ALREADY_EXISTS": "",
}
"""MLflow's codes of refusals that last until somebody changes something, with the expectation."""
OUTAGES: Final = (OperationalError, InterfaceError, InternalError, TimeoutError)
"""Errors of an unreachable database, whatever code MLflow gives them."""
DELETED_RUN: Final = re.compile(r"run '?([0-9a-f]{32})'? must be in the 'active' state", re.IGNORECASE)


class TrackingAwayError(OutsideFaultError):
    """The MLflow store did not answer. All results are on disk."""

    later = "the same command fills it in and shows the result"

    def __init__(self, what: str) -> None:
        """Take the name of the store, or its last answer."""
        super().__init__(f"the MLflow store does not answer as it should ({what})")


def make_recording_error(what: str, refusal: str) -> Exception:
    """Return the error of a store that lacks results: it refuses because of ``refusal``, or else is unreachable."""
    return UserError(refusal) if refusal else TrackingAwayError(what)


def is_lasting(error: MlflowException) -> bool:
    """Whether the same request would be refused again. A store that is unreachable, busy or locked does not refuse."""
    if isinstance(error, InvalidUrlException):
        return True
    return error.error_code in LASTING and not isinstance(error.__cause__, OUTAGES)


def describe_refusal(error: MlflowException) -> str:
    """Say what a store refuses and what to do. The text is empty if the store is only unreachable."""
    if not is_lasting(error):
        return ""
    said = get_first_line(str(error))
    deleted = DELETED_RUN.search(said)
    if deleted:
        return (
            f"the run {deleted[1]} was deleted in the MLflow store; restore it (mlflow runs restore --run-id "
            f"{deleted[1]}), or let the same command make it anew: nothing that was trained is lost"
        )
    expected = LASTING.get(error.error_code, "")
    return (
        f"the MLflow store refuses what it is asked, and would again ({said}){'; ' if expected else ''}{expected}; "
        "nothing that was trained is lost: with that put right, or with another store or experiment, the same command "
        "fills it in"
    )


def describe_deleted_experiment(name: str, experiment_id: str, uri: str) -> str:
    """Say that an experiment was deleted, and what to do."""
    return (
        f"--experiment: {name!r} was deleted in the MLflow store; restore it (MLFLOW_TRACKING_URI={uri} mlflow "
        f"experiments restore --experiment-id {experiment_id}), or name another --experiment"
    )
