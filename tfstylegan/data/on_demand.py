"""A source whose images are read and fitted whenever they are asked for."""

import concurrent.futures
import os

import numpy as np

from tfstylegan.data import collection, decoding, images


class OnDemandSource:
    """Images of a collection, read and fitted whenever they are asked for.

    `kept`, int [N]: which of them, in order.
    """

    def __init__(
        self,
        images_of: collection.Collection,
        kept: np.ndarray,
        image_shape: tuple[int, int, int],
        labels: np.ndarray,
        *,
        description: str,
        fingerprint: str,
    ):
        self.image_shape = image_shape
        self.labels = labels
        self.label_dim = labels.shape[1]
        self.description = description
        self.fingerprint = fingerprint
        self._collection = images_of
        self._kept = kept
        self._path = getattr(images_of, "path", None)
        self._pool = concurrent.futures.ThreadPoolExecutor(threads())

    def __len__(self) -> int:
        return len(self._kept)

    def image(self, index: int) -> np.ndarray:
        place = int(self._kept[index])
        try:
            return fit(self._collection.read(place), self.image_shape)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"{where(self._collection, place)} could be read when training began "
                f"and cannot be now: {error}"
            ) from error

    def images(self, indices: np.ndarray) -> np.ndarray:
        decoders = decoding.shared()
        found = decoders and decoders.empty([len(indices), *self.image_shape])
        if not found:
            return np.stack(list(self._pool.map(self.image, indices)))
        batch, offset = found
        size = decoders.chunk(len(indices))

        def begin(first):
            rows = range(first, min(first + size, len(indices)))
            return self._begin(decoders, indices, rows, batch, offset)

        # Where the decoders read the files, nothing is worth a thread here.
        run = map if self._path else self._pool.map
        for left, rows, answer in list(run(begin, range(0, len(indices), size))):
            done = answer.result() if rows else b""
            left += [row for row, good in zip(rows, done, strict=True) if not good]
            for row in sorted(left):
                batch[row] = self.image(indices[row])  # or the reason why it is not
        return batch

    def _begin(self, decoders, indices, rows, batch, offset) -> tuple:
        """Has some images decoded, gives (rows left, rows begun, answer to come)."""
        read = self._path or self._collection.read
        left, begun, files = [], [], []
        for row in rows:
            try:
                file = read(int(self._kept[indices[row]]))
                if isinstance(file, np.ndarray):
                    batch[row] = fit(file, self.image_shape)
                    continue
            except (OSError, ValueError):
                left.append(row)
                continue
            begun.append(row)
            files.append(file)
        offsets = [offset + row * batch[0].nbytes for row in begun]
        return left, begun, files and decoders.decode(files, offsets, batch)


def fit(data: bytes | np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """What a collection reads as uint8 `shape`, [H, W, C]; ValueError, see `images`."""
    fit = images.fit_pixels if isinstance(data, np.ndarray) else images.decode
    height, width, channels = shape
    return fit(data, height=height, width=width, channels=channels)


def where(images_of: collection.Collection, index: int) -> str:
    """How messages call an image."""
    return os.path.join(images_of.root, images_of.names[index])


def threads() -> int:
    """How many read at once."""
    return min(32, os.cpu_count() or 1)
