"""An encoder for inference: batch norm folded into the convolutions, no autograd."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from csg.models.encoder import Encoder


class FoldedEncoder(nn.Module):
    """A copy of an encoder in evaluation mode whose batch norms are part of its convolutions.

    The copy is frozen. :meth:`refresh` makes it follow an encoder that has trained on, in place and without
    allocating. Its arithmetic is the encoder's up to rounding. A norm that follows no convolution (the batch half of
    an instance-batch norm) stays a norm, and all do in an encoder that does not say that they can be folded.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).requires_grad_(requires_grad=False).eval()
        self._pairs = _pair_with_norms(self.encoder) if encoder.folds else []
        for conv_name, norm_name in self._pairs:
            conv = self.encoder.get_submodule(conv_name)
            assert isinstance(conv, nn.Conv2d)
            conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels), requires_grad=False)
            self.encoder.set_submodule(norm_name, nn.Identity())
        folded = tuple(f"{name}." for pair in self._pairs for name in pair)
        head = self.encoder.get_old_head()
        old_head = set() if head is None else {id(tensor) for tensor in head.parameters()}
        held = {**dict(self.encoder.named_parameters()), **dict(self.encoder.named_buffers())}
        self._unfolded = {
            name: tensor for name, tensor in held.items() if not name.startswith(folded) and id(tensor) not in old_head
        }
        self.refresh(encoder)

    @torch.no_grad()
    def refresh(self, encoder: Encoder) -> None:
        """Take over the weights and running statistics of ``encoder``, of the architecture copied."""
        for conv_name, norm_name in self._pairs:
            source, norm = encoder.get_submodule(conv_name), encoder.get_submodule(norm_name)
            target = self.encoder.get_submodule(conv_name)
            assert isinstance(source, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d) and isinstance(target, nn.Conv2d)
            assert norm.running_mean is not None and norm.running_var is not None and target.bias is not None
            scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
            torch.mul(source.weight, scale.reshape(-1, 1, 1, 1), out=target.weight)
            target.bias.copy_(norm.bias - norm.running_mean * scale)
        if self._unfolded:
            # Not the state dict, which lacks buffers that can be computed again.
            held = {**dict(encoder.named_parameters()), **dict(encoder.named_buffers())}
            for name, tensor in self._unfolded.items():
                tensor.copy_(held[name])

    @torch.no_grad()
    def forward(self, images: Tensor, depth: int = 4) -> tuple[Tensor, ...]:
        """See :class:`~csg.models.encoder.Encoder`."""
        maps: tuple[Tensor, ...] = self.encoder(images, depth)
        return maps


def _pair_with_norms(encoder: Encoder) -> list[tuple[str, str]]:
    """Pair each batch norm with the convolution declared just before it; :attr:`Encoder.folds` says what that needs."""
    pairs: list[tuple[str, str]] = []
    previous: tuple[str, nn.Module] | None = None
    for name, module in encoder.named_modules():
        if isinstance(module, nn.BatchNorm2d) and previous is not None and isinstance(previous[1], nn.Conv2d):
            assert previous[1].out_channels == module.num_features and previous[1].bias is None
            pairs.append((previous[0], name))
        if not list(module.children()):
            previous = (name, module)
    return pairs
