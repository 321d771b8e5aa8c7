"""Tensors of PyTorch and the two file formats that hold their numbers.

A pickled tensor names a storage; the storage is a torch file of its own, given as
bytes to `torch.storage._load_from_bytes`. That file is a stream of pickles and raw
numbers (format of 2016, protocol 1001) or a zip archive with one member for a storage
(since PyTorch 1.6). Both are parsed here with the same restricted machine.
"""

import io
import math
import re
import struct
import zipfile

import numpy as np

from tfstylegan.interop import arrays
from tfstylegan.interop.machine import Machine
from tfstylegan.interop.restricted import (
    Budget,
    Global,
    PickleError,
    expect,
    kind_of,
    short,
)

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
ZIP_START = b"PK\x03\x04"
ZIP_ENTRY = b"PK\x01\x02"
MOST_ZIP_ENTRIES = 1000
TYPES = {  # name: (NumPy type, torch's name); bfloat16 is widened after
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<b1",
}


class Storage:
    """Numbers [N] that tensors are views of; `numbers` is None until they are read."""

    def __init__(self, kind: str, size: int):
        self.kind = kind
        self.size = size
        self.numbers = None

    def fill(self, data: bytes | memoryview, budget: Budget) -> None:
        """Takes the raw numbers, which have to be `size` many."""
        dtype = np.dtype(TYPES[self.kind])
        if len(data) != self.size * dtype.itemsize:
            raise PickleError(
                f"a {self.kind} of {self.size} numbers has {len(data)} bytes."
            )
        self.numbers = arrays.numbers(data, dtype, budget)
        if self.kind == "BFloat16Storage":  # the upper half of a float32
            budget.spend_bytes(4 * self.size)
            wide = self.numbers.astype(np.uint32)
            wide <<= 16
            self.numbers = wide.view(np.float32)


class Storages:
    """The storages of one torch file by their keys; `persistent` of its machine."""

    def __init__(self):
        self.by_key = {}

    def persistent(self, identity: object) -> Storage:
        if type(identity) is tuple and len(identity) == 6 and identity[5] is None:
            identity = identity[:5]  # the sixth is a view, which nothing uses any more
        what = "a storage"
        word, kind, key, _, size = expect(what, identity, str, Global, str, str, int)
        if word != "storage" or kind not in STORAGE_TYPES or size < 0:
            raise PickleError(
                f"{what} is of {kind.name} and has {short(size)} numbers."
            )
        name = kind.name.removeprefix("torch.")
        storage = self.by_key.setdefault(key, Storage(name, size))
        if (storage.kind, storage.size) != (name, size):
            raise PickleError(f"storage {short(key)} has two types or sizes.")
        return storage


def load_storage(data: bytes, budget: Budget) -> Storage:
    """The one storage that the torch file in `data` holds."""
    budget.spend(50)
    budget.spend_bytes(len(data))  # a pickle may load the same bytes many times
    storage = load_file(data, NAMES_IN_STORAGE, budget)
    if not isinstance(storage, Storage):
        raise PickleError(f"a torch file holds {kind_of(storage)}, not a storage.")
    return storage


def load_file(data: bytes, names: dict, budget: Budget) -> object:
    """What the torch file in `data` holds, made of `names`, its storages filled.

    These have no numbers yet while `names` are called.
    """
    load = _load_zip if data.startswith(ZIP_START) else _load_stream
    return load(data, names, budget)


def _load_stream(data: bytes, names: dict, budget: Budget) -> object:
    storages = Storages()
    machine = Machine(data, names, budget, persistent=storages.persistent)
    if machine.load() != MAGIC_NUMBER or machine.load() != PROTOCOL_VERSION:
        raise PickleError("the bytes are no torch file of a known format.")
    system = machine.load()
    if type(system) is not dict or system.get("little_endian") is not True:
        raise PickleError("a torch file is not from a little-endian machine.")
    found = machine.load()
    keys = machine.load()
    if type(keys) is not list or keys != list(storages.by_key):
        raise PickleError("a torch file lists other storages than it uses.")
    for storage in storages.by_key.values():
        size = machine.number("<q")
        if size != storage.size:
            raise PickleError(f"a storage of {storage.size} numbers holds {size}.")
        itemsize = np.dtype(TYPES[storage.kind]).itemsize
        storage.fill(machine.view(size * itemsize), budget)
    return found


