"""What is searched of CSG's rivals: as much as of CSG, their own settings and the learning rates."""

from __future__ import annotations

from tune_spaces.spaces.space import Choice, Float, Space
from tune_spaces.spaces.training import LEARNING_RATES

WEIGHT_L2 = Space((Float("method.weight", default=0.1, low=1e-3, high=10.0, log=True), *LEARNING_RATES), follows=True)
SYNAPTIC_INTELLIGENCE = Space(
    (
        Float("method.weight", default=1.0, low=1e-2, high=1e2, log=True),
        Float("method.damping", default=1e-3, low=1e-5, high=1e-1, log=True),
        *LEARNING_RATES,
    ),
    follows=True,
)
FEATURE_L2 = Space(
    (
        Float("method.weight", default=1e-4, low=1e-6, high=1e-2, log=True),
        Choice("method.stage", default=4, options=(3, 4)),
        Choice("method.pooling", default="average", options=("average", "apool")),
        *LEARNING_RATES,
    ),
    follows=True,
)
ASG = Space(
    (
        Float("method.distillation_weight", default=0.1, low=1e-2, high=10.0, log=True),
        Choice("method.controller", default=True, options=(True, False)),
        *LEARNING_RATES,
    ),
    follows=True,
)
DRPC = Space(
    (
        Choice("method.randomisation", default=True, options=(True, False)),
        Float("method.style_window", default=0.1, low=0.03, high=0.3, log=True),
        Float("method.consistency_weight", default=1.0, low=1e-2, high=1e2, log=True),
        *LEARNING_RATES,
    ),
    follows=True,
)
LOW_RANK = Space((Choice("method.rank", default=4, options=(1, 2, 4, 8, 16)), *LEARNING_RATES), follows=True)
LP_FT = Space((Choice("method.probe_epochs", default=1, options=(1, 2)), *LEARNING_RATES), follows=True)
MIRO = Space(
    (
        Float("method.weight", default=0.1, low=1e-3, high=10.0, log=True),
        Choice("method.stages", default="1+2+3+4", options=("1+2+3+4", "3+4", "4")),
        *LEARNING_RATES,
    ),
    follows=True,
)
MIXSTYLE = Space(
    (
        Choice("method.stages", default="1+2", options=("1", "1+2", "1+2+3")),
        Float("method.probability", default=0.5, low=0.1, high=1.0),
        Float("method.alpha", default=0.1, low=0.03, high=1.0, log=True),
        *LEARNING_RATES,
    ),
    follows=True,
)
GCISG = Space(
    (
        Choice("method.stages", default="3+4", options=("3+4", "4", "3", "2+3+4")),
        Float("method.invariance_weight", default=1.0, low=0.01, high=10.0, log=True),
        Float("method.guidance_weight", default=1.0, low=0.01, high=10.0, log=True),
        Float("method.temperature", default=0.12, low=0.03, high=1.0, log=True),
        Float("method.target_temperature", default=0.04, low=0.01, high=0.3, log=True),
        *LEARNING_RATES,
    ),
    follows=True,
)
