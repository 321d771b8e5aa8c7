"""CUDA launchers of the ops: time, fraction of the copy's bandwidth, error; one table.

    python3 tools/bench_cuda.py [--dtypes=float32,float16] [--ops=blur,up]
    compute-sanitizer python3 tools/bench_cuda.py --check

Builds custom_ops/*.cu.cc with nvcc alone and loads the launchers with ctypes; there is
no TensorFlow. PyTorch is allocator, timer (CUDA events) and float64 arithmetic. Bytes
are what must move: every input read once, every output written once; the limit is what
a device-to-device copy moves in the same run. Every case's inputs and outputs together
are several times the cache. `--check` times nothing and runs many small random cases.
"""

import argparse
import functools
import math
import shutil
import sys
import tempfile

import cuda_cases
import cuda_checks
import cuda_launchers

FIR = [1.0, 3.0, 3.0, 1.0]


def main():
    options = parse_arguments()
    if shutil.which(options.nvcc) is None:
        sys.exit(f"error: there is no {options.nvcc} on the PATH to build kernels with")
    try:
        import cuda_device
    except ImportError as error:
        sys.exit(f"error: PyTorch is needed to allocate and to time: {error}")
    if not cuda_device.is_there():
        sys.exit("error: PyTorch sees no GPU")
    with tempfile.TemporaryDirectory() as folder:
        try:
            library = cuda_launchers.build(folder, options.nvcc, cuda_device.arch())
        except RuntimeError as error:
            sys.exit(f"error: {error}")
    scratch, stream = cuda_device.scratch, cuda_device.stream
    launchers = cuda_launchers.Launchers(library, scratch, stream)
    print(cuda_device.describe())
    if options.check:
        arrays = cuda_device.Arrays()
        failed = cuda_checks.check(launchers, arrays, options.dtypes, options.rounds)
        cuda_device.synchronize()
    else:
        failed = bench(launchers, cuda_device, options)
    return cuda_checks.report(failed)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = cuda_launchers.DTYPES
    names = ",".join(name for name in known if name != "float64")
    parser.add_argument("--dtypes", default=names, help=f"of {', '.join(known)}")
    parser.add_argument("--ops", default="", help="only those that begin so")
    parser.add_argument("--launches", type=int, default=20, help="that are timed")
    parser.add_argument("--check", action="store_true", help="small cases, no times")
    parser.add_argument("--rounds", type=int, default=60, help="of --check, a type")
    parser.add_argument("--nvcc", default="nvcc", help="the compiler")
    options = parser.parse_args()
    options.dtypes = options.dtypes.split(",")
    for name in options.dtypes:
        if name not in known:
            sys.exit(f"error: --dtypes must be of {', '.join(known)}; got {name!r}")
    if options.launches < 1 or options.rounds < 1:
        sys.exit("error: --launches and --rounds must be at least 1")
    options.ops = tuple(options.ops.split(","))
    return options


def bench(launchers, device, options):
    """Prints the table; returns what went wrong."""
    limit = device.copy_bandwidth(options.launches)
    print(f"copy, read and written: {limit / 1e9:.0f} GB/s\n")
    print(
        f"{'op':22} {'dtype':8} {'input':18} {'us':>9} {'GB/s':>7} {'of copy':>7} "
        f"{'max rel error':>13}"
    )
    failed = []
    for dtype in options.dtypes:
        for name, shape, make in cases(launchers, device.Arrays()):
            if not name.startswith(options.ops):
                continue
            case = make(name, shape, dtype)
            case.launch()
            error = case.error()
            bits = [output.clone() for output in case.outputs]
            seconds = device.seconds_of(case.launch, options.launches)
            same = all(map(device.same_bits, bits, case.outputs))
            rate = case.moved / seconds
            text = "x".join(map(str, shape))
            print(
                f"{name:22} {dtype:8} {text:18} {1e6 * seconds:9.1f} "
                f"{rate / 1e9:7.0f} {rate / limit:7.0%} {error:13.1e}",
                flush=True,
            )
            if not error <= cuda_checks.TOLERANCE[dtype]:
                failed.append(f"{name} {dtype} {text}: error {error:.1e}")
            if not same:
                failed.append(f"{name} {dtype} {text}: other bits in another launch")
            del case, bits
            device.empty_cache()
    return failed


def cases(launchers, arrays):
    """(name, shape of the input, function of name, shape and dtype)."""
    large, deep, image = (32, 256, 256, 64), (256, 32, 32, 512), (256, 256, 256, 3)
    for name, batch, *arguments in (
        ("blur", 32, (1, 1), (1, 1), (2, 2), FIR),
        ("up 2", 16, (2, 2), (1, 1), (2, 2), FIR),
        ("down 2", 32, (1, 1), (2, 2), (1, 1), FIR),
        ("general, 12 taps up 2", 4, (2, 2), (1, 1), (6, 6), [1.0, 2.0, 3.0] * 4),
    ):
        make = functools.partial(upfirdn2d, launchers, arrays, *arguments)
        yield name, (batch, *large[1:]), make
        yield name, (8 * batch, *deep[1:]), make
        if not name.startswith("general"):
            yield name, (8 * batch, *image[1:]), make
    of_op = {"bias": (cuda_cases.bias_act, cuda_cases.bias_act_grad)}
    of_op["epilogue"] = (
        *(cuda_cases.epilogue, cuda_cases.epilogue_grad),
        cuda_cases.epilogue_second,
    )
    acts = {
        "bias": (("lrelu", math.inf), ("lrelu", 256.0), ("swish", math.inf)),
        "epilogue": (("lrelu", math.inf), ("lrelu", 256.0)),
    }
    for op, makers in of_op.items():
        for shape in (large, deep, image):
            for act, clamp in acts[op]:
                if shape == image and (op, act, clamp) != ("bias", "lrelu", math.inf):
                    continue
                for make, order in zip(makers, ("", " grad", " second")):
                    name = f"{op} {act}{' clamp' if clamp < math.inf else ''}{order}"
                    yield (
                        name,
                        shape,
                        functools.partial(one_act, make, launchers, arrays, act, clamp),
                    )


def upfirdn2d(launchers, arrays, up, down, pad0, taps, name, shape, dtype):
    size = [n * u // d for n, u, d in zip(shape[1:3], up, down)]
    arguments = up, down, pad0, cuda_cases.separable(taps), size
    return cuda_cases.upfirdn2d(launchers, arrays, name, shape, dtype, *arguments)


def one_act(make, launchers, arrays, act, clamp, name, shape, dtype):
    return make(launchers, arrays, name, shape, dtype, act, clamp)


if __name__ == "__main__":
    sys.exit(main())
