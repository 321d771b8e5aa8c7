"""What a dataset is to hold, and everything that its bytes depend on."""

import collections
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import PIL

from tfstylegan import __version__
from tfstylegan.data import parallel
from tfstylegan.data import recipe as recipe_lib
from tfstylegan.data.tfrecords import records

IMAGES_A_SHARD = 1024  # by default
SIZES_TOLD = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What to write, where, and how.

    `open_source` gives the `Collection`; it is called in every process, so it must be
    picklable. `labels` float32 [N, T] replace the collection's. `keep` are the indices
    of the images to take, by default all.
    """

    open_source: Callable
    outdir: pathlib.Path
    recipe: recipe_lib.Recipe = recipe_lib.Recipe()
    labels: np.ndarray | None = None
    keep: Sequence[int] | None = None
    shuffle_seed: int | None = None
    max_images: int | None = None
    shards: int | None = None
    skip_corrupt: bool = False
    workers: int = 1


class Plan:
    """A job applied to its source: which images in which shard, in which size.

    `names` of all images of the source, `labels` as `example.Example` has them, `order`
    the indices to write, `recipe` with a size, `shards` {file name: indices} and
    `settings`, JSON that tells two datasets apart.

    Raises ValueError where there is no image, the images have several sizes and the
    recipe none, the labels are not those of the images, or a shard would be empty.
    """

    def __init__(self, job: Job):
        source = job.open_source()
        self.names = source.names
        self.labels = Labels(source.labels if job.labels is None else job.labels)
        if len(self.labels.array) != len(source):
            raise ValueError(
                f"labels must be of {len(source)} images; got {len(self.labels.array)}"
            )
        self.order = _order(job, len(source))
        self.recipe = job.recipe
        if job.recipe.size is None:
            size = _common_size(job, self.order)
            self.recipe = dataclasses.replace(job.recipe, size=size)
        count = job.shards or -(-len(self.order) // IMAGES_A_SHARD)
        if not 1 <= count <= len(self.order):
            raise ValueError(
                f"shards must be from 1 to the number of images, {len(self.order)}; "
                f"got {count}"
            )
        self.shards = _shards(job.outdir.name, self.order, count)
        self.settings = self._settings(job, source.description)

    def _settings(self, job, description):
        content = hashlib.sha256(self.labels.array.tobytes())
        for i in self.order:
            content.update(f"{i} {self.names[i]}\0".encode(errors="surrogateescape"))
        recipe = self.recipe
        return {
            "format": records.FORMAT,
            "version": records.VERSION,
            "tool": f"tfstylegan {__version__}, Pillow {PIL.__version__}",
            "source": description,
            "size": list(recipe.size),
            "channels": recipe.depth,
            "fourth": {"4": "opacity", "rgbd": "depth"}.get(recipe.channels),
            "filter": recipe.filter,
            "fit": recipe.fit,
            "encoding": recipe.encoding,
            "srgb": recipe.srgb,
            "labels": {"kind": self.labels.kind, "width": self.labels.width},
            "shuffle_seed": job.shuffle_seed,
            "max_images": job.max_images,
            "number_of_shards": len(self.shards),
            "names_and_labels": content.hexdigest(),
        }


class Labels:
    """Rows of float32 [N, T] as records hold them: classes where all are one-hot."""

    def __init__(self, array: np.ndarray):
        self.array = np.ascontiguousarray(array, np.float32)
        one_hot = ((self.array == 0) | (self.array == 1)).all()
        one_hot = one_hot and (self.array.sum(axis=1) == 1).all()
        self.width = self.array.shape[1]
        self.kind = "none" if not self.width else "class" if one_hot else "vector"

    def __getitem__(self, index: int) -> int | np.ndarray | None:
        if self.kind == "class":
            return int(self.array[index].argmax())
        return self.array[index] if self.width else None


def _order(job, count):
    """Indices into the source, in the order of the dataset."""
    order = range(count) if job.keep is None else job.keep
    if job.shuffle_seed is not None:  # hashes: the same for every version of NumPy
        order = sorted(
            order,
            key=lambda i: hashlib.sha256(f"{job.shuffle_seed}/{i}".encode()).digest(),
        )
    order = list(order[: job.max_images])
    if not order:
        raise ValueError("the source holds no image to write")
    return order


def _common_size(job, order):
    """(H, W) that all images have, by their headers."""
    with parallel.ordered_map(
        _size,
        order,
        setup=job.open_source,
        workers=job.workers,
        title="comparing sizes",
    ) as found:
        # Broken images are told later, when all are decoded.
        sizes = collections.Counter(size for size in found if size is not None)
    if not sizes:
        raise ValueError(f"none of the {len(order)} images can be read")
    if len(sizes) > 1:
        told = [f"{h}x{w} ({n})" for (h, w), n in sizes.most_common(SIZES_TOLD)]
        more = len(sizes) - len(told)
        raise ValueError(
            f"the images have {len(sizes)} sizes, {', '.join(told)}"
            f"{f' and {more} others' if more else ''}: give --size=HxW"
        )
    (size,) = sizes
    recipe_lib.base_grid(*size)
    return size


def _size(source, index):
    try:
        return recipe_lib.size(source.read(index))
    except (ValueError, OSError):
        return None


def _shards(name, order, count):
    bounds = [len(order) * i // count for i in range(count + 1)]
    return {
        f"{name}-{i:05d}-of-{count:05d}.tfrecords": order[bounds[i] : bounds[i + 1]]
        for i in range(count)
    }
