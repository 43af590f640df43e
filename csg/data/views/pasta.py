"""PASTA: noise on the amplitudes of an image's frequencies, more of it the higher they are (arXiv:2212.00979).

Chattopadhyay et al., ICCV 2023, section 3: with A and phi the amplitude and the phase of the two-dimensional Fourier
transform of each channel, at m and n periods an image along its sides H and W,

    x' = Re F^-1( e A exp(i phi) ),   e ~ N(1, sigma^2)
    sigma[m, n] = (2 alpha sqrt((m^2 + n^2) / (H^2 + W^2)))^k + beta

so that sigma is beta for the mean colour and alpha^k + beta at the highest frequency. The noise of channels is
independent, and so is that of a frequency and its mirror image, of which the real part takes the mean, as in the
authors' code. Values are clamped to those of an image.

The authors train segmentation at alpha 3, k 2, beta 0.25, and CSG on VisDA-17 at 10, 1, 0.5. Departures: the noise is
that of the square which is trained on, not of the whole image before it is cut out; and PASTA takes the place of other
augmentations of appearance, where their runs of CSG on VisDA-17 have RandAugment beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csg.randomness import make_generator

Floats = npt.NDArray[np.float64]


def pasta(
    images: Tensor, *, indices: Tensor, seed: int, epoch: int, view: int, alpha: float, k: float, beta: float
) -> Tensor:
    """Perturb each image's amplitudes.

    Args:
        images: (N, 3, H, W) uint8.
        indices: (N,) places in the source stream; with seed, epoch and view they name the noise.
        seed: of the run.
        epoch: 0 for the first.
        view: 0 for the query's, 1 for the key's.
        alpha: how much more noise the highest frequency has.
        k: exponent of the growth.
        beta: noise of all frequencies.

    Returns:
        (N, 3, H, W) uint8. No bit of an image depends on the others.
    """
    spread = compute_spread(images.shape[-2], images.shape[-1], alpha=alpha, k=k, beta=beta)
    perturbed = torch.empty(images.shape, dtype=torch.uint8)
    for place, index in enumerate(indices.tolist()):
        noise = make_generator(seed, "pasta", epoch, index, view).normal(1.0, spread, size=images.shape[1:])
        perturbed[place] = torch.from_numpy(with_noise(images[place].double().numpy(), noise))
    return perturbed


def compute_spread(height: int, width: int, *, alpha: float, k: float, beta: float) -> Floats:
    """Return (height, width) sigma of each frequency, in the order of ``numpy.fft.fft2``."""
    down, across = (np.fft.fftfreq(side) * side for side in (height, width))
    radius = np.sqrt((down[:, None] ** 2 + across[None, :] ** 2) / (height**2 + width**2))
    spread: Floats = (2 * alpha * radius) ** k + beta
    return spread


def with_noise(image: Floats, noise: Floats) -> npt.NDArray[np.uint8]:
    """Multiply the spectrum of a (C, H, W) image of 0 to 255 by (C, H, W) numbers; rounded to bytes."""
    perturbed = np.fft.ifft2(noise * np.fft.fft2(image)).real
    return perturbed.round().clip(0, 255).astype(np.uint8)
