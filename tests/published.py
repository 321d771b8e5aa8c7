"""Published variables of the golden files -> our networks."""

from tfstylegan.interop import nvidia


def assign(network, arrays, prefix, layout="torch"):
    """Copies what stands under `prefix` into a network, all of it and into all of it.

    `layout` is "torch" or "tensorflow"; see `nvidia.assign`.
    """
    found = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
    nvidia.assign(network, found, layout, prefix)
