"""Search a method's hyperparameters for segmentation: ``python tune_spaces/gta5_search.py``.

Without arguments it runs on the bundled benchmark, glyph_scenes (digits from fonts over drawn backgrounds -> real
handwritten digits over photographs). For GTA5 -> Cityscapes start from the published recipe:
``--config gta5_cityscapes_csg --protocol source --data.source DIR --data.target DIR``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tune_spaces.search.options import SearchOptions
from tune_spaces.search.script import search_script


@dataclass(frozen=True)
class Options(SearchOptions):
    """Flags of the search."""

    num_samples: Annotated[int, Field(ge=2)] = 8
    """Trials in all, the two reference points among them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; see :func:`~tune_spaces.search.script.search_script`."""
    return search_script(argv, prog="gta5_search.py", description=__doc__ or "", pair="glyph_scenes", options=Options)


if __name__ == "__main__":
    sys.exit(main())
