"""Pickles whose data cannot be: states, arrays, networks, storages, tensors, files.

Each comes as (name, bytes, regular expression of its refusal).
"""

import pathlib
import struct

import pickle_pieces as p
from pickle_pieces import Code, encode

PICKLES = pathlib.Path(__file__).parent / "data" / "pickles"
ASKS = "the pickle asks for "


def state_cases():
    plain = ("numpy", "dtype", "f4", False, True)
    fields = (3, "<", None, ("a",), {"a": 1}, -1, -1, 0)
    for name, made, words in (
        ("list", p.built(Code(b"]"), {}), "state of list"),
        ("global", p.built(p.named("numpy", "ndarray"), {}), "state of numpy.ndarray"),
        ("string", p.built(Code(encode("a")), {}), "state of str"),
        ("dict", p.built(Code(b"}"), {"__class__": "x"}), "state of dict"),
        ("dict by slots", p.built(Code(b"}"), (None, {"a": 1})), "state of dict"),
        ("network by slots", p.network(raw=(None, {"state": {}})), "from \\(tuple\\)"),
        ("network by None", p.network(raw=None, version=None), "version NoneType"),
        ("its class", p.network(raw={"__class__": p.network()}), "version NoneType"),
        ("its dict", p.network(raw={"__dict__": {"version": 4}}), "version NoneType"),
        ("its setstate", p.network(__setstate__=p.named("numpy", "dtype")), "dtype"),
        ("module", p.built(p.module(), {"state": {}}), "state of Module"),
        ("tensor", p.built(p.tensor(), {"data": 1}), "state of ndarray"),
        ("dtype fields", p.built(p.call(*plain), fields), "state of a dtype"),
        ("dtype order", p.dtype(order="!"), "byte order '!'"),
        ("dtype by dict", p.built(p.call(*plain), {"names": 1}), "state of a dtype"),
        ("array by dict", p.built(p.empty_array(), {"shape": 1}), "state of an array"),
        ("array by text", p.array(kind="f4"), "state of an array"),
        ("array of objects", p.array(data=[1, 2]), "state of an array"),
        ("shape list", p.array([2]), "state of an array"),
        ("2^40 numbers", p.array((1 << 40,)), "2 numbers do not make"),
        ("2^60 numbers", p.array((1 << 30, 1 << 30)), "more than"),
        ("2^100 numbers", p.array((1 << 100,)), "more than"),
        ("huge and empty", p.array((0, 1 << 60, 1 << 60), b""), "more than"),
        ("negative size", p.array((-2,)), "at least 0"),
        ("two negative", p.array((-1, -2)), "at least 0"),
        ("fraction", p.array((2.0,)), "at least 0"),
        ("9 dimensions", p.array((1,) * 8 + (2,)), "9 dimensions"),
        ("odd bytes", p.array(data=bytes(7)), "7 bytes"),
    ):
        yield f"state: {name}", p.file((made, p.network(), p.network())), words
        variable = p.tensorflow(variables=[("a", made)])
        if b"Network" not in made:
            yield f"variable: {name}", variable, words


def network_cases():
    for name, changes, words in (
        ("version 1", {"version": 1}, "version '1'"),
        ("version 6", {"version": 6}, "version '6'"),
        ("no name", {"build_func_name": None}, "NoneType as its build_func_name"),
        ("line noise", {"build_func_name": "a\x1b[2J"}, "plain string"),
        ("list arguments", {"static_kwargs": []}, "list as its static_kwargs"),
        ("text component", {"components": {"a": "b"}}, "str as a component"),
        ("dict of variables", {"variables": {}}, "dict as its variables"),
        ("a variable of 3", {"variables": [(1, 2, 3)]}, "tuple as a variable"),
        ("number as name", {"variables": [(1, p.array())]}, "plain string"),
        ("twice", {"variables": [("a", p.array())] * 2}, "two variables a"),
        ("text", {"variables": [("a", "b")]}, "str, not an array"),
        ("no state", {"variables": [("a", p.empty_array())]}, "NoneType, not an array"),
        ("module", {"variables": [("a", p.module())]}, "Module, not an array"),
        ("argument", {"static_kwargs": {"a": p.module()}}, "hold Module"),
        ("number as argument", {"static_kwargs": {1: 2}}, "plain string"),
        ("entry", {"a\n": 1}, "plain string"),
    ):
        yield f"network: {name}", p.tensorflow(**changes), words


def storage_cases():
    huge = p.storage_id(1 << 40)
    minus = p.stream().replace(struct.pack("<q", 4), struct.pack("<q", -1))
    inner = p.load(p.stream())
    for name, payload, words in (
        ("nothing", b"", "asks for 1 bytes"),
        ("text", "import os", "opcode"),
        ("number", 5, "_load_from_bytes cannot"),
        ("magic", p.stream(magic=1), "no torch file"),
        ("big-endian", p.stream(little=False), "little-endian"),
        ("no storage", p.stream({}, keys=()), "holds dict"),
        ("other keys", p.stream(keys=("1",)), "other storages"),
        ("endless keys", p.stream(keys=("0",) * 1000), "other storages"),
        ("short", p.stream(data=bytes(15)), "asks for 16 bytes"),
        ("2^40", p.stream(huge, size=1 << 40), "asks for 4398046511104"),
        ("-1", p.stream(p.storage_id(-1), size=-1), "has '-1' numbers"),
        ("-1 later", minus, "holds -1"),
        ("two sizes", p.stream([p.storage_id(4), p.storage_id(5)]), "two types"),
        ("unknown", p.stream(p.storage_id(kind="QInt8Storage")), ASKS + "torch.QInt8"),
        ("other word", p.stream(p.storage_id(word="module")), "is of torch.Float"),
        ("other id", p.stream(Code(b"]Q")), "storage cannot be made"),
        ("nested", p.stream(inner), ASKS + "torch.storage"),
        ("tensor", p.stream(p.tensor()), ASKS + "torch._utils"),
    ):
        yield f"storage: {name}", p.torch(p.load(payload)), words


