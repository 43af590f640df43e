"""Feature diversity as a validator: the paper's thesis is that diverse features generalise."""

from __future__ import annotations

import math

from torch import Tensor

from csg.metrics.hyperspherical_energy import FLOOR, hyperspherical_energy
from csg.metrics.rows import is_degenerate, to_float64

WORST = 2 * math.log(FLOOR)
"""Minus the energy of vectors that all coincide, about -27.6."""


def diversity(features: Tensor) -> float:
    """Minus the hyperspherical energy E_0 of V, mean_{i<j} log |v_i - v_j|^2 (CSG, equation 1; convention ``mhe``).

    Features of length zero have no direction: their pairs count as coincident, so that they can not raise the score.

    Args:
        features: (N, D), not yet normalised.

    Returns:
        From about -27.6, which is also what a degenerate model gets, to log 4. Higher is better.
    """
    if is_degenerate(features=features):
        return WORST
    energy = hyperspherical_energy(to_float64(features))
    if energy.vectors < 2:
        return WORST
    share = math.comb(energy.vectors, 2) / math.comb(len(features), 2)
    return share * -energy.e0_mhe + (1 - share) * WORST
