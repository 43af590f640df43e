"""DRPC: what an image's style is, what consistency measures, and each half of the method alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from csg.data.fault import BadImageError
from csg.data.reading.decoding import decode
from csg.data.views.fourier_style import compute_low_amplitudes, with_low_amplitudes
from csg.losses.pyramid_consistency import pyramid_consistency
from csg.messages.errors import UserError
from csg.methods.drpc import Drpc, StyledBatch
from csg.methods.method import Batch
from csg.parsing import build_config
from csg.training.identity import _digest_folder, compute_config_id
from csg.training.step import Learner
from tests.checked_data import repaint
from tests.csg.methods.test_methods import batch_of, learner


def pictures(count: int, height: int = 12, width: int = 9, *, seed: int = 0, contrast: float = 30) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return 128 + contrast * torch.rand(count, 3, height, width, dtype=torch.float64, generator=draw)


def adapted_by_hand(image: np.ndarray, style: np.ndarray, radius: int) -> np.ndarray:
    """Swap amplitudes as FDA's paper writes it, in the centred full spectrum of one channel."""
    ours, theirs = (np.fft.fftshift(np.fft.fft2(each)) for each in (image, style))
    amplitude, middle = np.abs(ours), (image.shape[0] // 2, image.shape[1] // 2)
    window = tuple(slice(centre - radius, centre + radius + 1) for centre in middle)
    amplitude[window] = np.abs(theirs)[window]
    return np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * np.angle(ours)))).real.clip(0, 255)


