"""Compare methods at their best: ``python tune_spaces/visda_comparison.py``.

Each cell of a design is given a search of its own, with as many trials as every other, and its best trial is trained
again under fresh seeds. Without further arguments it compares all methods on the bundled benchmark, glyphs; with
``--data.name glyph_scenes`` on the bundled pair with a class for every pixel.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from csg.commands.script import run_script
from csg.messages.console import Console
from csg.parsing import parse_flags
from tune_spaces.comparison.comparison import ComparisonOptions, compare
from tune_spaces.designs.shipped import choose_design


def main(argv: Sequence[str] | None = None) -> int:
    """Run a comparison; see :func:`~csg.commands.script.run_script`."""

    def do_work(console: Console) -> bool:
        given = sys.argv[1:] if argv is None else argv
        flags = parse_flags(ComparisonOptions, given, prog="visda_comparison.py", description=__doc__ or "")
        return compare(flags, *choose_design(flags.options.design, flags.config), console)

    return run_script(do_work, resumes=True)


if __name__ == "__main__":
    sys.exit(main())
