"""Compares two sources, pixels and labels: compare S1 S2.

Exit code 0 where they are equal, 1 with the first differences where they are not.
Grey, RGB and RGBA count as equal where they show the same colours.
"""

import pathlib
import sys

import dataset_create
import numpy as np
from absl import flags

from tfstylegan.data import images, parallel, recipe

flags.disclaim_key_flags()
ARGUMENTS = ("S1", "S2")
TOLD = 10  # differences


class Both:
    """Opens two sources at once; picklable."""

    def __init__(self, *names):
        self.open = [dataset_create.opener(name) for name in names]

    def __call__(self):
        return [open_source() for open_source in self.open]


def main(*names):
    both = Both(*names)
    sources = both()
    pairs, differences = pair(*sources, by=flags.FLAGS.pair)
    with parallel.ordered_map(
        difference,
        pairs,
        setup=both,
        workers=flags.FLAGS.workers,
        title="comparing",
    ) as found:
        differences += [text for text in found if text]
    for text in differences[:TOLD]:
        print(text)
    if len(differences) > TOLD:
        print(f"and {len(differences) - TOLD} more")
    print(f"{len(pairs)} pairs, {len(differences)} differences", file=sys.stderr)
    sys.exit(1 if differences else 0)


def pair(first, second, *, by):
    """([(index, index)], texts on images without a partner)."""
    if by == "order":
        count = min(len(first), len(second))
        texts = []
        if len(first) != len(second):
            texts = [f"{len(first)} images and {len(second)}"]
        return [(i, i) for i in range(count)], texts
    places = [_places(source) for source in (first, second)]
    pairs = [(i, places[1][key]) for key, i in places[0].items() if key in places[1]]
    texts = []
    for number, (here, there) in enumerate((places, places[::-1]), 1):
        texts += [f"{key}: only in S{number}" for key in here if key not in there]
    return pairs, texts


def difference(sources, indices):
    """What differs in one pair, as text; None where nothing does."""
    name = sources[0].names[indices[0]]
    labels = [source.labels[index] for source, index in zip(sources, indices)]
    if not np.array_equal(*labels):
        return f"{name}: label {_label(labels[0])} and {_label(labels[1])}"
    pixels = []
    for number, (source, index) in enumerate(zip(sources, indices), 1):
        try:
            image = images.to_mode(recipe.decode(source.read(index)), "RGBA")
        except (ValueError, OSError) as error:
            return f"{name}: cannot be read in S{number}: {error}"
        pixels.append(np.asarray(image, np.int16))  # [H, W, 4]
    shapes = [f"{array.shape[0]}x{array.shape[1]}" for array in pixels]
    if shapes[0] != shapes[1]:
        return f"{name}: {shapes[0]} and {shapes[1]}"
    error = np.abs(pixels[0] - pixels[1]).max(axis=2)  # [H, W]
    if error.any():
        return (
            f"{name}: {np.count_nonzero(error)} pixels differ, by up to {error.max()}"
        )
    return None


def _places(source):
    """{name without its ending: index}, with it where others have the same."""
    places = {}
    for i, name in enumerate(source.names):
        stem = pathlib.PurePosixPath(name).with_suffix("").as_posix()
        places[name if stem in places else stem] = i
    return places


def _label(row):
    one_hot = len(row) and np.count_nonzero(row) == 1 and row.max() == 1
    return f"class {row.argmax()}" if one_hot else row.tolist()


def define_flags():
    flags.DEFINE_enum(
        "pair",
        "name",
        ["name", "order"],
        "Images of one name, endings apart, or place.",
    )
    dataset_create.define_workers()
