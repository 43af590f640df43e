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
from tune_spaces.designs.shipped import find_design


@dataclasses.dataclass(frozen=True)
class DesignOptions(AblationOptions):
    """Flags of the script."""

    design: str = "rivals"
    """rivals, methods, components, temperature, weight, stages, apool, queue_size, schedule, or module:DESIGN or
    path/to/file.py:DESIGN."""


def choose_design(flags: Flags[DesignOptions]) -> tuple[str, Design]:
    """Return the design that ``--design`` names, and its name."""
    config, name = flags.config, flags.options.design
    return name.rpartition(":")[2], find_design(name, config.data.name, weights=config.model.weights)


def main(argv: Sequence[str] | None = None) -> int:
    """Run an ablation; see :func:`~tune_spaces.ablation.script.run_design`."""
    return run_design(argv, DesignOptions, choose_design, prog="visda_ablation.py", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
