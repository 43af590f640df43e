"""Train every cell of an ablation under several seeds: ``python tune_spaces/visda_ablation.py --design components``.

Without further arguments it runs on the bundled benchmark, glyphs (digits from fonts -> real handwritten digits). The
designs serve segmentation too: ``--data.name glyph_scenes`` for its bundled pair, ``--config
gta5_cityscapes_csg --data.source DIR --data.target DIR`` for GTA5 -> Cityscapes.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

from csg.parsing import Flags
from tune_spaces.ablation.script import AblationOptions, run_design
from tune_spaces.designs.design import Design
from tune_spaces.designs.shipped import choose_design


@dataclasses.dataclass(frozen=True)
class DesignOptions(AblationOptions):
    """Flags of the script."""

    design: str = "rivals"
    """rivals, methods, components, temperature, weight, stages, apool, queue_size, schedule, or module:DESIGN or
    path/to/file.py:DESIGN."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run an ablation; see :func:`~tune_spaces.ablation.script.run_design`."""

    def find(flags: Flags[DesignOptions]) -> tuple[str, Design]:
        return choose_design(flags.options.design, flags.config)

    return run_design(argv, DesignOptions, find, prog="visda_ablation.py", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
