"""Search a method's hyperparameters for images with a class: ``python tune_spaces/visda_search.py``.

Without arguments it runs on the bundled benchmark, glyphs (digits from fonts -> real handwritten digits).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tune_spaces.search.script import search_script


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; see :func:`~tune_spaces.search.script.search_script`."""
    return search_script(argv, prog="visda_search.py", description=__doc__ or "", pair="glyphs")


if __name__ == "__main__":
    sys.exit(main())
