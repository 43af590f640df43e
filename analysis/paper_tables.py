"""Write the paper's tables: ``python analysis/paper_tables.py --experiment glyphs --out DIR``.

Each table comes as Markdown, LaTeX (booktabs) and CSV, with a file beside it that says which runs each cell was
computed from (``python analysis/trace.py CELL --tables DIR`` prints it).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from analysis.runs.newest import Newest, newest, unambiguous
from analysis.runs.run_table import AblationRuns, RunTable
from analysis.runs.source import SourceOptions, options_of
from analysis.tables.comparisons import ablation_table, diversity_table, main_comparison, per_class_table
from analysis.tables.protocol_table import distinct_finished, protocol_table
from analysis.tables.search_summary import search_summary
from analysis.tables.table import Table, write_tables
from csg.commands.script import run_script
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.storage.disk import DiskPlace

CONFIRMATION = "confirm-"
"""How ablations are named that only train a search's winners again."""


@dataclasses.dataclass(frozen=True)
class TableOptions(SourceOptions):
    """Flags of the script."""

    out: Path = Path("tables")
    """Folder to write to."""
    main: str = ""
    """Ablation whose cells are the main comparison of its task: a design or a key (default: rivals, else the newest
    that has a finished run)."""
    mix: tuple[Literal["commit", "program", "data", "protocol"], ...] = ()
    """In what the runs of one table may differ; the captions then say so."""


def tables_of(table: RunTable, options: TableOptions) -> tuple[list[Table], list[str]]:
    """Make every table that the runs allow.

    Returns:
        The tables; and why others cannot be made, a sentence each.

    Raises:
        UserError: ``--main`` names no ablation.
    """
    check_named(table.ablations(), options.main)
    parts = table.by_task()
    makers: dict[str, Callable[[], Table]] = {}
    for task, part in parts.items():
        suffix = f"_{task}" if len(parts) > 1 else ""
        makers |= {f"{name}{suffix}": make for name, make in _makers(part, options).items()}
    found = [_made(name, make) for name, make in makers.items()]
    return [each for each in found if isinstance(each, Table)], [each for each in found if isinstance(each, str)]


def _makers(table: RunTable, options: TableOptions) -> dict[str, Callable[[], Table]]:
    """Return what makes each table of the runs of one task, by its name."""
    ablations, searches = table.ablations(), table.searches()
    makers: dict[str, Callable[[], Table]] = {}
    if ablations:
        main = chosen_ablation(ablations, options.main)
        shown = main.ablation
        makers |= {
            "main_comparison": lambda: _noted(main_comparison(table, shown, mix=options.mix), main.note),
            "per_class": lambda: _noted(per_class_table(shown, mix=options.mix), main.note),
            "diversity": lambda: _noted(diversity_table(shown, mix=options.mix), main.note),
        }
    for ablation in ablations:
        makers[f"ablation_{unambiguous(ablation, ablations)}"] = _ablation(ablation, options)
    if searches:
        makers["search_summary"] = lambda: search_summary(searches)
    if distinct_finished(table.runs):
        makers["selection_protocols"] = lambda: protocol_table(table.runs, mix=options.mix)
    return makers


def _made(name: str, make: Callable[[], Table]) -> Table | str:
    try:
        return dataclasses.replace(make(), name=name)
    except UserError as error:
        return f"{name}: {error}"


def _noted(made: Table, note: str) -> Table:
    return dataclasses.replace(made, caption=f"{made.caption} {note}") if note else made


def _ablation(ablation: AblationRuns, options: TableOptions) -> Callable[[], Table]:
    return lambda: ablation_table(ablation, mix=options.mix)


def check_named(ablations: Sequence[AblationRuns], name: str) -> None:
    """Refuse a name (empty for none) that no ablation has, whatever its task.

    Raises:
        UserError: with the names there are.
    """
    found = dict.fromkeys(known for each in ablations for known in (each.design, each.key))
    if name and name not in found:
        raise UserError(f"--main: expected one of {', '.join(found) or 'none'}, found {name!r}")


def chosen_ablation(ablations: Sequence[AblationRuns], name: str) -> Newest:
    """Choose the newest ablation of a design or key; where there is none that of the rivals, else of any design.

    An ablation without a finished run stands in for none of the others; one that was named is shown all the same.

    Args:
        ablations: at least one, the oldest first.
        name: a design or a key; empty for none.
    """
    named = [each for each in ablations if name in (each.design, each.key)]
    rivals = [each for each in ablations if each.design == "rivals"]
    designed = [each for each in ablations if not each.design.startswith(CONFIRMATION)]
    choices = [named] if named else [rivals, designed, list(ablations)]
    filled = [among for among in choices if any(each.finished for each in among)]
    return newest(next(iter([*filled, *filter(None, choices)])))


def main(argv: Sequence[str] | None = None) -> int:
    """Write the tables.

    Returns:
        An exit code; see :func:`~csg.commands.script.run_script`. 2 also where a table could not be made;
        the others are.
    """

    def body(console: Console) -> bool:
        options = options_of(TableOptions, argv, script=__file__, description=__doc__)
        table = options.read()
        made, refused = tables_of(table, options)
        write_tables(made, table.runs, DiskPlace(options.out))
        for each in made:
            console.print(f"{options.out / each.name}.md")
        if refused:
            raise UserError("these tables were not made:\n" + "\n".join(f"  {line}" for line in refused))
        if not made:
            raise UserError("no table can be made: no run has finished; run a search or an ablation first")
        return True

    return run_script(body)


if __name__ == "__main__":
    sys.exit(main())
