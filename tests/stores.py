"""MLflow stores that need not be made anew: making the tables of one takes seconds, copying an empty one does not."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Final

from csg.tracking import Tracker

WITHOUT_JOBS: Final = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Environment of a server of runs alone: for jobs, which nobody sends it, MLflow starts eight more processes."""


def put_store_below(output: Path) -> str:
    """Put an empty store where runs below ``output`` are kept, unless one is there; return its address."""
    path = output / "mlflow.db"
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        shutil.copy(_empty_store(), path)
    return f"sqlite:///{path}"


@cache
def _empty_store() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="csg-empty-store-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Tracker(f"sqlite:///{folder / 'mlflow.db'}", "Default")
    return folder / "mlflow.db"
