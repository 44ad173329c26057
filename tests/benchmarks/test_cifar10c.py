"""Each corruption does what its published definition says, checked by another way of computing it or by statistics."""

import hashlib
import io

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from benchmarks import cifar10c
from benchmarks.cifar10c import CORRUPTIONS, SEVERITIES, corrupt

Images = NDArray[np.uint8]

PUBLISHED = [
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
]


@pytest.fixture(scope="module")
def images(cifar10: tuple[Images, NDArray[np.uint8]]) -> Images:
    return cifar10[0][:100]


def levels(*values: float) -> list[tuple[int, float]]:
    """Severities from 1 to 5, each with its published parameter."""
    return list(zip(SEVERITIES, values, strict=True))


def flat(value: int, count: int = 100) -> Images:
    """Grey pictures of one value."""
    return np.full((count, 32, 32, 3), value, np.uint8)


def test_the_fifteen_corruptions_have_the_published_names_and_order() -> None:
    assert list(CORRUPTIONS) == PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_corruption_is_the_same_each_time_and_depends_on_seed_and_severity_only(name: str, images: Images) -> None:
    before = images.copy()
    found = corrupt(images, name, 3)
    assert found.shape == images.shape
    assert found.dtype == np.uint8
    assert np.array_equal(images, before)
    assert np.array_equal(found, corrupt(images, name, 3))
    assert not np.array_equal(found, corrupt(images, name, 4))
    assert not np.array_equal(found, images)


def test_a_subset_of_whole_blocks_is_corrupted_as_the_whole_set_is(cifar10: tuple[Images, NDArray[np.uint8]]) -> None:
    whole = cifar10[0]
    assert np.array_equal(corrupt(whole, "snow", 2)[:100], corrupt(whole[:100], "snow", 2))


def test_an_unknown_corruption_is_a_key_error(images: Images) -> None:
    with pytest.raises(KeyError, match="spatter"):
        corrupt(images, "spatter", 1)


@pytest.mark.parametrize(("severity", "sigma"), levels(0.04, 0.06, 0.08, 0.09, 0.10))
def test_gaussian_noise_has_the_published_deviation(severity: int, sigma: float) -> None:
    noise = corrupt(flat(128), "gaussian_noise", severity) / 255
    assert noise.std() == pytest.approx(sigma, rel=0.02)
    assert noise.mean() == pytest.approx(127.5 / 255, abs=0.001)  # fractions are cut off


@pytest.mark.parametrize(("severity", "photons"), levels(500, 250, 100, 75, 50))
@pytest.mark.parametrize("value", [51, 128])
def test_shot_noise_has_a_poisson_distributions_variance(severity: int, photons: int, value: int) -> None:
    noise = corrupt(flat(value), "shot_noise", severity) / 255
    assert noise.std() == pytest.approx((value / 255 / photons) ** 0.5, abs=0.4 / 255)  # the rest is rounding


@pytest.mark.parametrize(("severity", "share"), levels(0.01, 0.02, 0.03, 0.05, 0.07))
def test_impulse_noise_blackens_and_whitens_a_share_of_single_values(severity: int, share: float) -> None:
    found = corrupt(flat(128), "impulse_noise", severity)
    assert set(np.unique(found)) == {0, 128, 255}
    for value in (0, 255):
        assert (found == value).mean() == pytest.approx(share / 2, rel=0.06)
    assert (found == 0).any(axis=3).mean() > 1.4 * (found == 0).mean()  # channels are hit one by one


@pytest.mark.parametrize(
    ("severity", "radius", "sigma"), [(1, 0.3, 0.4), (2, 0.4, 0.5), (3, 0.5, 0.6), (4, 1, 0.2), (5, 1.5, 0.1)]
)
def test_defocus_blur_spreads_a_point_into_a_softened_disk(severity: int, radius: float, sigma: float) -> None:
    point = flat(0, 1)
    point[0, 16, 16] = 255
    row = np.arange(-3, 4)
    inside = (row**2 + row[:, None] ** 2 <= radius**2).astype(float)
    soft = np.exp(-(np.arange(-1, 2) ** 2) / (2 * sigma**2))
    soft /= soft.sum()
    expected = ndimage.convolve(inside / inside.sum(), np.outer(soft, soft), mode="constant")
    found = corrupt(point, "defocus_blur", severity)[0, 13:20, 13:20, 1] / 255
    assert np.abs(found - expected).max() < 1.5 / 255


