"""Mutated pickles: each is read or refused with a PickleError, and nothing runs.

    python tests/fuzz_nvidia_pickle.py --cases=100000 --seed=0

Exit 0: so it was. Exit 1: the case is printed with its bytes, which `--read=FILE`
reads again (base64).
"""

import argparse
import base64
import collections
import io
import os
import pathlib
import pickletools
import random
import struct
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import hostile_data
import hostile_pickles
import numpy as np
import pickle_pieces as p

from tfstylegan.interop import nvidia_pickle

LONGEST = 6000  # bytes of a seed
OPCODES = [op.code.encode("latin-1") for op in pickletools.opcodes]
NUMBERS = (0, 1, 2, 4, 127, 255, 2**16, 2**31 - 1, 2**32, 2**40, 2**62, 2**63 - 1, -1)
FORMS = ("<b", "<h", "<i", "<q", "<B", "<I", "<Q")


def good():
    """Small checkpoints of every kind that is read."""
    scalar = p.call(p.NUMPY, "scalar", p.dtype(), bytes(4))
    encoded = p.call("_codecs", "encode", "\x00" * 8, "latin1")
    variables = [("a", p.array()), ("b", scalar), ("c", p.array(data=encoded))]
    parts = {"mapping": p.network(), "synthesis": p.network(variables=variables)}
    yield p.tensorflow(components=parts, static_kwargs={"a": [1, 2.5, None, "x"]})
    for payload in (p.stream(), p.archive()):
        weights = {"weight": p.parameter(payload=payload, stride=(1, 2)), "bias": None}
        child = p.module(
            _parameters=weights, _non_persistent_buffers_set=p.Code(b"\x8f")
        )
        kwargs = p.Code(p.call("dnnlib.util", "EasyDict") + b"X\1\0\0\0aK\x01s")
        yield p.torch(p.module(_modules={"a": child}, _init_kwargs=kwargs, w_dim=4))
    halves = p.stream(p.storage_id(8, kind="BFloat16Storage"), size=8)
    yield p.torch(p.module(_buffers={"a": p.tensor(payload=halves)}))


def real(rng):
    """Windows of the published formats' opcodes, their arrays' bytes shortened."""
    for path in sorted(hostile_data.PICKLES.glob("*.pkl")):
        data = path.read_bytes()
        starts = [at for _, _, at in pickletools.genops(data)] + [len(data)]
        codes = [data[a:b] for a, b in zip(starts, starts[1:]) if b - a < 1000]
        for _ in range(4):
            first = rng.randrange(max(1, len(codes) - 500))
            yield b"".join(codes[first : first + 500])
        yield b"".join(codes)[:LONGEST]


def seeds(rng, canary):
    """Three lists: good ones, parts of real ones, hostile ones."""
    hostile = [data for _, data, _ in hostile_pickles.hostile(canary)]
    small = [data for data in hostile if len(data) <= LONGEST]
    return list(good()), list(real(rng)), small


def cuts(data):
    """Where the opcodes start, as far as they can be told."""
    found = [0]
    try:
        found += [at for _, _, at in pickletools.genops(data)]
    except Exception:  # whatever it finds wrong with a broken pickle
        pass
    return [*found, len(data)]


def random_value(rng):
    """One object of a random kind, as opcodes."""
    number = rng.choice(NUMBERS)
    plain = (None, True, -number, number, 0.5, "f4", "a", b"", bytes(8), (), [], {})
    made = (p.dtype(), p.array(), p.tensor(), p.module(), p.network(), p.storage_id())
    return p.encode(rng.choice(rng.choice((plain, plain, plain, made))))


def random_code(rng):
    code = rng.choice(OPCODES)
    number = rng.choice(NUMBERS).to_bytes(16, "little", signed=True)
    return code + rng.choice((b"", number[: rng.choice((1, 2, 4, 8))], b"os\nsystem\n"))


def mutate(rng, data, starts, other, other_starts):
    """One change to `data`; `other` is a second seed."""
    a, b = sorted((rng.choice(starts), rng.choice(starts)))
    c, d = sorted((rng.choice(other_starts), rng.choice(other_starts)))
    d = min(d, c + 400)
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(14)
    if kind <= 1 and data:
        flipped = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        return bytes(flipped)
    if kind == 2:
        form = rng.choice(FORMS)
        size = struct.calcsize(form)
        number = rng.choice(NUMBERS).to_bytes(16, "little", signed=True)[:size]
        return data[:at] + number + data[at + size :]
    if kind == 3:
        return data[:a] + random_code(rng) + data[a:]
    if kind == 4:
        return data[:a] + other[c:d] + data[a:]
    if kind == 5:
        return data[:a] + other[c:d] + data[b:]
    if kind == 6:
        return data[:b] + data[a:b] * rng.choice((1, 2, 50)) + data[b:]
    if kind == 7:
        return data[:a] + data[min(b, a + rng.choice((1, 8, 64))) :]
    if kind == 8:
        return data[:a] + other[c:]
    if kind == 9:
        return data[:at]
    place = rng.randrange(len(starts) - 1)
    return data[: starts[place]] + random_value(rng) + data[starts[place + 1] :]


def check(data):
    """What became of `data`: "read", "refused" or the text of a failure."""
    checkpoints = []

    def read(file):
        checkpoints.append(nvidia_pickle.read(file))

    kind, message = hostile_pickles.outcome(data, read)
    if kind == "failed":
        return message
    for checkpoint in checkpoints:
        for record in checkpoint.networks.values():
            for array in record.variables.values():
                if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
                    return f"a variable is {type(array)}"
                array.tobytes()  # touches every number
    return kind


def run(cases, seed):
    rng = random.Random(seed)
    counts = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        pools = [
            [(data, cuts(data)) for data in part]
            for part in seeds(rng, f"{folder}/canary")
        ]
        hostile_pickles.guard()
        start = time.monotonic()
        for case in range(cases):
            pool, other = rng.choices(pools, (6, 1, 3), k=2)
            data, starts = rng.choice(pool)
            for _ in range(rng.choice((1, 1, 1, 2, 4))):
                data = mutate(rng, data, starts, *rng.choice(other))
            what = check(data)
            if os.listdir(folder):
                what = f"it ran: {os.listdir(folder)}"
            if what not in ("read", "refused"):
                text = base64.b64encode(data).decode()
                sys.exit(f"case {case} of seed {seed}: {what}\n{text}")
            counts[what] += 1
        os.chdir("/")
    seconds = time.monotonic() - start
    print(f"{cases} mutations in {seconds:.0f} s, {dict(counts)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--read", help="file with the base64 text of one case")
    flags = parser.parse_args()
    if flags.read:
        data = base64.b64decode(pathlib.Path(flags.read).read_text())
        print(nvidia_pickle.read(io.BytesIO(data)))
    else:
        run(flags.cases, flags.seed)


if __name__ == "__main__":
    main()
