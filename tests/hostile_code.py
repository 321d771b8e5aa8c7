"""Pickles that ask for code: names, opcodes and calls that are not read.

Each comes as (name, bytes, regular expression of its refusal).
"""

import pickle
import struct

import pickle_pieces as p
from pickle_pieces import Code, encode

ASKS = "the pickle asks for "
GLOBALS = """
    os.system posix.system nt.system subprocess.Popen subprocess.check_output
    builtins.eval builtins.exec builtins.getattr builtins.open builtins.__import__
    builtins.slice builtins.bytearray __builtin__.eval __builtin__.apply
    importlib.import_module runpy.run_path pickle.loads copyreg._reconstructor
    operator.attrgetter functools.partial types.FunctionType types.CodeType
    _codecs.decode _codecs.lookup codecs.encode collections.deque
    numpy.load numpy.fromfile numpy.memmap numpy.core.records.recarray
    numpy.testing._private.utils.runstring numpy.core.multiarray.fromfile
    numpy.core.numeric._frombuffer numpy.matrixlib.defmatrix.matrix
    torch.load torch.hub.load torch._utils._rebuild_tensor torch.FloatStorage
    torch.storage.FileOpener torch.jit.load torch.nn.modules.linear.Linear
    torch_utils.persistence._src_to_module torch_utils.persistence.import_hook
    dnnlib.util.call_func_by_name dnnlib.tflib.network._import_handlers
    tfstylegan.interop.nvidia_pickle.Network tfstylegan.interop.machine.Machine
    __main__.canary ..
""".split()


def shell(canary):
    """The classic: a pickle that makes the file `canary` where it is unpickled."""
    return p.call("os", "system", f"touch {canary}")


def globals_cases(canary):
    for dotted in GLOBALS:
        module, _, name = dotted.rpartition(".")
        command = f"open({str(canary)!r}, 'w')"
        yield f"global {dotted}", p.file(p.call(module, name, command)), ASKS + dotted
    text = b"\x80\x04" + b"".join(
        b"\x8c" + bytes([len(part)]) + part for part in (b"builtins", b"exec")
    )
    evaluate = encode((f"open({str(canary)!r}, 'w')",)) + b"R."
    yield "protocol 4", text + b"\x93" + evaluate, ASKS + "builtins.exec"
    for name in ("system.__call__", "path.os.system"):
        dotted = encode("os") + encode(name) + b"\x93" + evaluate
        yield f"dotted {name}", b"\x80\x04" + dotted, ASKS + "os." + name
    inside = encode("dnnlib.tflib.network") + encode("Network.__init__.__globals__")
    yield "dotted inert", b"\x80\x04" + inside + b"\x93.", ASKS + "dnnlib.tflib.network"
    for first, second in ((1, "system"), ("os", None), ("os", []), (b"os", "system")):
        names = encode(first) + encode(second) + b"\x93."
        yield f"name {first} {second}", b"\x80\x04" + names, "not a string"
    yield "endless name", b"\x80\x02c" + b"os" * 10**6 + b"\n", "no name ends"
    yield "long name", p.file(p.named("o" * 250, "s")), ASKS + "ooo"
    yield "line noise", p.file(p.named("\x1b[2J", "s")), r"asks for \\x1b\[2J\.s"
    yield "in variables", p.tensorflow(variables=[("a", shell(canary))]), ASKS + "os"
    yield "in a dropped entry", p.file({"x": shell(canary)}), ASKS + "os.system"
    yield "behind a good one", p.file([p.network(), shell(canary)]), ASKS + "os.system"
    for name, payload in (
        ("stream", p.stream(shell(canary))),
        ("zip", p.archive(shell(canary))),
        ("magic", p.stream(magic=shell(canary))),
        ("keys", p.stream(keys=[shell(canary)])),
    ):
        yield f"in a {name}", p.torch(p.load(payload)), ASKS + "os.system"


def opcode_cases():
    for name, code in {
        "EXT1": b"\x82\x01",
        "EXT2": b"\x83\x01\x00",
        "EXT4": b"\x84\x01\x00\x00\x00",
        "INST": b"(Vtouch x\nios\nsystem\n",
        "OBJ": b"(cdnnlib.util\nEasyDict\no",
        "NEWOBJ_EX": b"cdnnlib.util\nEasyDict\n)}\x92",
        "PERSID": b"P1\n",
        "BYTEARRAY8": b"\x96" + bytes(8),
        "NEXT_BUFFER": b"\x97",
        "READONLY_BUFFER": b"N\x98",
        "FROZENSET": b"(\x91",
        "STRING": b"S'a'\n",
        "UNICODE": b"Va\n",
        "INT": b"I1\n",
        "LONG": b"L" + b"9" * 10**6 + b"L\n",
        "FLOAT": b"F1e9\n",
        "GET": b"g0\n",
        "PUT": b"Np99999999999\n",
        "DICT": b"(d",
        "LIST": b"(l",
        "DUP": b"N2",
    }.items():
        yield f"opcode {name}", b"\x80\x02" + code + b".", "opcode "
    yield "unknown opcode", b"\x80\x04\xff.", "opcode 'ff'"
    yield "protocol 0", pickle.dumps({"G": 1}, 0), "opcode DICT"
    yield "protocol 6", b"\x80\x06N.", "protocol 6"
    yield "persistent id", p.file(p.storage_id()), "torch.FloatStorage"
    yield "plain persistent id", b"\x80\x02K\x01Q.", "persistent id"


