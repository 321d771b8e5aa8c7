"""Official StyleGAN checkpoints: pickles of TensorFlow and of PyTorch networks.

Both formats embed the Python source of their networks, and the original loaders run
it. Here it is dropped: a checkpoint is read as names, numbers and arrays, see
`restricted` for how. Neither TensorFlow 1, PyTorch nor dnnlib is needed.
"""

import dataclasses
import os
from typing import BinaryIO

from tfstylegan.interop import arrays, entries, restricted, torch_storage
from tfstylegan.interop.machine import Machine
from tfstylegan.interop.restricted import (
    Budget,
    Global,
    Limits,
    PickleError,
    Stateful,
    expect,
    kind_of,
    short,
)

__all__ = [
    "Checkpoint",
    "Limits",
    "NetworkRecord",
    "PickleError",
    "read",
    "read_network",
]

TENSORFLOW_VERSIONS = range(2, 6)
TORCH_VERSIONS = range(1, 7)
DEFAULTS = Limits()
NETWORKS = ("G", "D", "G_ema")
READ_ENTRIES = {  # of a TensorFlow network; the source is dropped
    *("version", "build_func_name", "static_kwargs", "components", "variables"),
    "build_module_src",
}


@dataclasses.dataclass
class NetworkRecord:
    """One network, or a part of one, as its file describes it."""

    kind: str  # TensorFlow: the name of the build function; torch: of the class
    version: int
    arguments: dict  # of that function; positional ones of a class by their index
    components: dict  # TensorFlow: {"mapping": NetworkRecord, ...}; torch: {}
    variables: dict  # name: array; see `read`
    attributes: dict  # other plain entries; torch: with the dotted name of the module


@dataclasses.dataclass
class Checkpoint:
    """The networks of one file."""

    format: str  # "tensorflow" or "torch"
    networks: dict  # "G", "D", "G_ema": NetworkRecord


def read(
    path_or_file: str | os.PathLike | BinaryIO, *, limits: Limits = DEFAULTS
) -> Checkpoint:
    """Reads a checkpoint of StyleGAN, StyleGAN2 or StyleGAN2-ADA.

    Variables of TensorFlow networks have their local names in the order of the file
    (those of a component without its prefix), variables of torch networks the names of
    the state dict, in its order: parameters, then buffers of a module, then its
    children ("synthesis.b4.conv1.affine.weight"). The arrays are of the type in the
    file (bfloat16 as float32), of any strides, and mostly views that cannot be written
    to.

    Raises PickleError for a file that is broken, hostile or of another kind and
    OSError for one that cannot be opened.
    """
    content, budget = _load(path_or_file, limits)
    if type(content) is tuple:
        return _tensorflow_checkpoint(content, budget)
    if type(content) is dict:
        return _torch_checkpoint(content, budget)
    raise PickleError(f"the file holds {kind_of(content)}, not networks.")


def read_network(
    path_or_file: str | os.PathLike | BinaryIO, *, limits: Limits = DEFAULTS
) -> NetworkRecord:
    """Reads a file of one TensorFlow network on its own, as `read` does checkpoints."""
    content, budget = _load(path_or_file, limits)
    if not isinstance(content, Network):
        raise PickleError(f"the file holds {kind_of(content)}, not one network.")
    return _network_record("the network", content, budget, depth=0)


def _load(path_or_file, limits):
    """(what a pickle holds, the budget that is left)."""
    data = restricted.read_all(path_or_file, limits.file_bytes)
    budget = Budget(limits, len(data))
    return Machine(data, NAMES, budget).load(), budget


class Network(Stateful):
    """What stands for dnnlib's Network: its state and nothing else."""

    def __init__(self):
        self.state = {}

    def set_state(self, state: object, budget: Budget) -> None:
        self.state = expect("a network", (state,), dict)[0]


class Module:
    """What stands for a torch module: class, version and state."""

    def __init__(self, kind: str, version: int, state: dict):
        self.kind = kind
        self.version = version
        self.state = state


def _network(args, budget):
    expect("a network", args)
    return Network()


def _module(args, budget):
    (meta,) = expect("a torch module", args, dict)
    wanted = ("type", "version", "class_name", "state")
    fields = tuple(meta.get(name) for name in wanted)
    word, version, kind, state = expect("a torch module", fields, str, int, str, dict)
    if word != "class" or version not in TORCH_VERSIONS:
        raise PickleError(f"a torch {short(word)} of version {short(version)}.")
    return Module(kind, version, state)


