"""DeepLab's head is what its paper draws; over several processes: see test_synchronised_batch_norm."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from csg.models.aspp import Aspp


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_the_head_is_its_five_branches_written_out(training: bool) -> None:
    torch.manual_seed(0)
    head = Aspp(3, 5, width=2, rates=(1, 2, 3)).double().train(training)
    maps = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    weights = {name: value.clone() for name, value in head.state_dict().items()}
    convolutions = [name for name, value in weights.items() if value.ndim == 4]
    assert len(convolutions) == 8 and [name for name in weights if name.endswith("0.bias")] == []

    def unit(x: Tensor, name: str, dilation: int = 1) -> Tensor:
        kernel = weights[f"{name}.0.weight"]
        x = F.conv2d(x, kernel, padding=dilation * (kernel.shape[-1] // 2), dilation=dilation)
        mean, var = weights[f"{name}.1.running_mean"], weights[f"{name}.1.running_var"]
        if training:
            mean, var = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3), unbiased=False)
        x = (x - mean.reshape(1, -1, 1, 1)) / (var + 1e-5).sqrt().reshape(1, -1, 1, 1)
        scale, shift = weights[f"{name}.1.weight"], weights[f"{name}.1.bias"]
        return torch.relu(x * scale.reshape(1, -1, 1, 1) + shift.reshape(1, -1, 1, 1))

    branches = [unit(maps, "branches.0"), *(unit(maps, f"branches.{rate}", rate) for rate in (1, 2, 3))]
    image = unit(maps.mean(dim=(2, 3), keepdim=True), "pooled")
    joint = torch.cat([*branches, F.interpolate(image, size=(7, 6), mode="bilinear", align_corners=False)], dim=1)
    refined = unit(unit(joint, "project"), "refine")
    expected = F.conv2d(refined, weights["classifier.weight"], weights["classifier.bias"])
    torch.testing.assert_close(head(maps), expected, rtol=1e-10, atol=1e-12)


def test_a_head_of_the_published_width_has_deeplabs_shapes() -> None:
    head = Aspp(2048, 19, width=256, rates=(12, 24, 36))
    shapes = {name: tuple(value.shape) for name, value in head.named_parameters() if value.ndim == 4}
    assert list(shapes.values()) == [
        (256, 2048, 1, 1),
        *[(256, 2048, 3, 3)] * 3,
        (256, 2048, 1, 1),
        (256, 1280, 1, 1),
        (256, 256, 3, 3),
        (19, 256, 1, 1),
    ]
