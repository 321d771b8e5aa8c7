"""Features without trained weights; mean and covariance of streamed features."""

import numpy as np

SIDE = 32  # pixels; larger images are averaged down towards it
BLOCK = 8192  # rows; of 2048 features 128 MiB, and a third more work than the product
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
        small = f"{height // self.factor}x{width // self.factor}"
        self.manifest = {
            "detector": "pixels",
            "dims": self.dims,
            "seed": SEED,
            "resize": f"means of squares to {small}" if self.factor > 1 else "none",
        }
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
    LeVeque 1983), which does not lose digits where the mean is large. By default each
    is merged as it comes. With `block` rows are gathered and merged so many at a time:
    a merge reads and writes [dims, dims] several times, which for the 2048 dims of
    Inception takes longer than the product itself unless there are thousands of rows
    (`BLOCK`); nor do results then depend on where one batch ends and the next begins.
    """

    def __init__(self, dims: int, *, block: int | None = None):
        if block is not None and block < 1:
            raise ValueError(f"block must be at least 1, got {block!r}.")
        self._gathered = np.empty([block or 0, dims])
        self._waiting = 0  # rows gathered
        self._merged = 0
        self._mean = np.zeros([dims])
        self._scatter = np.zeros([dims, dims])  # sum of (x - mean)(x - mean)^T
        self._product = np.empty([dims, dims])  # of one merge

    @property
    def count(self) -> int:
        """Features so far."""
        return self._merged + self._waiting

    def update(self, features: np.ndarray) -> None:
        """Adds features [N, dims]."""
        features = np.asarray(features)
        if features.ndim != 2 or features.shape[1] != len(self._mean):
            raise ValueError(
                f"features must be [N, {len(self._mean)}], got {list(features.shape)}."
            )
        block = len(self._gathered)
        if not block and len(features):
            self._merge(features.astype(np.float64, copy=False))
        while block and len(features):
            rows = features[: block - self._waiting]
            self._gathered[self._waiting : self._waiting + len(rows)] = rows
            self._waiting += len(rows)
            features = features[len(rows) :]
            if self._waiting == block:
                self._merge_gathered()

    @property
    def mean(self) -> np.ndarray:
        """Mean [dims]."""
        self._merge_gathered()
        return self._mean

    @classmethod
    def of(cls, *, count: int, mean: np.ndarray, scatter: np.ndarray):
        """Statistics as `state` gave them."""
        statistics = cls(len(mean))
        statistics._merged, statistics._mean = int(count), np.asarray(mean)
        statistics._scatter = np.asarray(scatter)
        return statistics

    def state(self) -> dict:
        """{"count", "mean", "scatter"}: arrays that `of` takes."""
        self._merge_gathered()
        return {"count": self.count, "mean": self._mean, "scatter": self._scatter}

    def covariance(self, *, ddof: int = 1) -> np.ndarray:
        """Covariance [dims, dims]; divides by count - ddof (1: unbiased, as np.cov)."""
        if self.count <= ddof:
            raise ValueError(
                f"a covariance with ddof={ddof} needs more than {ddof} features, got "
                f"{self.count}."
            )
        self._merge_gathered()
        return self._scatter / (self.count - ddof)

    def _merge_gathered(self):
        rows, self._waiting = self._gathered[: self._waiting], 0
        if len(rows):
            self._merge(rows, out=rows)

    def _merge(self, features, out=None):
        """Adds features [N, dims]; `out` is an array to centre them in."""
        added = len(features)
        mean = features.mean(axis=0)
        if not np.isfinite(mean).all():  # as each feature must be
            raise ValueError(
                f"features must be finite, got NaN or infinity among {added} rows."
            )
        centred = np.subtract(features, mean, out=out)
        total = self._merged + added
        delta = mean - self._mean
        self._scatter += np.matmul(centred.T, centred, out=self._product)
        np.multiply.outer(delta, delta, out=self._product)
        self._product *= self._merged * added / total
        self._scatter += self._product
        self._mean = self._mean + delta * (added / total)
        self._merged = total
