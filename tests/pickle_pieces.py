"""Pickles written piece by piece, good and bad, without the classes they name."""

import io
import struct
import zipfile

NUMPY = "numpy.core.multiarray"
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C


class Code(bytes):
    """Opcodes that leave one object on the stack."""


def encode(value):
    """Plain values in opcodes of protocol 2; Code stands for itself."""
    if isinstance(value, Code):
        return value
    if value is None or value is True or value is False:
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        if abs(value) < 1 << 31:
            return b"J" + struct.pack("<i", value)
        size = value.bit_length() // 8 + 1
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        data = value.encode()
        return b"X" + struct.pack("<I", len(data)) + data
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, tuple):
        return b"(" + b"".join(map(encode, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(encode, value)) + b"e"
    items = (part for item in value.items() for part in item)
    return b"}(" + b"".join(map(encode, items)) + b"u"


def named(module, name):
    return Code(b"c" + module.encode() + b"\n" + name.encode() + b"\n")


def call(module, name, *args):
    return Code(named(module, name) + encode(args) + b"R")


def built(target, state):
    return Code(target + encode(state) + b"b")


def file(value):
    return b"\x80\x02" + encode(value) + b"."


def dtype(name="f4", order="<"):
    made = call("numpy", "dtype", name, False, True)
    return built(made, (3, order, None, None, None, -1, -1, 0))


def empty_array():
    return call(NUMPY, "_reconstruct", named("numpy", "ndarray"), (0,), b"b")


def array(shape=(2,), data=bytes(8), *, kind=None, fortran=False):
    state = (1, shape, dtype() if kind is None else kind, fortran, data)
    return built(empty_array(), state)


def network(*, raw=None, **changes):
    """A TensorFlow network; `raw` replaces its whole state."""
    state = {
        "version": 4,
        "name": "G",
        "static_kwargs": {},
        "components": {},
        "build_module_src": "import nothing",
        "build_func_name": "G_main",
        "variables": [("bias", array())],
    }
    made = Code(named("dnnlib.tflib.network", "Network") + b")\x81")
    return built(made, state | changes if raw is None else raw)


def tensorflow(**changes):
    """A checkpoint whose G has these changes."""
    return file((network(**changes), network(), network()))


def argument(value):
    return tensorflow(static_kwargs={"argument": value})


def module(*, meta=(), **state):
    state = {"_parameters": {}, "_buffers": {}, "_modules": {}} | state
    fields = {"type": "class", "version": 6, "module_src": "import nothing"}
    fields |= {"class_name": "Generator", "state": state} | dict(meta)
    return call("torch_utils.persistence", "_reconstruct_persistent_obj", fields)


def torch(g):
    return file({"G": g})


def storage_id(size=4, *, kind="FloatStorage", key="0", word="storage"):
    what = (word, named("torch", kind), key, "cpu", size, None)
    return Code(encode(what) + b"Q")


def stream(
    found=None, data=bytes(16), *, size=4, keys=("0",), magic=MAGIC_NUMBER, little=True
):
    """A torch file in the older format."""
    found = storage_id(size) if found is None else found
    heads = [magic, 1001, {"protocol_version": 1001, "little_endian": little}]
    pickles = [file(value) for value in [*heads, found, list(keys)]]
    return b"".join(pickles) + struct.pack("<q", size) + data


def archive(found=None, data=bytes(16), *, name="archive", extra=(), packed=False):
    """A torch file in the newer format."""
    target = io.BytesIO()
    members = [(f"{name}/data.pkl", file(found or storage_id())), *extra]
    if data is not None:
        members.append((f"{name}/data/0", data))
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w") as writer:
        for member, content in members:  # a ZipInfo has no time of day
            writer.writestr(zipfile.ZipInfo(member), content, how)
    return target.getvalue()


def load(payload):
    return call("torch.storage", "_load_from_bytes", payload)


def tensor(payload=None, *, offset=0, size=(2, 2), stride=(2, 1), storage=None):
    storage = load(stream() if payload is None else payload) if not storage else storage
    hooks = call("collections", "OrderedDict")
    name = "_rebuild_tensor_v2"
    return call("torch._utils", name, storage, offset, size, stride, False, hooks)


def parameter(**changes):
    hooks = call("collections", "OrderedDict")
    return call("torch._utils", "_rebuild_parameter", tensor(**changes), True, hooks)
