"""Batch norm whose statistics are those of the whole batch, however many processes share it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from csg.collective import get_world_size, sum_over_processes_with_gradient


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d``, names and state dict included, over the images of all processes.

    In training mode each process brings its mean and its sum of squares about it, and those are combined (Chan et al.,
    1983), with n_r the values a channel of process r, N their sum, and m_r and s_r their mean and sum of squares:

        mean = sum_r n_r m_r / N,   N var = sum_r ( s_r + n_r (m_r - mean)^2 )

    so that no two large numbers are subtracted. Gradients pass through both sums. Processes may have different numbers
    of images, or none; outputs, gradients and running statistics are those that one process would compute. In one
    process, and in evaluation mode, it is ``nn.BatchNorm2d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W).

        Raises:
            ValueError: in training mode, all processes together have one value a channel.
        """
        return super().forward(x) if get_world_size() == 1 or not self.training else self.normalise_jointly(x)

    def normalise_jointly(self, x: Tensor) -> Tensor:
        """Normalise with the statistics of all processes and update the running ones; in the weights' precision."""
        # A difference of bfloat16 numbers would leave two or three digits.
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        count = values.numel() // self.num_features
        mean, squares = _compute_moments(values)
        sums = sum_over_processes_with_gradient(torch.cat([count * mean, mean.new_tensor([count])]))
        total = float(sums[-1].detach())
        if total <= 1:
            raise ValueError(
                f"expected more than one value a channel in training, found {int(total)} in input {tuple(x.shape)}: "
                "use a larger train.batch_size"
            )
        common = sums[:-1] / total
        variance = sum_over_processes_with_gradient(squares + count * (mean - common).square()) / total
        self._remember(common.detach(), variance.detach() * (total / (total - 1)))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        normalised = (values - common.reshape(1, -1, 1, 1)) * scale.reshape(1, -1, 1, 1)
        if self.affine:
            normalised = normalised + self.bias.reshape(1, -1, 1, 1)
        return normalised.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)


def _compute_moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and sum of squares about it; 0 and 0, with a gradient, where there is no value."""
    if values.numel() == 0:
        nothing = values.sum(dim=(0, 2, 3))
        return nothing, nothing
    variance, mean = torch.var_mean(values, dim=(0, 2, 3), correction=0)
    return mean, variance * (values.numel() // len(mean))