def stack_cases():
    for name, code, words in (
        ("no object", b".", "stack is empty"),
        ("no mark", b"t.", "no mark is left"),
        ("no memo", b"h\x05.", "memo 5 is empty"),
        ("nothing to put", b"q\x00.", "nothing to remember"),
        ("nothing to build", b"Nb.", "state of NoneType"),
        ("append to a dict", b"}Na.", "adds to dict"),
        ("append to nothing", b"Na.", "adds to nothing"),
        ("set an item of a list", b"]NNs.", "adds to list"),
        ("set an item of a network", p.network() + b"NNs.", "adds to Network"),
        ("add to a tuple", b")(N\x90.", "adds to tuple"),
        ("key without value", b"}(Nu.", "without a value"),
        ("not UTF-8", b"X\x01\x00\x00\x00\xff.", "not UTF-8"),
        ("bytes of 2^62", b"\x8e" + struct.pack("<Q", 1 << 62), "asks for 46116"),
        ("text of 2^63", b"\x8d" + struct.pack("<Q", 1 << 63), "asks for 92233"),
        ("frame of 2^60", b"\x95" + struct.pack("<Q", 1 << 60), "asks for 11529"),
        ("string of -1", b"T\xff\xff\xff\xff.", "asks for -1"),
        ("integer of -1", b"\x8b\xff\xff\xff\xff.", "asks for -1"),
        ("integer of 2 GB", b"\x8b\xff\xff\xff\x7f.", "integer of 2147483647"),
        ("integer of 1 MB", b"\x8b\0\0\x10\0" + b"9" * (1 << 20), "integer of 1048576"),
        ("integer of 255", b"\x8a\xff" + b"9" * 255 + b".", "integer of 255"),
    ):
        yield name, b"\x80\x02" + code, words


def call_cases():
    ordered = ("collections", "OrderedDict")
    dictionary = ("dnnlib.util", "EasyDict")
    for name, made, words in (
        ("ndarray", p.call("numpy", "ndarray", (1 << 40,)), "calls numpy.ndarray"),
        ("ndarray by NEWOBJ", Code(b"cnumpy\nndarray\n)\x81"), "calls numpy.ndarray"),
        ("function by NEWOBJ", Code(b"cnumpy\ndtype\n)\x81"), "calls numpy.dtype"),
        ("storage type", p.call("torch", "Size", 3), "torch.Size cannot be made"),
        ("device", p.call("torch", "device", ()), "torch.device cannot be made"),
        ("text", Code(encode("os.system") + b")R"), "calls str"),
        ("network object", Code(p.network() + b")R"), "calls Network"),
        ("dict method", Code(b"}" + b")R"), "calls dict"),
        ("argument list", Code(b"cnumpy\ndtype\n]R"), "with list"),
        ("network of a dict", p.call("tfutil", "Network", {}), "from \\(dict\\)"),
        ("dtype of nothing", p.call("numpy", "dtype"), "from \\(\\)"),
        ("dtype of a list", p.call("numpy", "dtype", [("a", "O")], 0, 1), "\\(list"),
        ("array of a type", p.call(p.NUMPY, "_reconstruct", 1, (0,), b"b"), "\\(int"),
        (
            "array of a network",
            p.call(p.NUMPY, "_reconstruct", p.named("tfutil", "Network"), (0,), b"b"),
            "asked for tfutil.Network",
        ),
        ("scalar of text", p.call(p.NUMPY, "scalar", "f4", b"aaaa"), "\\(str, bytes"),
        ("scalar of two", p.call(p.NUMPY, "scalar", p.dtype(), bytes(8)), "2 numbers"),
        ("scalar of half", p.call(p.NUMPY, "scalar", p.dtype(), bytes(2)), "2 bytes"),
        ("rot13", p.call("_codecs", "encode", "bf.flfgrz", "rot13"), "'rot13'"),
        ("zlib", p.call("_codecs", "encode", "x", "zlib"), "'zlib'"),
        ("not latin", p.call("_codecs", "encode", "\u4e00", "latin1"), "not latin-1"),
        ("dict of text", p.call(*ordered, "ab"), "dict cannot be made"),
        ("dict of no pairs", p.call(*ordered, ["ab", "cd"]), "not pairs"),
        ("dict of list keys", p.call(*dictionary, [([], 1)]), "list cannot be a key"),
        ("set of a number", p.call("builtins", "set", 5), "set cannot be made"),
        ("set of lists", p.call("builtins", "set", [[]]), "list cannot be a key"),
        ("key of lists", Code(b"}]Ns"), "list cannot be a key"),
        ("key of a network", Code(b"}" + p.network() + b"Ns"), "Network cannot be"),
        ("key of floats", Code(b"}" + encode(1.5) + b"Ns"), "float cannot be a key"),
        ("nested key", Code(b"})" + b"\x85" * 100_000 + b"Ns"), "tuple cannot be"),
    ):
        yield f"call: {name}", p.argument(made), words
    for name in ("O", "object", "V8", "S5", "U1", "M8[ns]", "f4,f4", "f16", "c8", ""):
        yield f"dtype {name}", p.argument(p.dtype(name)), "not numeric"
    yield "dtype f9...", p.argument(p.dtype("f" + "9" * 10**6)), "not numeric"
