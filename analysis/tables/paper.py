"""All tables of a paper that the runs of an experiment allow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence
from functools import partial

from analysis.runs.comparable import keep_distinct
from analysis.runs.newest import choose_main, name_ablation
from analysis.runs.run_table import AblationRuns, RunTable
from analysis.tables.comparisons import (
    is_measured,
    make_ablation_table,
    make_class_table,
    make_diversity_table,
    make_main_comparison,
)
from analysis.tables.protocol_table import make_protocol_table
from analysis.tables.search_summary import make_search_summary
from analysis.tables.table import Table
from csg.messages.errors import UserError

Maker = Callable[[], Table]


def make_tables(
    table: RunTable, *, main: str = "", against: str = "", mix: Collection[str] = ()
) -> tuple[list[Table], list[str]]:
    """Make every table that the runs allow.

    Args:
        table: the runs.
        main: the ablation whose cells are the main comparison of its task, a design or a key; see
            :func:`analysis.runs.newest.choose_main`.
        against: a cell that all others of its ablations are compared with, instead of what their designs say.
        mix: in what the runs of one table may differ.

    Returns:
        The tables, and a sentence on each one that cannot be made.

    Raises:
        UserError: ``main`` names no ablation, or ``against`` no cell.
    """
    _check_main(table.list_ablations(), main)
    _check_against(table.list_ablations(), against)
    parts = table.divide_by_task()
    found: list[Table | str] = []
    for task, part in parts.items():
        suffix = f"_{task}" if len(parts) > 1 else ""
        found += [_make(f"{name}{suffix}", make) for name, make in _list_makers(part, main, against, mix).items()]
    return [each for each in found if isinstance(each, Table)], [each for each in found if isinstance(each, str)]


def _make(name: str, make: Maker) -> Table | str:
    """Return a table, or why it cannot be made."""
    try:
        return dataclasses.replace(make(), name=name)
    except UserError as error:
        return f"{name}: {error}"


def _list_makers(table: RunTable, main: str, against: str, mix: Collection[str]) -> dict[str, Maker]:
    """Return what makes each table of the runs of one task, by its name."""
    ablations, searches = table.list_ablations(), table.list_searches()
    makers: dict[str, Maker] = {}
    if ablations and (is_measured((chosen := choose_main(ablations, main)).ablation) or not chosen.ablation.finished):
        compared: dict[str, Maker] = {
            "main_comparison": partial(make_main_comparison, table, chosen.ablation, mix=mix),
            "per_class": partial(make_class_table, chosen.ablation, mix=mix),
            "diversity": partial(make_diversity_table, chosen.ablation, mix=mix),
        }
        makers |= {name: partial(_make_with_note, make, chosen.note) for name, make in compared.items()}
    for ablation in ablations:
        name = f"ablation_{name_ablation(ablation, ablations)}"
        makers[name] = partial(make_ablation_table, ablation.compare_with(against), mix=mix)
    if searches:
        makers["search_summary"] = partial(make_search_summary, searches)
    if keep_distinct(table.runs):
        makers["selection_protocols"] = partial(make_protocol_table, table.runs, mix=mix)
    return makers


def _make_with_note(make: Maker, note: str) -> Table:
    made = make()
    return dataclasses.replace(made, caption=f"{made.caption} {note}".rstrip())


def _check_main(ablations: Sequence[AblationRuns], name: str) -> None:
    found = dict.fromkeys(known for each in ablations for known in (each.design, each.key))
    if name and name not in found:
        raise UserError(f"--main: expected one of {', '.join(found) or 'none'}, found {name!r}")


def _check_against(ablations: Sequence[AblationRuns], cell: str) -> None:
    found = dict.fromkeys(known for each in ablations for known in each.comparisons)
    if cell and cell not in found:
        raise UserError(f"--against: expected one of {', '.join(map(repr, found)) or 'none'}, found {cell!r}")