@given(st.integers(3, 14), st.integers(3, 14), st.integers(0, 5), st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_style_is_fdas_amplitude_swap(height: int, width: int, largest: int, radii: list[int]) -> None:
    most = min(largest, (min(height, width) - 1) // 2)
    drawn = torch.tensor(radii).clamp(max=most)
    images, styles = (pictures(len(radii), height, width, seed=seed) for seed in (0, 1))
    styled = with_low_amplitudes(images, compute_low_amplitudes(styles, most), drawn)
    for number, radius in enumerate(drawn.tolist()):
        for channel in range(3):
            expected = adapted_by_hand(images[number, channel].numpy(), styles[number, channel].numpy(), radius)
            np.testing.assert_allclose(styled[number, channel].numpy(), expected, atol=1e-9)


def test_an_image_in_its_own_style_is_itself() -> None:
    images = pictures(2, contrast=120)
    styled = with_low_amplitudes(images, compute_low_amplitudes(images, 4), torch.tensor([4, 2]))
    torch.testing.assert_close(styled, images, rtol=0, atol=1e-9)


def test_the_smallest_window_swaps_mean_colours_and_nothing_else() -> None:
    images, styles = pictures(2), pictures(2, seed=1) - 60
    styled = with_low_amplitudes(images, compute_low_amplitudes(styles, 0), torch.zeros(2))
    colours, wanted = (each.mean(dim=(2, 3), keepdim=True) for each in (images, styles))
    torch.testing.assert_close(styled, images - colours + wanted, rtol=0, atol=1e-9)


def test_what_an_image_lacks_has_no_phase_of_rounding_errors() -> None:
    """A flat image takes over amplitudes at phase 0, whatever the last bits of its spectrum."""
    flat = torch.full((1, 3, 8, 8), 77.0, dtype=torch.float64)
    amplitudes = compute_low_amplitudes(pictures(1, 8, 8), 3)
    exact, noisy = (
        with_low_amplitudes(image, amplitudes, torch.tensor([3]))
        for image in (flat, flat + 1e-13 * pictures(1, 8, 8, seed=2))
    )
    torch.testing.assert_close(exact, noisy, rtol=0, atol=1e-9)
    assert exact.std() > 1


def test_styled_images_stay_within_the_range_of_pixels() -> None:
    images = pictures(1)
    louder = 50 * compute_low_amplitudes(images, 4)
    louder[:, :, 4, 0] /= 50  # of the mean colour
    styled = with_low_amplitudes(images, louder, torch.tensor([4]))
    assert styled.min() == 0 and styled.max() == 255


def test_consistency_is_its_formula() -> None:
    maps = torch.randn(3, 2, 4, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = []
    for cells in (1, 2, 4):
        high, wide = 4 // cells, 6 / cells
        total = 0.0
        for image in range(2):
            for channel in range(4):
                for row in range(cells):
                    for column in range(cells):
                        left, right = int(column * wide), int(np.ceil((column + 1) * wide))
                        cell = maps[:, image, channel, row * high : (row + 1) * high, left:right].mean(dim=(1, 2))
                        total += float((cell - cell.mean()).abs().sum())
        levels.append(total / (3 * 2 * 4 * cells**2))
    assert pyramid_consistency(maps).item() == pytest.approx(sum(levels) / 3, rel=1e-12)


def test_consistency_has_the_gradient_of_its_formula_and_is_zero_for_equal_copies() -> None:
    draw = torch.Generator().manual_seed(0)
    maps = torch.randn(3, 2, 2, 4, 4, dtype=torch.float64, generator=draw, requires_grad=True)
    assert torch.autograd.gradcheck(pyramid_consistency, (maps,))
    same = torch.rand(1, 2, 2, 4, 4, dtype=torch.float64, generator=draw).expand(4, -1, -1, -1, -1)
    assert pyramid_consistency(same).item() < 1e-15


def drpc(**more: object) -> Learner:
    return learner(method__name="drpc", train__precision="float64", **more)


def images_of(it: Learner, count: int = 6) -> Batch:
    normalised = it.model.encoder.normalise(pictures(count, 32, 32, contrast=100))
    return batch_of(normalised, normalised, torch.arange(count) % 3)


def prepare(it: Learner, batch: Batch) -> StyledBatch:
    styled = it.method.prepare(batch)
    assert isinstance(styled, StyledBatch)
    return styled


def test_labels_and_places_stay_and_the_trained_view_is_restyled() -> None:
    it = drpc(method__copies=3)
    batch = images_of(it)
    styled = prepare(it, batch)
    assert styled.labels is batch.labels and styled.indices is batch.indices and styled.key is styled.query
    assert len(styled.copies) == 2
    assert styled.query.shape == batch.query.shape and styled.query.dtype == batch.query.dtype
    views = [batch.query, styled.query, *styled.copies]
    differing = [(one - other).abs().amax(dim=(1, 2, 3)) for n, one in enumerate(views) for other in views[:n]]
    assert all((difference > 1e-3).all() for difference in differing)
    low, high = (it.model.encoder.normalise(torch.full((1, 3, 1, 1), value)) for value in (0, 255))
    assert all((view >= low - 1e-12).all() and (view <= high + 1e-12).all() for view in views)


def test_a_style_is_a_function_of_seed_epoch_and_images_alone() -> None:
    it = drpc()
    batch = images_of(it)
    styled = prepare(it, batch)
    it.step(batch, 1.0)
    assert torch.equal(prepare(it, batch).query, styled.query), "and not of what was drawn before"
    assert torch.equal(prepare(drpc(), batch).copies[0], styled.copies[0])
    for other, what in (
        (prepare(drpc(train__seed=1), batch), "seed"),
        (prepare(it, dataclasses.replace(batch, epoch=1)), "epoch"),
        (prepare(it, dataclasses.replace(batch, indices=batch.indices + 6)), "places"),
    ):
        assert not torch.allclose(other.query, styled.query), what


def test_styles_come_from_other_images_of_the_batch() -> None:
    """With a window as wide as it gets drawn alone, an image's mean colour is another one's."""
    it = drpc(method__consistency_weight=0.0)
    batch = images_of(it)
    means = batch.query.mean(dim=(2, 3))
    styled = prepare(it, batch).query.mean(dim=(2, 3))
    taken = torch.cdist(styled, means).argmin(dim=1)
    assert torch.cdist(styled, means).amin(dim=1).max() < 0.05
    assert (taken != torch.arange(6)).all()


def test_each_image_takes_over_the_frequencies_within_the_window_that_was_drawn_for_it() -> None:
    it = drpc(method__consistency_weight=0.0, method__style_window=0.25)
    assert isinstance(it.method, Drpc)
    batch = images_of(it)
    styled = prepare(it, batch).query
    pixels = pictures(6, 32, 32, contrast=100)
    drawn = [it.method._draw(0, index, 5) for index in batch.indices.tolist()]
    radii = [int(windows[0] * 32) for windows, _ in drawn]
    assert len(set(radii)) > 2 and max(radii) < 8
    for image, (radius, (_, (partner,))) in enumerate(zip(radii, drawn, strict=True)):
        style = compute_low_amplitudes(pixels[[(image + 1 + partner) % 6]], 8)
        expected = with_low_amplitudes(pixels[[image]], style, torch.tensor([radius]))
        torch.testing.assert_close(styled[[image]], it.model.encoder.normalise(expected), rtol=0, atol=1e-9)


def test_each_half_works_alone() -> None:
    randomisation = drpc(method__consistency_weight=0.0)
    batch = images_of(randomisation)
    styled = prepare(randomisation, batch)
    assert styled.copies == () and not torch.equal(styled.query, batch.query)
    assert randomisation.step(batch, 1.0)[0].terms == []
    consistency = drpc(method__randomisation=False)
    styled = prepare(consistency, batch)
    assert styled.query is batch.query and len(styled.copies) == 1
    assert [term.name for term in consistency.step(batch, 1.0)[0].terms] == ["consistency"]
    with pytest.raises(UserError, match="with neither half this is source_only"):
        drpc(method__randomisation=False, method__consistency_weight=0.0)
    one, other = (
        build_config({"method.name": "drpc", "method.consistency_weight": 0.0, "method.copies": copies})
        for copies in (2, 5)
    )
    assert compute_config_id(one) == compute_config_id(other), "the number of copies does nothing without consistency"
    more = drpc(method__consistency_weight=0.0, method__copies=5)
    assert torch.equal(prepare(more, batch).query, prepare(randomisation, batch).query)


def test_the_term_is_the_consistency_of_the_trained_encoders_last_maps() -> None:
    it = drpc(method__copies=3, method__consistency_weight=0.7)
    styled = prepare(it, images_of(it))
    (term,) = it.method.compute_terms(styled, it.model(styled.query), it.model)
    with torch.no_grad():
        maps = torch.stack([it.model.encoder(view)[3] for view in (styled.query, *styled.copies)])
    assert (term.name, term.weight, term.rows) == ("consistency", 0.7, 6)
    assert term.value.item() == pytest.approx(pyramid_consistency(maps).item(), rel=1e-10) and term.value > 1e-6


def test_an_image_alone_keeps_its_style_and_agrees_with_itself() -> None:
    it = drpc()
    batch = images_of(it, 1)
    torch.testing.assert_close(prepare(it, batch).query, batch.query, rtol=0, atol=1e-10)
    _, scalars = it.step(batch, 1.0)
    assert scalars["loss_consistency"] < 1e-10


def test_consistency_under_autocast_is_computed_in_the_weights_precision() -> None:
    it = learner(method__name="drpc", train__precision="bfloat16")
    result, scalars = it.step(images_of(it), 1.0)
    assert result.output.maps[3].dtype == torch.bfloat16 and result.terms[0].value.dtype == torch.float32
    assert 0 < scalars["loss_consistency"] < 1


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    folder = tmp_path / "styles"
    folder.mkdir()
    for number, colour in enumerate([(200, 20, 20), (20, 200, 20)]):
        Image.new("RGB", (40, 32), colour).save(folder / f"{number}.png")
    return folder


def test_styles_come_from_a_folder_where_there_is_one(styles: Path) -> None:
    """Flat pictures of red and green: every image's mean colour becomes one of the two, and its low contrast goes."""
    it = drpc(method__style_images=str(styles), method__consistency_weight=0.0)
    batch = images_of(it, 12)
    styled = prepare(it, batch)
    found = styled.query.mean(dim=(2, 3))
    colours = torch.stack([decode(path, 32).double() for path in sorted(styles.iterdir())])
    distances = torch.cdist(found, it.model.encoder.normalise(colours).mean(dim=(2, 3)))
    assert set(distances.argmin(dim=1).tolist()) == {0, 1} and distances.amin(dim=1).max() < 0.5
    half = Batch(batch.query[6:], batch.query[6:], batch.labels[6:], batch.indices[6:], 0, batch.sources[6:], 1)
    torch.testing.assert_close(prepare(it, half).query, styled.query[6:], rtol=0, atol=1e-10)


def test_a_folder_of_styles_is_known_by_what_it_holds(styles: Path, tmp_path: Path) -> None:
    def identity(folder: Path) -> str:
        _digest_folder.cache_clear()  # as in another process
        style = {"method.name": "drpc", "method.style_images": str(folder)}
        return compute_config_id(build_config(style | {"data.cache": str(tmp_path / "cache")}))

    first = identity(styles)
    moved = styles.rename(tmp_path / "moved")
    assert identity(moved) == first
    Image.new("RGB", (40, 32)).save(moved / "more.png")
    second = identity(moved)
    assert second != first
    repaint(moved / "more.png")
    assert identity(moved) not in (first, second)


def test_a_folder_without_styles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"method\.style_images: expected a folder with images, found none in"):
        drpc(method__style_images=str(tmp_path))
    with pytest.raises(UserError, match="expected a folder with images, found nothing"):
        drpc(method__style_images=str(tmp_path / "nowhere"))


def test_style_images_that_are_passed_over_or_too_large_are_named(
    styles: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (styles / "notes.txt").touch()
    (styles / "Thumbs.db").touch()
    Image.new("RGB", (1100, 1000)).save(styles / "large.png")
    settings = {"method__style_images": str(styles), "method__consistency_weight": 0.0}
    it = drpc(**settings, method__style_megapixels=1)
    assert "method.style_images: 1 file is not used: 1 .txt (no image format that is read)" in caplog.text
    with pytest.raises(BadImageError, match=r"large.png: .* the 1 megapixels that method\.style_megapixels admits"):
        prepare(it, images_of(it, 12))
    assert prepare(drpc(**settings), images_of(it, 12)).query.shape[0] == 12
    for path in styles.glob("*.png"):
        path.rename(path.with_suffix(".jxl"))
    with pytest.raises(UserError, match=r"found none in .* \(4 files are not used: 3 \.jxl .* plug-in"):
        drpc(**settings)


def test_drpc_is_a_method() -> None:
    assert isinstance(drpc().method, Drpc)


def test_every_pixel_keeps_its_label_in_a_segmentation() -> None:
    it = drpc(data__name="glyph_scenes", model__output_stride=8)
    images = images_of(it, 4)
    labels = torch.randint(0, 3, (4, 32, 32), generator=torch.Generator().manual_seed(0))
    batch = dataclasses.replace(images, labels=labels)
    assert prepare(it, batch).labels is labels
    first, *_, last = (it.step(batch, 1.0)[1] for _ in range(8))
    assert first["loss_consistency"] > 0 and last["loss"] < first["loss"]
