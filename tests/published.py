"""Published variables of the golden files -> our networks."""

from tfstylegan.interop import nvidia, torch_names


def assign(network, arrays, prefix, layout="torch"):
    """Copies what stands under `prefix` into a network, all of it and into all of it.

    `layout` is "torch" or "tensorflow"; see `nvidia.assign`.
    """
    found = {k[len(prefix) :]: v for k, v in arrays.items() if k.startswith(prefix)}
    nvidia.assign(network, found, layout, prefix)


class TorchWeights:
    """Assigns weights stored under stylegan2-ada-pytorch names, others left out."""

    def __init__(self, arrays, prefix):
        self.arrays, self.prefix = arrays, prefix

    def generator(self, network):
        names = {self.prefix + entry.name for entry in torch_names.entries(network)}
        arrays = {name: self.arrays[name] for name in names if name in self.arrays}
        assign(network, arrays, self.prefix)

    discriminator = generator