def _tensorflow_checkpoint(content: tuple, budget: Budget) -> Checkpoint:
    networks = expect("a checkpoint", content, Network, Network, Network)
    records = {}
    for name, network in zip(("G", "D", "G_ema"), networks):
        records[name] = _network_record(name, network, budget, depth=0)
    return Checkpoint("tensorflow", records)


def _network_record(
    where: str, network: Network, budget: Budget, *, depth: int
) -> NetworkRecord:
    budget.spend(1)
    if depth > 2:
        raise PickleError(f"{where} has components of components.")
    state = network.state
    budget.spend(len(state))
    version = state.get("version")
    if type(version) is not int or version not in TENSORFLOW_VERSIONS:
        raise PickleError(
            f"{where} has version {entries.shown(version)}; 2 to 5 are read."
        )
    kind = entries.name_of(where, entries.entry(where, state, "build_func_name", str))
    arguments = entries.entry(where, state, "static_kwargs", dict)
    parts = entries.entry(where, state, "components", dict, {})
    components = {}
    for name, part in parts.items():
        if not isinstance(part, Network):
            raise PickleError(f"{where} has {kind_of(part)} as a component.")
        place = f"{where}/{entries.name_of(where, name)}"
        components[name] = _network_record(place, part, budget, depth=depth + 1)
    variables = {}
    for pair in entries.entry(where, state, "variables", list):
        budget.spend(1)
        if type(pair) not in (tuple, list) or len(pair) != 2:
            raise PickleError(f"{where} has {kind_of(pair)} as a variable.")
        name = entries.name_of(where, pair[0])
        if name in variables:
            raise PickleError(f"{where} has two variables {name}.")
        variables[name] = entries.array(f"{where}/{name}", pair[1])
    rest = {key: value for key, value in state.items() if key not in READ_ENTRIES}
    return NetworkRecord(
        kind=kind,
        version=version,
        arguments=entries.plain_entries(f"arguments of {where}", arguments, budget),
        components=components,
        variables=variables,
        attributes=entries.plain_entries(f"entries of {where}", rest, budget),
    )


def _torch_checkpoint(content: dict, budget: Budget) -> Checkpoint:
    records = {}
    for name in NETWORKS:
        if name in content:
            module = expect(name, (content[name],), Module)[0]
            records[name] = _module_record(name, module, budget)
    if not records:
        raise PickleError("the file holds none of the networks G, D and G_ema.")
    return Checkpoint("torch", records)


def _module_record(where: str, module: Module, budget: Budget) -> NetworkRecord:
    named = entries.entry(where, module.state, "_init_kwargs", dict, {})
    unnamed = entries.entry(where, module.state, "_init_args", tuple, ())
    here = f"arguments of {where}"
    arguments = entries.plain_entries(here, named, budget)
    arguments |= enumerate(entries.plain(here, unnamed, budget))
    record = NetworkRecord(
        kind=entries.name_of(where, module.kind),
        version=module.version,
        arguments=arguments,
        components={},
        variables={},
        attributes={},
    )
    _add_module(record, where, "", module, budget, depth=0)
    return record


def _add_module(record, where, prefix, module, budget, *, depth) -> None:
    """Adds what `module` holds to the record, under names that start with `prefix`."""
    budget.check_depth(depth)
    budget.spend(len(module.state))

    def below(name):
        budget.spend(1)
        budget.spend_bytes(len(prefix))
        return prefix + entries.name_of(where, name)

    for key in ("_parameters", "_buffers"):
        for name, value in entries.entry(where, module.state, key, dict, {}).items():
            if value is not None:
                record.variables[below(name)] = entries.array(f"{where}: {name}", value)
    for name, value in module.state.items():
        if not entries.name_of(where, name).startswith("_") and entries.is_simple(
            value
        ):
            record.attributes[below(name)] = entries.plain(where, value, budget)
    for name, child in entries.entry(where, module.state, "_modules", dict, {}).items():
        if isinstance(child, Module):
            _add_module(
                record, where, below(name) + ".", child, budget, depth=depth + 1
            )
        elif child is not None:
            raise PickleError(f"{where} has {kind_of(child)} as a module.")


NETWORK_MODULES = ("dnnlib.tflib.network", "tfutil")
NAMES = arrays.NAMES | torch_storage.NAMES
NAMES |= {
    (module, "Network"): Global(f"{module}.Network", _network, True)
    for module in NETWORK_MODULES
}
NAMES["torch_utils.persistence", "_reconstruct_persistent_obj"] = Global(
    "torch_utils.persistence._reconstruct_persistent_obj", _module
)
