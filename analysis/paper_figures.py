"""Draw the paper's figures: ``python analysis/paper_figures.py --experiment glyphs --out DIR``.

Each figure comes as PDF and PNG, as wide as a paper's column, its caption below it or in files beside it (--captions).
A figure without data is skipped, with the reason.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Literal

from analysis.figures.captions import write_caption
from analysis.figures.paper import REFITS, Maker, plan_figures
from analysis.figures.style import write_figure
from analysis.runs.comparable import NoDataError
from analysis.runs.source import ComparisonOptions, make_main
from csg.messages.console import Console
from csg.messages.errors import UserError


@dataclasses.dataclass(frozen=True)
class FigureOptions(ComparisonOptions):
    """Flags of the script."""

    out: Path = Path("figures")
    """Folder to write to."""
    captions: Literal["inside", "beside"] = "inside"
    """Where captions stand: in the picture, or in a .txt and a .tex file beside it, for a paper that sets its own."""
    importance_refits: int = REFITS
    """Forests refitted to resampled trials, for the intervals of the importances; 0 leaves them out."""


def _write(name: str, draw: Maker, options: FigureOptions) -> Path | str | UserError:
    """Write a figure. Return the path of its PDF, why it is skipped, or why it is refused."""
    try:
        figure = draw()
        if options.captions == "beside":
            write_caption(figure, options.out, name)
        return write_figure(figure, options.out, name)[0]
    except NoDataError as error:
        return f"skipped {name}: {error}"
    except UserError as error:
        return UserError(f"{name}: {error}")


@make_main(FigureOptions, __file__, __doc__)
def main(options: FigureOptions, console: Console) -> None:
    """Draw the figures.

    Raises:
        UserError: a figure would mix runs that must not be mixed, or no figure has data; all others are drawn.
    """
    if options.importance_refits < 0:
        raise UserError(f"--importance-refits: expected 0 or more, found {options.importance_refits}")
    table = options.read()
    outcomes = []
    for name, draw in plan_figures(table, mix=options.mix, refits=options.importance_refits).items():
        outcomes.append(outcome := _write(name, draw, options))
        if not isinstance(outcome, UserError):
            console.print(str(outcome))
    refused = [f"  {outcome}" for outcome in outcomes if isinstance(outcome, UserError)]
    if refused:
        raise UserError("\n".join(["these figures were not drawn:", *refused]))
    if not any(isinstance(outcome, Path) for outcome in outcomes):
        raise UserError("no figure can be drawn, for the reasons above; run a search or an ablation first")


if __name__ == "__main__":
    sys.exit(main())
