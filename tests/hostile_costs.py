"""Pickles that cost more than they weigh: bombs, floods, depth and rings.

Each comes as (name, bytes, regular expression of its refusal).
"""

import pickle_pieces as p
from pickle_pieces import Code, encode

CHILD = Code(b"h\x00")  # what was put into the memo at 0
MUCH = "more than 500000 operations"


def shared_cases():
    """Little that refers to itself so often that walking it would take for ever."""
    tuples = b")q\x00" + b"0h\x00h\x00\x86q\x00" * 60
    lists = b"]q\x00" + b"0](h\x00h\x00eq\x00" * 60
    dicts = b"}q\x00" + b"0}(K\x01h\x00K\x02h\x00uq\x00" * 60
    yield "tuple bomb", p.argument(Code(tuples)), MUCH
    yield "list bomb", p.argument(Code(lists)), MUCH
    yield "dict bomb", p.argument(Code(dicts)), MUCH
    modules = [p.module() + b"q\x00"]
    modules += [p.module(_modules={"a": CHILD, "b": CHILD}) + b"q\x00"] * 40
    yield "module bomb", p.torch(Code(b"0".join(modules))), "more than"
    wide = {str(i): CHILD for i in range(300)}
    nets = [p.network(), p.network(components=wide), p.network(components=wide)]
    nets = Code(b"q\x000".join(nets))
    yield "component bomb", p.file((nets, p.network(), p.network())), MUCH


def many_cases():
    for name, code in {
        "sets": b"\x8f",
        "dicts": b"}NNs",
        "notes": b"N\x94",
        "far notes": b"Nr\xff\xff\xff\xff",
        "networks": b"ctfutil\nNetwork\n)\x81",
        "dtypes": encode(p.dtype()),
        "arrays": encode(p.array()),
        "tensors": encode(p.tensor()),
        "tensors in zip": encode(p.load(p.archive())),
    }.items():
        yield f"many {name}", b"\x80\x04" + code * (3_000_000 // len(code)), "than|asks"


def again_cases():
    """One large piece that is converted again and again."""
    text = p.call("_codecs", "encode", Code(encode("a" * 10**6) + b"q\x00"), "latin1")
    again = p.call("_codecs", "encode", CHILD, "latin1")
    yield "encoded again", p.file([text] + [again] * 1000), "8 times the bytes"
    data = Code(encode(bytes(10**6)) + b"q\x00")
    swapped = p.array((250_000,), data, kind=p.dtype(order=">"))
    more = p.array((250_000,), CHILD, kind=p.dtype(order=">"))
    yield "swapped again", p.file([swapped] + [more] * 1000), "8 times the bytes"
    zipped = p.archive(p.storage_id(250_000), data=bytes(10**6))
    zipped = Code(encode(zipped) + b"q\x00")
    loads = [p.load(zipped)] + [p.load(CHILD)] * 1000
    yield "unzipped again", p.file(loads), "8 times the bytes"
    streamed = p.stream(magic=Code(encode("a" * 10**6) + b"0" + encode(p.MAGIC_NUMBER)))
    loads[0] = p.load(Code(encode(streamed) + b"q\x00"))
    yield "parsed again", p.file(loads), "8 times the bytes"


def deep_cases():
    deep = 10_000
    yield "deep marks", b"\x80\x02" + b"(" * deep + b"t" * deep + b".", "200 levels"
    yield "deep tuples", p.argument(Code(b")" + b"\x85" * deep)), "200 levels"
    yield "deep lists", p.argument(Code(b"]" * deep + b"a" * (deep - 1))), "200 levels"
    yield "deeper", p.file(Code(b")" + b"\x85" * 400_000)), "not networks|from"
    below = Code(b"]" * 200_000 + b"a" * 199_999)
    yield "deeper lists", p.file(below), "holds list"
    around = p.module(_modules={"a": CHILD}) + b"q\x000"
    nested = Code(p.module() + b"q\x000" + around * 300 + CHILD)
    yield "deep modules", p.torch(nested), "200 levels"


def ring_cases():
    ring = Code(b"]q\x00h\x00a")
    yield "ring of a list", p.argument(ring), "200 levels"
    yield "ring of a dict", p.argument(Code(b"}q\x00N" + b"h\x00s")), "200 levels"
    yield "ring of a tuple", p.argument(Code(b"]q\x00h\x00\x85a")), "200 levels"
    itself = p.named("tfutil", "Network") + b")\x81q\x00"
    state = {"version": 4, "build_func_name": "a", "static_kwargs": {}}
    state |= {"components": {"a": CHILD}, "variables": []}
    ring = p.built(Code(itself), state)
    yield "ring of a network", p.file((ring, ring, ring)), "components of components"
    around = b"}q\x00" + encode("_modules") + b"}" + encode("a")
    inside = p.module(meta={"state": CHILD}) + b"ss"
    ring = p.module(meta={"state": Code(around + inside)})
    yield "ring of modules", p.torch(ring), "200 levels"


def key_cases():
    prime = (1 << 61) - 1
    keys = {i * prime: None for i in range(1, 5000)}
    yield "equal hashes", p.argument(keys), "int cannot be a key"
