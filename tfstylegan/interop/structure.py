"""What the variables of a published network tell, beside its arguments."""

import re
from typing import NamedTuple

from tfstylegan import fmaps

WIDTHS = ("data.channels", "label_dim", "generator.z_dim", "generator.w_dim")


class Patterns(NamedTuple):
    """Regular expressions that find in names of variables ..."""

    rgb: str  # kernels of to_rgb and from_rgb
    lod: str  # those of growing networks
    skip: str  # kernels of residual shortcuts
    size: str  # a resolution, as its group 1


def architecture(names, patterns):
    """growing, resnet, skip or orig; None where no layer makes or reads an image."""
    images = _count(patterns.rgb, names)
    if _count(patterns.lod, names):
        return "growing"
    if images and _count(patterns.skip, names):
        return "resnet"
    return {0: None, 1: "orig"}.get(images, "skip")


def checked(arrays, patterns, values, *, part, stated, where):
    """The `architecture` of arrays {name: array} that are to have these fields.

    `part` is "generator" or "discriminator", `stated` the architecture by the file's
    arguments, if any. Raises ValueError where the two contradict each other, before
    anything is built: what a file says must not make a larger network than it holds.
    """
    found = architecture(arrays, patterns)
    if found is None:
        raise ValueError(f"{where} holds no layers that read or make an image")
    if found != "growing" and stated not in (None, found):
        raise ValueError(
            f"architecture of {where} is {stated!r}, but its variables are those of "
            f"{found!r}"
        )
    sizes = [int(size) for name in arrays for size in re.findall(patterns.size, name)]
    resolution = values["data.resolution"]
    if resolution != max(sizes, default=0):
        raise ValueError(
            f"the resolution of {where} is {resolution}, but its variables go up to "
            f"{max(sizes, default=0)}"
        )
    largest = max(max(array.shape, default=0) for array in arrays.values())
    numbers = {field: values[field] for field in WIDTHS if field in values}
    options = {n: values.get(f"{part}.{n}", 1) for n in ("fmap_base", "fmap_max")}
    options["fmap_min"] = values.get(f"{part}.fmap_min", 1)
    numbers["number of feature maps"] = fmaps.at_level(0, **options)
    for field, number in numbers.items():
        if number > largest:
            raise ValueError(
                f"the {field} of {where} is {number}, but no variable is so large"
            )
    layers = values.get(f"{part}.mapping_layers", 0)
    if layers > max(len(arrays), 8):
        raise ValueError(
            f"the number of mapping layers of {where} is {layers}, but it has "
            f"{len(arrays)} variables"
        )
    return found


def _count(pattern, names):
    return sum(bool(re.search(pattern, name)) for name in names)
