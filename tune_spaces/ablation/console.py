"""What a person sees of an ablation while it runs: a line for each run that ends."""

from __future__ import annotations

from typing import Any

from csg.data.pair import SOURCE_VAL, TARGET_TEST
from csg.messages.console import Console
from csg.tasks import find_task
from csg.tracking.tags import Tag
from tune_spaces.execution.callbacks import DriverCallback
from tune_spaces.execution.driver import Study
from tune_spaces.execution.trial import get_ending


class AblationConsole(DriverCallback):
    """Prints runs as they end."""

    def __init__(self, console: Console, study: Study, *, total: int, ended: int) -> None:
        """Print on ``console``; of ``total`` runs, so many have ``ended`` before."""
        self._console = console
        self._study = study
        self._total = total
        self._ended = ended

    def on_trial_result(self, *, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """Print a run that has ended."""
        if get_ending(result, trial.config["train.epochs"]) is not None:
            self._print(trial)

    def on_trial_lost(self, trial: Any) -> None:
        """Print a run whose process died too often."""
        self._print(trial)

    def _print(self, trial: Any) -> None:
        self._ended += 1
        entry = self._study.find_entry(trial.config)
        record, config = entry.run.record, entry.run.config
        task = find_task(config.data)
        result = record.error[:150]
        for side, stream in (("real", TARGET_TEST), ("source", f"selected/{SOURCE_VAL}")):
            if f"{stream}/{task.headline}" in record.final:
                result = f"{side} {task.headline_words} {100 * record.final[f'{stream}/{task.headline}']:5.1f} %"
                break
        self._console.print(
            f"{self._ended:3d}/{self._total}  {entry.tags[Tag.CELL]:<36} seed {config.train.seed}  "
            f"{record.status:<8}  {result}",
        )
