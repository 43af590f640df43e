"""Train the paper's motivating example (section 2): ``python tune_spaces/motivating_example.py``.

Three models, whose features of the same real test images are compared: the starting weights as they are, ImageNet's
unless the pair has its own; trained on real images; trained on as many synthetic ones.
``python analysis/motivating_example.py`` draws them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from csg.data import load_pair, train_on_target
from csg.data.pair import SOURCE_TRAIN
from csg.parsing import Flags
from tune_spaces.ablation.script import AblationOptions, run_design
from tune_spaces.designs.design import Cell, Design
from tune_spaces.designs.shipped import holds_imagenet

NAME = "motivating_example"


def make_design(flags: Flags[AblationOptions]) -> tuple[str, Design]:
    """Return the design on the configured data: as many synthetic images as target/val has real ones."""
    images = len(train_on_target(load_pair(flags.config.data)).streams[SOURCE_TRAIN])
    start = "ImageNet weights" if holds_imagenet(flags.config.model.weights) else "frozen encoder"
    trained = {"method.name": "source_only"}
    cells = (
        Cell(start, {"method.name": "oracle_imagenet", "data.source_images": images}),
        Cell("trained on real", trained | {"data.trained_on": "target"}),
        Cell("trained on synthetic", trained | {"data.source_images": images}),
    )
    title = f"{start[0].upper()}{start[1:]}, and the same network trained on {images} real or {images} synthetic images"
    return NAME, Design(title=title, cells=cells, base="trained on synthetic")


def main(argv: Sequence[str] | None = None) -> int:
    """Train the three; see :func:`~tune_spaces.ablation.script.run_design`."""
    return run_design(argv, AblationOptions, make_design, prog="motivating_example.py", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
