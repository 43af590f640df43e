"""What is searched of every method: the learning rates, around those of the configuration.

Defaults are the bundled benchmark's; ``configs/visda17_csg.yaml`` has the published ones.
"""

from __future__ import annotations

from tune_spaces.spaces.space import Float

LEARNING_RATES = (
    Float("optim.lr", default=0.03, low=0.003, high=0.1, log=True, relative=True),
    Float("optim.backbone_lr_factor", default=0.1, low=0.03, high=1.0, log=True),
)
