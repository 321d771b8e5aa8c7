"""Features without trained weights; mean and covariance of streamed features."""

import numpy as np

SIDE = 32  # pixels; larger images are averaged down towards it
SEED = 20190212  # fixes the projection for good: values stay comparable


class PixelProjection:
    """Fixed random projection of the downscaled pixels.

    features = x P with x [N, P] the pixels in [-1, 1], averaged over squares until the
    shorter side is below 2 x 32, and P_ij ~ N(0, 1 / P), a function of the shape alone.
    A feature's square is then the image's mean squared pixel on average, whatever the
    resolution. Nothing here is trained: the features see colour, brightness and coarse
    shape, and know nothing of what an image shows.

    `image_shape` (H, W, C); at most `dims` features (there are never more than pixels).
    """

    def __init__(self, image_shape: tuple[int, int, int], *, dims: int = 64):
        if dims < 1:
            raise ValueError(f"dims must be at least 1, got {dims!r}.")
        height, width, channels = image_shape
        self.image_shape = tuple(image_shape)
        self.factor = max(1, min(height, width) // SIDE)
        pixels = (height // self.factor) * (width // self.factor) * channels
        self.dims = min(dims, pixels)
        self.manifest = {"detector": "pixels", "dims": self.dims, "seed": SEED}
        # RandomState: the one generator whose numbers NumPy promises never to change.
        normal = np.random.RandomState(SEED).standard_normal([pixels, self.dims])
        self.matrix = normal / np.sqrt(pixels)  # [P, dims]

    @property
    def description(self) -> str:
        height, width, channels = self.image_shape
        small = f"{height // self.factor}x{width // self.factor}x{channels}"
        return (
            f"{self.dims} fixed random projections of the pixels of {small} images in "
            "[-1, 1]"
        )

    def features(self, images: np.ndarray) -> np.ndarray:
        """uint8 [N, H, W, C] to float64 [N, dims]."""
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape:
            height, width, channels = self.image_shape
            raise ValueError(
                f"images must be uint8 [N, {height}, {width}, {channels}], got "
                f"{images.dtype} {list(images.shape)}."
            )
        x = _box_downscale(images, self.factor)  # [N, H / f, W / f, C]
        x = x * (2 / 255) - 1
        return x.reshape(len(x), self.matrix.shape[0]) @ self.matrix  # [N, dims]


def _box_downscale(images: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor squares, float64; a remainder at the edge is dropped."""
    n, height, width, channels = images.shape
    rows, columns = height // factor, width // factor
    x = images[:, : rows * factor, : columns * factor]
    x = x.reshape(n, rows, factor, columns, factor, channels)
    return x.mean(axis=(2, 4), dtype=np.float64)  # [N, rows, columns, C]


class RunningStatistics:
    """Mean and covariance of features that arrive in batches, in float64.

    Batches are merged by their means and centred scatter matrices (Chan, Golub and
    LeVeque 1983), which does not lose digits where the mean is large.
    """

    def __init__(self, dims: int):
        self.count = 0
        self.mean = np.zeros([dims])
        self._scatter = np.zeros([dims, dims])  # sum of (x - mean)(x - mean)^T

    def update(self, features: np.ndarray) -> None:
        """Adds features [N, dims]."""
        features = np.asarray(features, np.float64)
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise ValueError(
                f"features must be [N, {len(self.mean)}], got {list(features.shape)}."
            )
        added = len(features)
        if added == 0:
            return
        mean = features.mean(axis=0)
        centred = features - mean
        total = self.count + added
        delta = mean - self.mean
        self._scatter += centred.T @ centred
        self._scatter += np.outer(delta, delta) * (self.count * added / total)
        self.mean = self.mean + delta * (added / total)
        self.count = total

    @classmethod
    def of(cls, *, count: int, mean: np.ndarray, scatter: np.ndarray):
        """Statistics as `state` gave them."""
        statistics = cls(len(mean))
        statistics.count, statistics.mean = int(count), np.asarray(mean)
        statistics._scatter = np.asarray(scatter)
        return statistics

    def state(self) -> dict:
        """{"count", "mean", "scatter"}: arrays that `of` takes."""
        return {"count": self.count, "mean": self.mean, "scatter": self._scatter}

    def covariance(self, *, ddof: int = 1) -> np.ndarray:
        """Covariance [dims, dims]; divides by count - ddof (1: unbiased, as np.cov)."""
        if self.count <= ddof:
            raise ValueError(
                f"a covariance with ddof={ddof} needs more than {ddof} features, got "
                f"{self.count}."
            )
        return self._scatter / (self.count - ddof)
