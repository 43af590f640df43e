"""An image in another one's style: its low frequencies take the other's amplitudes and keep their own phases.

Fourier domain adaptation (Yang and Soatto, CVPR 2020, section 3.1): with F the two-dimensional Fourier transform of
each channel, and M the window of frequencies (u, v), in periods an image, of |u| <= r and |v| <= r,

    x' = F^-1( [ M |F(style)| + (1 - M) |F(x)| ] exp(i angle F(x)) )

At r = 0 an image's mean colour is all that changes. Images are on the scale of 0 to 255: of values that may be
negative, a mean would be an amplitude without its sign.
"""

from __future__ import annotations

import torch
from torch import Tensor


def compute_low_amplitudes(images: Tensor, radius: int) -> Tensor:
    """Return the amplitudes of the low frequencies.

    Args:
        images: (N, C, H, W).
        radius: r of the window, below half of H and of W.

    Returns:
        (N, C, 2 radius + 1, radius + 1): frequencies -radius to radius along H, 0 to radius along W; the others mirror
        them.
    """
    return _cut_low(torch.fft.rfft2(images), radius).abs()


def with_low_amplitudes(images: Tensor, amplitudes: Tensor, radii: Tensor) -> Tensor:
    """Give images other amplitudes inside a window of their own.

    Args:
        images: (N, C, H, W), of 0 to 255.
        amplitudes: (N, C, 2 R + 1, R + 1) of :func:`compute_low_amplitudes`.
        radii: (N,) integers, r of each image's window, at most R.

    Returns:
        (N, C, H, W), within 0 to 255.
    """
    height, width = images.shape[-2:]
    largest = amplitudes.shape[-1] - 1
    spectrum = torch.fft.rfft2(images)
    low = _cut_low(spectrum, largest)
    own = low.abs()
    # What should be zero is rounding error, and so would its phase be: such a frequency counts as real and positive.
    heard = own > 64 * torch.finfo(own.dtype).eps * 255 * height * width
    phases = torch.where(heard, low / own.where(heard, own.new_ones(())), low.new_ones(()))
    along = torch.arange(-largest, largest + 1, device=images.device).abs()
    inside = torch.maximum(along[:, None], along[None, largest:]) <= radii.to(images.device).reshape(-1, 1, 1, 1)
    spectrum[..., _list_rows(largest, height), : largest + 1] = torch.where(inside, amplitudes * phases, low)
    styled: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    return styled.clamp(0, 255)


def _cut_low(spectrum: Tensor, radius: int) -> Tensor:
    return spectrum[..., _list_rows(radius, spectrum.shape[-2]), : radius + 1]


def _list_rows(radius: int, height: int) -> list[int]:
    return [frequency % height for frequency in range(-radius, radius + 1)]
