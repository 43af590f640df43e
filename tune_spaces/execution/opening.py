"""A run of a search or an ablation as the process that trains it opens it: the driver's, or none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csg.data import load_pair
from csg.messages.errors import UserError
from csg.messages.faults import OutsideFaultError
from csg.parsing import config_from_flat, overlay
from csg.training.run import Run


def open_run(base: Mapping[str, Any], changes: Mapping[str, Any], *, config_id: str, data: str) -> Run:
    """Open the run that the driver means, on this machine's data, weights and method.

    Objects of a method from a file could not be sent here: only who imported that file can read them. A run on other
    data would have another identity, and the driver would never see what came of it.

    Args:
        base: settings by dotted name.
        changes: settings that go over them.
        config_id: what the driver computes of the settings, which it can use; empty where nobody has.
        data: fingerprint of the driver's data, which it has loaded; empty where it has not.

    Raises:
        UserError: the settings cannot be used, and the driver does not know better.
        OutsideFaultError: this machine lacks what the run reads, or has another than the driver.
    """
    try:
        config = config_from_flat(overlay(base, changes))
        run = Run(config, load_pair(config.data))
    except UserError as error:
        if not data:
            raise
        raise OutsideFaultError(f"{error}; mend that") from error
    if data not in ("", run.pair.fingerprint):
        raise OutsideFaultError(
            f"this node has other data than the driver: fingerprint {run.pair.fingerprint}, expected {data}; put the "
            "same on every node"
        )
    if config_id not in ("", run.identity.config_id):
        raise OutsideFaultError(
            "this node has other weights, another method file or another file that a setting names than the driver: "
            f"configuration {run.identity.config_id}, expected {config_id}; put the same on every node"
        )
    return run
