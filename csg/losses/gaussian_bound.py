"""A bound on the mutual information of trained and frozen features (MIRO; Cha et al., ECCV 2022, arXiv:2203.10789)."""

from __future__ import annotations

from torch import Tensor


def gaussian_bound(features: Tensor, frozen: Tensor, variance: Tensor) -> Tensor:
    """Mean over all entries of log v + (f - f*)^2 / v: how badly f tells f* (section 3.2).

    Up to a factor and a constant it is -log q(f* | f) of a Gaussian q of mean f and variance v. So it bounds the mutual
    information from below: to lower it is to keep what f* knows. Departs from the paper in the mean over channels and
    places, as its authors' code has it, where the equation has the determinant and the norm, which are sums.

    Args:
        features: (N, C, H, W), trained.
        frozen: (N, C, H, W).
        variance: (C,) above 0.

    Returns:
        A scalar, which may be negative.
    """
    spread = variance.reshape(1, -1, 1, 1)
    return ((features - frozen).square() / spread + spread.log()).mean()