def _load_zip(data: bytes, names: dict, budget: Budget) -> object:
    entries = data.count(ZIP_ENTRY)  # at most as many members
    if entries > MOST_ZIP_ENTRIES:
        raise PickleError(f"a torch archive of more than {MOST_ZIP_ENTRIES} members.")
    budget.spend(100 * entries)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {}
            for info in archive.infolist():
                if info.filename in members:
                    name = short(info.filename)
                    raise PickleError(f"a torch archive has member {name} twice.")
                members[info.filename] = _read_member(archive, info, budget)
    except PickleError:
        raise
    except (
        zipfile.BadZipFile,
        ArithmeticError,
        EOFError,
        LookupError,
        NotImplementedError,
        OSError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        raise PickleError(f"a torch archive is broken: {short(error)}.") from error
    roots = [name for name in members if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1:
        raise PickleError(f"a torch archive has {len(roots)} pickles, not one.")
    root = roots[0].removesuffix("data.pkl")
    if members.get(f"{root}byteorder", b"little") != b"little":
        raise PickleError("a torch archive is not from a little-endian machine.")
    storages = Storages()
    pickled = members[roots[0]]
    found = Machine(pickled, names, budget, persistent=storages.persistent).load()
    for key, storage in storages.by_key.items():
        if f"{root}data/{key}" not in members:
            raise PickleError(f"a torch archive has no storage {short(key)}.")
        storage.fill(members[f"{root}data/{key}"], budget)
    return found


def _read_member(archive: zipfile.ZipFile, info, budget: Budget) -> bytes:
    """The bytes of a member, which torch always stores as they are."""
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise PickleError(f"member {short(info.filename)} of an archive is packed.")
    if info.compress_size != info.file_size:
        raise PickleError(f"member {short(info.filename)} of an archive has two sizes.")
    budget.spend_bytes(info.file_size)
    return archive.read(info)


def _load_from_bytes(args, budget):
    (data,) = expect("torch's _load_from_bytes", args, (bytes, str))
    return load_storage(arrays.as_bytes(data, budget), budget)


def rebuild_tensor(args: tuple, budget: Budget) -> np.ndarray:
    """A read-only view [size] of a storage, whatever its strides."""
    budget.spend(20)
    if len(args) == 7:
        args = args[:6]  # the seventh says whether it is conjugated or negated
    kinds = (Storage, int, tuple, tuple, bool, (dict, type(None)))
    storage, offset, size, stride, _, _ = expect("a tensor", args, *kinds)
    count = math.prod(arrays.checked_shape(size))
    flat = storage.numbers
    if flat is None:
        raise PickleError("a tensor is made from a storage that is not read yet.")
    if not count:
        return np.zeros(size, flat.dtype)
    if len(stride) != len(size) or not all(type(n) is int for n in stride):
        raise PickleError(f"a tensor of {len(size)} sizes has other strides.")
    steps = [step if length > 1 else 0 for length, step in zip(size, stride)]
    last = offset + sum((length - 1) * step for length, step in zip(size, steps))
    if offset < 0 or min(steps, default=0) < 0 or last >= flat.size:
        raise PickleError(f"a tensor reaches out of a storage of {flat.size} numbers.")
    if count > flat.size:
        raise PickleError(f"a tensor repeats a storage of {flat.size} numbers.")
    strides = [step * flat.itemsize for step in steps]
    return np.lib.stride_tricks.as_strided(
        flat[offset:], size, strides, writeable=False
    )


def _rebuild_parameter(args, budget):
    kinds = (np.ndarray, bool, (dict, type(None)))
    return expect("torch's _rebuild_parameter", args, *kinds)[0]


def _size(args, budget):
    return expect("torch.Size", args, tuple)[0]


def _device(args, budget):
    if len(args) == 2:
        return expect("torch.device", args, str, int)[0]
    return expect("torch.device", args, str)[0]


STORAGE_TYPES = tuple(Global(f"torch.{name}") for name in TYPES)
NAMES_IN_STORAGE = {("torch", kind.name[6:]): kind for kind in STORAGE_TYPES}
NAMES_IN_STORAGE["collections", "OrderedDict"] = arrays.NAMES[
    "collections", "OrderedDict"
]
NAMES = {
    ("torch._utils", "_rebuild_tensor_v2"): Global(
        "_rebuild_tensor_v2", rebuild_tensor
    ),
    ("torch._utils", "_rebuild_parameter"): Global(
        "_rebuild_parameter", _rebuild_parameter
    ),
    ("torch.storage", "_load_from_bytes"): Global("_load_from_bytes", _load_from_bytes),
    ("torch", "Size"): Global("torch.Size", _size),
    ("torch", "device"): Global("torch.device", _device),
}
