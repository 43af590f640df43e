"""The figures of a finished run that matter, for people: in percent, with intervals."""

from __future__ import annotations

from rich.text import Text

from csg.data.pair import SOURCE_VAL, TARGET_TEST
from csg.messages.console import Console
from csg.messages.wording import pluralize
from csg.tasks import find_task
from csg.training.run import Run
from csg.training.score_words import format_wilson

NO_LABELLED_TARGET = "There is no target/test: no label says how right these are on real images."


def print_figures(run: Run, console: Console) -> None:
    """Print what a finished run shows on real images and on held-out synthetic ones."""
    task, final = find_task(run.config.data), run.record.final
    epoch = f"epoch {final['selected/epoch']:.0f} of {run.config.train.epochs}"
    images = int(final.get(f"{TARGET_TEST}/images", 0))
    held_out = len(run.pair.streams[SOURCE_VAL])
    console.print()
    interval = " (95 % Wilson interval over the images)" if task.one_label else ""
    unseen = "" if run.config.selection.protocol == "paper" else ", which nothing was selected on"
    on_real = f": {pluralize(images, 'real image')} of target/test{unseen}" if images else ""
    console.print(Text("Result", style="bold"), f"with the weights of {epoch}{on_real}{interval}:")
    rows = [
        (f"real {task.overall_words}", task.real_overall, images),
        (f"real {task.score_words}", task.real_score, 0),
        (f"held-out synthetic {task.overall_words}", f"selected/{SOURCE_VAL}/{task.overall}", held_out),
    ]
    for label, metric, counted in rows:
        if metric in final:
            spread = f" {format_wilson(final[metric], counted)}" if task.one_label and counted else ""
            console.print(f"  {label:<30} {100 * final[metric]:5.1f} %{spread}")
    energy = final.get(f"{TARGET_TEST}/E0_mhe")  # not with features that are not finite, or all zero
    if energy is not None:
        console.print(f"  {'real E_0 (mhe)':<30} {energy:7.3f}")
    if not images:
        console.print(NO_LABELLED_TARGET)
