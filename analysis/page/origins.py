"""The runs behind the page's figures: what each was, and the command that trains it again."""

from __future__ import annotations

import html
from collections.abc import Callable, Collection, Iterator, Sequence

from analysis.page.commands import write_command_block
from analysis.page.tables import name_anchor
from analysis.runs.run_table import RunTable
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.tracking.view import read_description

Address = Callable[[TrackedRun], str]
"""Returns the address of a run's page in MLflow."""


def write_origins(table: RunTable, linked: Collection[str], address: Address) -> str:
    """Return the runs of each ablation, cell by cell, and the trials and other runs that figures link to.

    Args:
        table: the runs.
        linked: ids of the runs that the page links to.
        address: of a run in MLflow; empty where it has none.
    """
    return "\n".join(_list_entries(table, linked, address))


def name_run(run_id: str) -> str:
    """Return the name of the element that describes a run."""
    return f"run-{name_anchor(run_id)}"


def _list_entries(table: RunTable, linked: Collection[str], address: Address) -> Iterator[str]:
    described: set[str] = set()
    for search in reversed(table.list_searches()):
        trials = [run for run in search.runs if run.run_id in linked]
        described |= {run.run_id for run in trials}
        yield f"<h3>Search {html.escape(search.key)}</h3>{_write_note(search.parent)}"
        yield from (_write_entry(f"Trial {run.name}", [run], address) for run in trials)
    for ablation in reversed(table.list_ablations()):
        yield f"<h3>Ablation {html.escape(ablation.key)}</h3>{_write_note(ablation.parent)}"
        for cell in ablation.comparisons:
            if runs := ablation.get_cell(cell):
                described |= {run.run_id for run in runs}
                yield _write_entry(cell, runs, address)
    others = [run for run in table.runs if run.run_id in linked and run.run_id not in described]
    if others:
        yield "<h3>Other runs</h3>"
        yield from (_write_entry(run.name, [run], address) for run in others)


def _write_target(address: str) -> str:
    return f" href='{html.escape(address)}'" if address else ""


def _write_entry(name: str, runs: Sequence[TrackedRun], address: Address) -> str:
    """Describe runs of one configuration, each with a link to its page in MLflow.

    A run that a kill met while it was being recorded may have no settings yet: it is left out.
    """
    runs = sorted((run for run in runs if run.params), key=lambda run: int(run.params["train.seed"]))
    if not runs:
        return ""
    pages = ", ".join(
        f"<a id='{name_run(run.run_id)}'{_write_target(address(run))}>seed {int(run.params['train.seed'])}</a>"
        f"{'' if run.status == 'finished' else f' ({run.status})'}"
        for run in runs
    )
    where = "in MLflow: " if any(map(address, runs)) else ""
    return (
        f"<div class='run'><p><strong>{html.escape(name)}</strong> <span class='note'>{where}{pages}</span></p>"
        f"{write_command_block(runs[0])}</div>"
    )


def _write_note(run: TrackedRun) -> str:
    note = read_description(run.tags.get(Tag.NOTE, ""))
    return f"<p>{html.escape(note)}</p>" if note else ""