def published_glass_blur(image: Images, sigma: float, passes: int, offsets: NDArray[np.int64]) -> Images:
    """The published loops, with offsets (passes, 2, 32, 32) given; its assignment of views copies."""

    def blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([ndimage.gaussian_filter(values[..., c], sigma, mode="nearest") for c in range(3)], axis=-1)

    x = (blurred(image / 255) * 255).astype(np.uint8)
    for number in range(passes):
        for h in range(31, 1, -1):
            for w in range(31, 1, -1):
                dx, dy = offsets[number, :, h, w]
                x[h, w], x[h + dy, w + dx] = x[h + dy, w + dx], x[h, w]
    return np.asarray((np.clip(blurred(x / 255), 0, 1) * 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("severity", "sigma", "passes"), [(1, 0.05, 1), (2, 0.25, 1), (3, 0.4, 1), (4, 0.25, 2), (5, 0.4, 2)]
)
def test_glass_blur_is_what_the_published_loops_make(severity: int, sigma: float, passes: int, images: Images) -> None:
    found = cifar10c.glass_blur(images[:1], severity, np.random.default_rng(7))
    rng = np.random.default_rng(7)
    offsets = np.zeros((passes, 2, 32, 32), np.int64)
    for number in range(passes):
        offsets[number, :, 2:, 2:] = rng.integers(-1, 1, (2, 1, 30, 30))[:, 0]
    assert np.array_equal(found[0], published_glass_blur(images[0], sigma, passes, offsets))


@pytest.mark.parametrize(
    ("severity", "radius", "sigma"), [(1, 6, 1.0), (2, 6, 1.5), (3, 6, 2.0), (4, 8, 2.0), (5, 9, 2.5)]
)
def test_motion_blur_drags_a_point_along_half_a_gaussian(severity: int, radius: int, sigma: float) -> None:
    point = flat(0, 200)
    point[:, 16, 28] = 255
    found = corrupt(point, "motion_blur", severity)[..., 0].astype(float)
    weights = np.exp(-(np.arange(2 * radius + 1) ** 2) / (2 * sigma**2))
    assert found[:, 16, 28] == pytest.approx(255 * weights[0] / weights.sum(), abs=1)
    assert found.sum(axis=(1, 2)) == pytest.approx(255, abs=4)
    rows, columns = np.indices((32, 32))
    angles = np.arctan2((found * (16 - rows)).sum(axis=(1, 2)), (found * (28 - columns)).sum(axis=(1, 2)))
    assert np.degrees(np.abs(angles)).max() < 46
    assert np.degrees(angles).std() == pytest.approx(90 / 12**0.5, rel=0.2)  # evenly between -45 and 45


def test_motion_along_a_row_is_a_one_sided_correlation_with_repeated_edges(images: Images) -> None:
    weights = np.exp(-(np.arange(13) ** 2) / 8)
    padded = np.pad(images[0].astype(float), ((0, 0), (0, 12), (0, 0)), mode="edge")
    expected = sum(w * padded[:, i : i + 32] for i, w in enumerate(weights / weights.sum()))
    assert np.array_equal(cifar10c.moved(images[:1], 6, 2, np.zeros(1))[0], np.rint(expected))


@pytest.mark.parametrize(("severity", "last"), levels(1.06, 1.11, 1.16, 1.21, 1.26))
def test_zoom_blur_is_the_mean_of_scipys_zooms(severity: int, last: float, images: Images) -> None:
    values = images[0] / 255
    factors = np.arange(1, last, 0.01)
    total = values.copy()
    for factor in factors:
        kept = int(np.ceil(32 / factor))
        top = (32 - kept) // 2
        zoomed = ndimage.zoom(values[top : top + kept, top : top + kept], (factor, factor, 1), order=1)
        trim = (zoomed.shape[0] - 32) // 2
        total += zoomed[trim : trim + 32, trim : trim + 32]
    expected = total / (len(factors) + 1) * 255
    assert np.abs(corrupt(images[:1], "zoom_blur", severity)[0] - expected).max() <= 1


def test_snow_only_brightens_falls_from_both_sides_and_thickens() -> None:
    layers = [corrupt(flat(0), "snow", severity) / 255 for severity in SEVERITIES]
    for layer, whitened in zip(layers, (0.025, 0.05, 0.05, 0.075, 0.1), strict=True):
        assert layer.min() == pytest.approx(whitened, abs=1 / 255)  # (1 - kept) * (grey * 1.5 + 0.5)
        assert np.abs(layer - np.rot90(layer, 2, axes=(1, 2))).max() <= 1 / 255
        assert np.ptp(layer, axis=3).max() == 0
    falling = [(layer[:, 1:] - layer[:, :-1]).std() / np.diff(layer, axis=2).std() for layer in layers]
    assert max(falling) < 0.95  # streaks are nearer to vertical
    shares = [layer.mean() for layer in layers]
    assert shares[0] < min(shares[1:3])
    assert max(shares[1:3]) < shares[3] < shares[4]


@pytest.mark.parametrize(
    ("severity", "picture", "pane"), [(1, 1, 0.2), (2, 1, 0.3), (3, 0.9, 0.4), (4, 0.85, 0.4), (5, 0.75, 0.45)]
)
def test_frost_adds_a_share_of_a_pane_to_a_share_of_the_picture(severity: int, picture: float, pane: float) -> None:
    dark, light = (corrupt(flat(value), "frost", severity).astype(float) for value in (0, 100))
    unclipped = light < 255
    assert np.abs((light - dark)[unclipped] - 100 * picture).max() <= 1
    panes = cifar10c.frosted_panes()
    assert dark.max() == pytest.approx(pane * panes.max(), abs=1)
    assert dark.mean() == pytest.approx(pane * panes.mean(), rel=0.1)
    assert panes.shape == (5, 160, 160, 3)


@pytest.mark.parametrize(
    ("severity", "strength", "decay"), [(1, 0.2, 3), (2, 0.5, 3), (3, 0.75, 2.5), (4, 1, 2), (5, 1.5, 1.75)]
)
def test_fog_adds_a_plasma_and_keeps_the_brightest_value(severity: int, strength: float, decay: float) -> None:
    found = corrupt(flat(102), "fog", severity) / 255  # 0.4
    heights = (found * (0.4 + strength) / 0.4 - 0.4) / strength
    step = (0.4 + strength) / 0.4 / strength / 255
    assert heights.min(axis=(1, 2)) == pytest.approx(0, abs=2 * step)
    assert heights.max(axis=(1, 2)) == pytest.approx(1, abs=2 * step)
    assert np.ptp(found, axis=3).max() == 0


def test_a_plasma_grows_smoother_the_faster_its_roughness_falls() -> None:
    rng = np.random.default_rng(0)
    roughness = []
    for decay in (1.75, 2, 2.5, 3):
        heights = cifar10c.plasma(200, decay, rng)
        # The last level's displacement is uniform with a half width of the squared wobble: a deviation of that / 3**.5.
        odd, corners = heights[:, 1::2, 1::2], heights[:, ::2, ::2]
        around = corners + np.roll(corners, -1, 1)
        around = (around + np.roll(around, -1, 2)) / 4
        first = np.abs(heights[:, 16, 16] - heights[:, 0, 0]).mean()
        roughness.append((odd - around).std() / first)
    ratios = np.array(roughness) * np.array((1.75, 2, 2.5, 3)) ** 8
    assert roughness == sorted(roughness, reverse=True)
    assert ratios.max() / ratios.min() < 1.6  # four levels, each squared


@pytest.mark.parametrize(("severity", "rise"), levels(0.05, 0.1, 0.15, 0.2, 0.3))
def test_brightness_raises_the_value_of_hsv(severity: int, rise: float, images: Images) -> None:
    hsv = cv2.cvtColor((images[:20].reshape(-1, 32, 3) / 255).astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + rise, 0, 1)
    expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(-1, 32, 32, 3) * 255
    assert np.abs(corrupt(images[:20], "brightness", severity) - expected).max() < 1.01
    assert (corrupt(flat(0, 1), "brightness", severity) == int(rise * 255)).all()


@pytest.mark.parametrize(("severity", "share"), levels(0.75, 0.5, 0.4, 0.3, 0.15))
def test_contrast_shrinks_each_channels_deviation(severity: int, share: float, images: Images) -> None:
    found = corrupt(images, "contrast", severity)
    assert found.std(axis=(1, 2)) == pytest.approx(share * images.std(axis=(1, 2)), abs=0.5)
    assert found.mean(axis=(1, 2)) == pytest.approx(images.mean(axis=(1, 2)), abs=1)


def published_elastic(image: Images, severity: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The published steps for one picture, with its noise taken from `rng` in this module's order."""
    size = 32
    c = [(0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)][severity - 1]
    amplitude, sigma, shift = (size * value for value in c)
    first = np.array([[26, 26], [26, 6], [6, 6]], np.float32)
    second = first + rng.uniform(-shift, shift, (3, 2)).astype(np.float32)
    matrix = cv2.getAffineTransform(first, second)
    warped = cv2.warpAffine(np.float32(image) / 255, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101)
    down, across = (
        ndimage.gaussian_filter(noise, sigma, mode="reflect", truncate=3) * amplitude
        for noise in rng.uniform(-1, 1, (2, size, size))
    )
    x, y, z = np.meshgrid(np.arange(size), np.arange(size), np.arange(3))
    places = (y + down[..., None]).ravel(), (x + across[..., None]).ravel(), z.ravel()
    return np.asarray(ndimage.map_coordinates(warped, places, order=1, mode="reflect").reshape(size, size, 3) * 255)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_elastic_transform_is_what_the_published_steps_make(severity: int, images: Images) -> None:
    found = cifar10c.elastic_transform(images[:1], severity, np.random.default_rng(3))[0]
    assert np.abs(found - published_elastic(images[0], severity, np.random.default_rng(3))).max() < 1.01


@pytest.mark.parametrize(("severity", "small"), levels(30, 28, 27, 24, 20))
def test_pixelate_keeps_as_many_rows_as_the_small_picture_has(severity: int, small: int, images: Images) -> None:
    found = corrupt(images[:5], "pixelate", severity)
    for image in found:
        assert len(np.unique(image.reshape(32, -1), axis=0)) == small
    assert found.mean() == pytest.approx(images[:5].mean(), abs=1)


@pytest.mark.parametrize(("severity", "quality"), levels(80, 65, 58, 50, 40))
def test_jpeg_has_the_published_quality(severity: int, quality: int, images: Images) -> None:
    file = io.BytesIO()
    Image.fromarray(images[0]).save(file, "JPEG", quality=quality)
    assert np.array_equal(corrupt(images[:1], "jpeg_compression", severity)[0], np.asarray(Image.open(file)))


def test_the_pictures_of_corruptions_that_need_no_library_stay_as_they_were(images: Images) -> None:
    """A digest for what depends on NumPy's generator and plain arithmetic only: figures compare from year to year."""
    names = ("gaussian_noise", "impulse_noise", "contrast")
    found = b"".join(corrupt(images[:10], name, 5).tobytes() for name in names)
    assert hashlib.sha256(found).hexdigest() == "b19e2ad85afb098ff02d130d6ac627a2cb48ecfa3420643ca2a056da9ba008f4"
