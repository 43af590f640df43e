"""Search CSG's hyperparameters for segmentation: ``python tune_spaces/gta5_search.py``.

Without arguments it runs on the bundled benchmark, glyph_scenes (digits from fonts over drawn backgrounds -> real
handwritten digits over photographs). For GTA5 -> Cityscapes start from the published recipe:
``--config configs/gta5_cityscapes_csg.yaml --data.source DIR --data.target DIR``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from tune_spaces.search_script import search_script

GLYPH_SCENES: Final[dict[str, Any]] = {
    "data.name": "glyph_scenes",
    "method.queue_size": 4096,
    "method.stage3.weight": 75.0,
    "method.stage4.weight": 75.0,
    "method.stage3.chunks": 8,
    "method.stage4.chunks": 8,
    "optim.lr": 1e-3,
    "train.batch_size": 8,
}
"""The published setting of CSG on the bundled pair, but for the queue, which 64 patches an image fill quickly."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a search; see :func:`~tune_spaces.search_script.search_script`."""
    return search_script(argv, prog="gta5_search.py", description=__doc__ or "", base=GLYPH_SCENES)


if __name__ == "__main__":
    sys.exit(main())