def archive_cases():
    stored = p.archive()
    central = stored.index(b"PK\x01\x02")

    def changed(at, form, *numbers):
        patch = struct.pack(form, *numbers)
        return stored[:at] + patch + stored[at + len(patch) :]

    bomb = p.archive(data=bytes(10**7), packed=True)
    member = p.storage_id(key="../../etc/passwd")
    twice = p.archive(extra=[("archive/dAta/0", bytes(16))])
    twice = twice.replace(b"dAta", b"data")
    for name, payload, words in (
        ("bomb", bomb, "is packed"),
        ("locked", changed(central + 8, "<H", 1), "is packed"),
        (
            "zip sizes",
            changed(central + 20, "<II", 1 << 30, 1 << 30),
            "8 times the bytes",
        ),
        ("two sizes in zip", changed(central + 24, "<I", 1 << 30), "two sizes"),
        ("zip offset", changed(central + 42, "<I", 0x7FFFFFFF), "broken"),
        ("twice", twice, "twice"),
        ("zip damaged", changed(60, "<B", 0xAA), "broken"),
        ("zip cut", stored[:-30], "broken"),
        ("zip alone", b"PK\x03\x04", "broken"),
        ("no member", p.archive(data=None), "no storage '0'"),
        ("short member", p.archive(data=bytes(15)), "has 15 bytes"),
        ("zip 2^40", p.archive(p.storage_id(1 << 40)), "has 16 bytes"),
        ("two pickles", p.archive(extra=[("x/data.pkl", p.file(1))]), "2 pickles"),
        ("no pickle", p.archive(name="a/../.."), "0 pickles"),
        ("path", p.archive(member), "no storage"),
        ("order", p.archive(extra=[("archive/byteorder", "big")]), "little-endian"),
        ("members", p.archive(extra=[(f"{i}", "") for i in range(1001)]), "more than"),
    ):
        yield f"archive: {name}", p.torch(p.load(payload)), words


def tensor_cases():
    for name, changes, words in (
        ("negative stride", {"stride": (-2, 1), "offset": 3}, "reaches out"),
        ("negative offset", {"offset": -1}, "reaches out"),
        ("offset", {"offset": 1}, "reaches out"),
        ("far offset", {"offset": 1 << 100}, "reaches out"),
        ("far stride", {"stride": (1 << 100, 1)}, "reaches out"),
        ("wide stride", {"stride": (3, 1)}, "reaches out"),
        ("repeated", {"size": (5,), "stride": (0,)}, "repeats a storage"),
        ("2^40", {"size": (1 << 40,), "stride": (0,)}, "repeats a storage"),
        ("2^60", {"size": (1 << 60,), "stride": (0,)}, "more than"),
        ("negative size", {"size": (-2, 2)}, "at least 0"),
        ("fraction", {"size": (2.0, 2)}, "at least 0"),
        ("stride fraction", {"stride": (2.0, 1)}, "other strides"),
        ("one stride", {"stride": (1,)}, "other strides"),
        ("9 sizes", {"size": (1,) * 9, "stride": (1,) * 9}, "9 dimensions"),
        ("no storage", {"storage": Code(b"N")}, "tensor cannot be made"),
        ("an array", {"storage": p.array()}, "tensor cannot be made"),
    ):
        weights = {"weight": p.tensor(**changes)}
        yield f"tensor: {name}", p.torch(p.module(_parameters=weights)), words


def module_cases():
    for name, module, words in (
        ("function", p.module(meta={"type": "func"}), "torch 'func'"),
        ("version", p.module(meta={"version": 7}), "version '7'"),
        ("no state", p.module(meta={"state": None}), "torch module cannot be made"),
        ("class", p.module(meta={"class_name": b"a"}), "torch module cannot be made"),
        ("line noise", p.module(meta={"class_name": "\x1b[2J"}), "plain string"),
        ("text", "a module", "G cannot be made from"),
        ("child", p.module(_modules={"a": {}}), "dict as a module"),
        ("child name", p.module(_modules={1: p.module()}), "plain string"),
        ("parameter", p.module(_parameters={"a": "b"}), "str, not an array"),
        ("parameters", p.module(_parameters=[]), "list as its _parameters"),
        ("buffer name", p.module(_buffers={"a\n": p.tensor()}), "plain string"),
        ("arguments", p.module(_init_kwargs=[]), "list as its _init_kwargs"),
        ("argument", p.module(_init_args=(p.module(),)), "hold Module"),
    ):
        yield f"module: {name}", p.torch(module), words


def file_cases():
    yield "empty", b"", "asks for 1 bytes"
    yield "text", b"G, D, Gs = load()", "opcode"
    yield "page", b"<!DOCTYPE html><html></html>", "opcode"
    yield "zip", p.archive(), "opcode PERSID"
    yield "number", p.file(1), "holds int"
    yield "no networks", p.file({"g": 1}), "none of the networks"
    yield "two networks", p.file((p.network(), p.network())), "checkpoint cannot"
    yield "modules", p.file((p.module(),) * 3), "checkpoint cannot be made"
    yield "network as G", p.file({"G": p.network()}), "G cannot be made from"
    for path in sorted(PICKLES.glob("*.pkl")):
        data = path.read_bytes()
        for part in (0.1, 0.5, 0.999):
            yield f"{path.stem} {part}", data[: int(part * len(data))], "are left"
        yield f"{path.stem} without its end", data[:-1], "are left"
        yield f"{path.stem} without its start", data[100:], ""
