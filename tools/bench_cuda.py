"""CUDA launchers of the ops: time, fraction of the copy's bandwidth, error; one table.

    python3 tools/bench_cuda.py [--dtypes=float32,float16] [--ops=blur,up]
    compute-sanitizer python3 tools/bench_cuda.py --check

Builds custom_ops/*.cu.cc with nvcc alone and loads the launchers with ctypes; there is
no TensorFlow. PyTorch is allocator, timer (CUDA events) and float64 reference. Bytes
are what must move: every input read once, every output written once; the limit is what
a device-to-device copy moves in the same run. Every case's inputs and outputs together
are several times the cache. `--check` times nothing and runs many small random cases.
"""

import argparse
import ctypes
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

SOURCES = ("upfirdn2d.cu.cc", "fused_bias_act.cu.cc")
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}
TOLERANCE = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-2, "bfloat16": 1e-2}
ACTS = ("linear", "relu", "lrelu", "tanh", "sigmoid", "elu", "selu", "softplus")
ACTS += ("swish",)
FIR = [1.0, 3.0, 3.0, 1.0]
ALPHA, GAIN = 0.2, 2.0**0.5
Pair = ctypes.c_int64 * 2

torch = None  # imported by main: where there is none, a sentence says so


class Shape(ctypes.Structure):
    """TfstyleganUpfirdn2dShape."""

    _fields_ = [
        ("batch", ctypes.c_int64),
        ("channels", ctypes.c_int64),
        *((name, Pair) for name in ("in_", "out", "taps", "up", "down", "pad0")),
    ]


class Options(ctypes.Structure):
    """TfstyleganFusedBiasAct."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("outer", "channels", "inner")),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "clamp")),
        ("act", ctypes.c_int),
    ]


def main():
    global torch
    options = parse_arguments()
    if shutil.which(options.nvcc) is None:
        sys.exit(f"error: there is no {options.nvcc} on the PATH to build kernels with")
    try:
        import torch
    except ImportError as error:
        sys.exit(f"error: PyTorch is needed to allocate and to time: {error}")
    if not torch.cuda.is_available():
        sys.exit("error: PyTorch sees no GPU")
    torch.manual_seed(0)
    # Float64 on the GPU is the reference; nothing here may round on its way there.
    torch.backends.cuda.matmul.allow_tf32 = False
    with tempfile.TemporaryDirectory() as folder:
        launchers = Launchers(build(folder, options.nvcc))
    if options.check:
        return check(launchers, options)
    return bench(launchers, options)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ",".join(name for name in DTYPES if name != "float64")
    parser.add_argument("--dtypes", default=names, help=f"of {', '.join(DTYPES)}")
    parser.add_argument("--ops", default="", help="only those that begin so")
    parser.add_argument("--launches", type=int, default=20, help="that are timed")
    parser.add_argument("--check", action="store_true", help="small cases, no times")
    parser.add_argument("--rounds", type=int, default=60, help="of --check, a type")
    parser.add_argument("--nvcc", default="nvcc", help="the compiler")
    options = parser.parse_args()
    options.dtypes = options.dtypes.split(",")
    for name in options.dtypes:
        if name not in DTYPES:
            sys.exit(f"error: --dtypes must be of {', '.join(DTYPES)}; got {name!r}")
    if options.launches < 1 or options.rounds < 1:
        sys.exit("error: --launches and --rounds must be at least 1")
    options.ops = tuple(options.ops.split(","))
    return options


def build(folder, nvcc):
    """The launchers as a shared library; loaded before the folder goes."""
    sources = pathlib.Path(__file__).resolve().parents[1] / "custom_ops"
    target = pathlib.Path(folder) / "launchers.so"
    major, minor = torch.cuda.get_device_capability()
    command = [nvcc, "-x", "cu", "-std=c++17", "-O3", f"-arch=sm_{major}{minor}"]
    command += ["-lineinfo", "-Xcompiler", "-fPIC", "-shared", "-cudart", "static"]
    command += [str(sources / name) for name in SOURCES]
    done = subprocess.run([*command, "-o", str(target)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {nvcc} failed:\n{done.stdout}{done.stderr}")
    return ctypes.CDLL(str(target))


class Launchers:
    """The launchers as functions of PyTorch's tensors."""

    def __init__(self, library):
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        shape, options = ctypes.POINTER(Shape), ctypes.POINTER(Options)
        arguments = {
            "tfstylegan_upfirdn2d_cuda_scratch": [integer, shape],
            "tfstylegan_upfirdn2d_cuda": [integer, pointer, pointer, shape]
            + [pointer] * 3,
            "tfstylegan_fused_bias_act_cuda": [integer, pointer, pointer, options]
            + [pointer] * 2,
            "tfstylegan_fused_bias_act_grad_cuda_scratch": [integer, options],
            "tfstylegan_fused_bias_act_grad_cuda": [integer]
            + [pointer] * 4
            + [options]
            + [pointer] * 4,
            "tfstylegan_cuda_error": [integer],
        }
        for name, types in arguments.items():
            function = getattr(library, name)
            function.argtypes = types
            function.restype = (
                ctypes.c_int64 if name.endswith("_scratch") else ctypes.c_int
            )
        library.tfstylegan_cuda_error.restype = ctypes.c_char_p
        self._library = library

    def _must(self, status):
        if status != 0:
            text = self._library.tfstylegan_cuda_error(status).decode()
            raise RuntimeError(f"a launcher returned {status}: {text}")

    def upfirdn2d(self, x, taps, up, down, pad0, y):
        """taps: float64 on the host, [Kh, Kw]."""
        code = DTYPES[name_of(x)]
        shape = Shape(batch=x.shape[0], channels=x.shape[3])
        shape.in_, shape.out = Pair(*x.shape[1:3]), Pair(*y.shape[1:3])
        shape.taps = Pair(*taps.shape)
        shape.up, shape.down, shape.pad0 = Pair(*up), Pair(*down), Pair(*pad0)
        size = self._library.tfstylegan_upfirdn2d_cuda_scratch(code, shape)
        scratch = bytes_on(x.device, size)
        self._must(
            self._library.tfstylegan_upfirdn2d_cuda(
                code,
                address(x),
                address(taps),
                shape,
                address(scratch),
                address(y),
                stream(),
            )
        )

    def fused_bias_act(self, x, bias, options, y):
        self._must(
            self._library.tfstylegan_fused_bias_act_cuda(
                DTYPES[name_of(x)],
                address(x),
                address(bias),
                options,
                address(y),
                stream(),
            )
        )

    def fused_bias_act_grad(self, dy, ref, bias, options, dx, d_bias):
        code = DTYPES[name_of(dy)]
        size = self._library.tfstylegan_fused_bias_act_grad_cuda_scratch(code, options)
        scratch = bytes_on(dy.device, size if d_bias is not None else 0)
        self._must(
            self._library.tfstylegan_fused_bias_act_grad_cuda(
                code,
                address(dy),
                None,
                address(ref),
                address(bias),
                options,
                address(scratch),
                address(dx),
                address(d_bias),
                stream(),
            )
        )


def address(tensor):
    return None if tensor is None or tensor.numel() == 0 else tensor.data_ptr()


def stream():
    return torch.cuda.current_stream().cuda_stream


def bytes_on(device, size):
    return torch.empty(size, dtype=torch.uint8, device=device) if size else None


def name_of(tensor):
    return str(tensor.dtype).removeprefix("torch.")


def normal(shape, dtype):
    return torch.randn(shape, dtype=torch.float32, device="cuda").to(
        getattr(torch, dtype)
    )


def poison(shape, dtype):
    """What a kernel does not write shows as NaN."""
    return torch.full(shape, float("nan"), dtype=getattr(torch, dtype), device="cuda")


def bench(launchers, options):
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    limit = copy_bandwidth(options.launches)
    print(f"copy, read and written: {limit / 1e9:.0f} GB/s\n")
    print(
        f"{'op':22} {'dtype':8} {'input':18} {'us':>9} {'GB/s':>7} {'of copy':>7} "
        f"{'max rel error':>13}"
    )
    failed = []
    for dtype in options.dtypes:
        for name, shape, case in cases(launchers):
            if not name.startswith(options.ops):
                continue
            launch, outputs, moved, reference = case(shape, dtype)
            for output in outputs:
                output.fill_(float("nan"))
            launch()
            error = reference()
            bits = [output.clone() for output in outputs]
            seconds = time_of(launch, options.launches)
            same = all(
                torch.equal(a.view(torch.uint8), b.view(torch.uint8))
                for a, b in zip(bits, outputs)
            )
            rate = moved / seconds
            text = "x".join(map(str, shape))
            print(
                f"{name:22} {dtype:8} {text:18} {1e6 * seconds:9.1f} "
                f"{rate / 1e9:7.0f} {rate / limit:7.0%} {error:13.1e}",
                flush=True,
            )
            if not error <= TOLERANCE[dtype]:
                failed.append(f"{name} {dtype} {text}: error {error:.1e}")
            if not same:
                failed.append(f"{name} {dtype} {text}: other bits in another launch")
            del launch, outputs, reference, bits
            torch.cuda.empty_cache()
    return report(failed)


def report(failed):
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


def time_of(launch, launches):
    """Median seconds of a launch."""
    for _ in range(5):
        launch()
    times = []
    for _ in range(launches):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        launch()
        end.record()
        end.synchronize()
        times.append(1e-3 * begin.elapsed_time(end))
    return statistics.median(times)


def copy_bandwidth(launches):
    source = torch.randn(1 << 28, device="cuda")  # 1 GiB
    target = torch.empty_like(source)
    seconds = time_of(lambda: target.copy_(source), launches)
    return 2 * source.nbytes / seconds


def cases(launchers):
    """(name, shape of the input, function of shape and dtype)."""
    upfirdn = {
        "blur": ((1, 1), (1, 1), (2, 2), FIR),
        "up 2": ((2, 2), (1, 1), (2, 2), FIR),
        "down 2": ((1, 1), (2, 2), (1, 1), FIR),
        "general, 12 taps up 2": ((2, 2), (1, 1), (6, 6), [1.0, 2.0, 3.0] * 4),
    }
    large = {"blur": 32, "up 2": 16, "down 2": 32, "general, 12 taps up 2": 4}
    result = []
    for name, (up, down, pad0, taps) in upfirdn.items():
        shapes = [(large[name], 256, 256, 64), (8 * large[name], 32, 32, 512)]
        if not name.startswith("general"):
            shapes += [(8 * large[name], 256, 256, 3)]
        for shape in shapes:
            result.append(
                (name, shape, upfirdn2d_case(launchers, up, down, pad0, taps))
            )
    for shape in [(32, 256, 256, 64), (256, 32, 32, 512), (256, 256, 256, 3)]:
        for act, clamp in (("lrelu", None), ("lrelu", 256.0), ("swish", None)):
            what = f"{act}{' clamp' if clamp else ''}"
            if shape[-1] == 3 and what != "lrelu":
                continue
            result += [
                (f"bias {what}", shape, forward_case(launchers, act, clamp)),
                (f"bias {what} grad", shape, backward_case(launchers, act, clamp)),
            ]
    return result


def upfirdn2d_case(launchers, up, down, pad0, taps):
    def case(shape, dtype):
        column = torch.tensor(taps, dtype=torch.float64)
        kernel = torch.outer(column, column)
        kernel = (kernel / kernel.sum()).contiguous()
        size = [n * u // d for n, u, d in zip(shape[1:3], up, down)]
        x = normal(shape, dtype)
        y = poison([shape[0], *size, shape[3]], dtype)

        def launch():
            launchers.upfirdn2d(x, kernel, up, down, pad0, y)

        def reference():
            return upfirdn2d_error(x, kernel, up, down, pad0, y)

        return launch, [y], x.nbytes + y.nbytes, reference

    return case


def upfirdn2d_error(x, taps, up, down, pad0, y):
    """Image by image, for the memory's sake."""
    differences, scales = [], []
    for one, found in zip(x.split(1), y.split(1)):
        expected = upfirdn2d_reference(one, taps, up, down, pad0, y.shape[1:3])
        differences.append((found.double() - expected).abs().max())
        scales.append(expected.abs().max())
    # PyTorch's maximum keeps a NaN.
    return (torch.stack(differences).max() / (torch.stack(scales).max() + 1e-30)).item()


def upfirdn2d_reference(x, taps, up, down, pad0, size):
    """The definition in float64."""
    n, h, w, c = x.shape
    zeros = x.new_zeros([n, h * up[0], w * up[1], c], dtype=torch.float64)
    zeros[:, :: up[0], :: up[1]] = x.double()
    spans = [(s - 1) * d + k for s, d, k in zip(size, down, taps.shape)]
    canvas = zeros.new_zeros([n, *spans, c])
    to, of = [], []
    for pad, span, length in zip(pad0, spans, zeros.shape[1:3]):
        begin, end = max(pad, 0), max(min(pad + length, span), max(pad, 0))
        to.append(slice(begin, end))
        of.append(slice(begin - pad, end - pad))
    canvas[:, to[0], to[1]] = zeros[:, of[0], of[1]]
    y = zeros.new_zeros([n, *size, c])
    for i in range(taps.shape[0]):
        for j in range(taps.shape[1]):
            rows = slice(i, i + (size[0] - 1) * down[0] + 1, down[0])
            columns = slice(j, j + (size[1] - 1) * down[1] + 1, down[1])
            y += taps[i, j].item() * canvas[:, rows, columns]
    return y


def options_of(shape, axis, act, clamp):
    outer = inner = 1
    for length in shape[:axis]:
        outer *= length
    for length in shape[axis + 1 :]:
        inner *= length
    clamp = float("inf") if clamp is None else clamp
    return Options(outer, shape[axis], inner, ALPHA, GAIN, clamp, ACTS.index(act))


def forward_case(launchers, act, clamp, axis=-1):
    def case(shape, dtype):
        x, bias = normal(shape, dtype), normal(shape[axis : axis + 1 or None], dtype)
        y = poison(shape, dtype)
        options = options_of(shape, axis % len(shape), act, clamp)

        def launch():
            launchers.fused_bias_act(x, bias, options, y)

        def reference():
            expected = forward_reference(x, bias, axis, act, clamp)
            return relative_error(y, expected).item()

        return launch, [y], x.nbytes + y.nbytes, reference

    return case


def backward_case(launchers, act, clamp, axis=-1):
    def case(shape, dtype):
        x, bias = normal(shape, dtype), normal(shape[axis : axis + 1 or None], dtype)
        dy, dx, d_bias = (
            normal(shape, dtype),
            poison(shape, dtype),
            poison([shape[axis]], dtype),
        )
        options = options_of(shape, axis % len(shape), act, clamp)
        y = poison(shape, dtype)
        launchers.fused_bias_act(x, bias, options, y)
        ref = x if act == "swish" else y

        def launch():
            launchers.fused_bias_act_grad(dy, ref, bias, options, dx, d_bias)

        def reference():
            slope = slope_reference(ref, bias, axis, act, clamp)
            expected = dy.double() * slope
            others = [i for i in range(len(shape)) if i != axis % len(shape)]
            total = expected.sum(others) if others else expected
            terms = (expected.abs().sum(others) if others else expected.abs()).max()
            # Rounding is relative to the terms, not to what remains of them.
            sums = (d_bias.double() - total).abs().max() / (terms + 1e-30)
            return torch.maximum(sums, relative_error(dx, expected)).item()

        return launch, [dx, d_bias], 2 * dy.nbytes + ref.nbytes, reference

    return case


def relative_error(found, expected):
    scale = expected.abs().max() + 1e-30
    return (found.double() - expected).abs().max() / scale


def along(bias, x, axis):
    shape = [1] * x.dim()
    shape[axis] = -1
    return bias.double().reshape(shape)


def forward_reference(x, bias, axis, act, clamp):
    y = GAIN * activation(x.double() + along(bias, x, axis), act)
    return y if clamp is None else y.clamp(-clamp, clamp)


def activation(a, act):
    functional = torch.nn.functional
    return {
        "linear": lambda: a,
        "relu": lambda: functional.relu(a),
        "lrelu": lambda: torch.where(a > 0, a, ALPHA * a),
        "tanh": lambda: torch.tanh(a),
        "sigmoid": lambda: torch.sigmoid(a),
        "elu": lambda: functional.elu(a),
        "selu": lambda: functional.selu(a),
        "softplus": lambda: torch.logaddexp(a, torch.zeros_like(a)),
        "swish": lambda: a * torch.sigmoid(a),
    }[act]()


def slope_reference(ref, bias, axis, act, clamp):
    """d y / d x from what the kernel sees: y, or x for swish."""
    u, y = ref.double() / GAIN, ref.double()
    one = torch.ones_like(u)
    if act == "swish":
        a = ref.double() + along(bias, ref, axis)
        s = torch.sigmoid(a)
        slope, y = s * (1 + a * (1 - s)), GAIN * a * s
    elif act in ("linear", "relu", "lrelu"):
        below = {"linear": 1.0, "relu": 0.0, "lrelu": ALPHA}[act]
        slope = torch.where(u > 0, one, below * one)
    elif act == "tanh":
        slope = 1 - u**2
    elif act == "sigmoid":
        slope = u * (1 - u)
    elif act == "elu":
        slope = torch.where(u >= 0, one, u + 1)
    elif act == "selu":
        scale, alpha = 1.0507009873554805, 1.6732632423543772
        slope = torch.where(u >= 0, scale * one, u + scale * alpha)
    else:  # softplus
        slope = -torch.expm1(-u)
    if clamp is not None:
        slope = torch.where(y.abs() >= clamp, 0 * slope, slope)
    return GAIN * slope


def check(launchers, options):
    """Small random cases of every kernel."""
    failed = []
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    for dtype in options.dtypes:
        choose = Choose(0)
        worst = {}
        for _ in range(options.rounds):
            for name, outputs, launch, reference in random_cases(
                launchers, choose, dtype
            ):
                for output in outputs:
                    output.fill_(float("nan"))
                launch()
                error = reference()
                if not error <= TOLERANCE[dtype]:
                    failed.append(f"{dtype} {name}: error {error:.1e}")
                kind = name.split(",")[0]
                worst[kind] = max(worst.get(kind, 0.0), error)
        errors = ", ".join(f"{kind} {error:.1e}" for kind, error in worst.items())
        print(f"{dtype}: {options.rounds} rounds; worst errors: {errors}", flush=True)
    torch.cuda.synchronize()
    return report(failed)


class Choose:
    """Seeded choices among plain Python values, as ctypes wants them."""

    def __init__(self, seed):
        import numpy as np

        self.random = np.random.default_rng(seed)

    def between(self, first, last):
        """An integer of [first, last]."""
        return int(self.random.integers(first, last + 1))

    def one_of(self, items):
        """One of a list."""
        return items[self.between(0, len(items) - 1)]


def random_cases(launchers, choose, dtype):
    channels = choose.one_of([1, 3, 4, 5, 8, 33, 64, 512])
    batch = choose.between(1, 3)
    height, width = choose.between(1, 24), choose.between(1, 70)
    for factors in ((1, 1), (2, 1), (1, 2), None):
        if factors is None:
            up, down = ([choose.between(1, 4) for _ in "yx"] for _ in range(2))
            counts = choose.one_of([(1, 1), (3, 5), (7, 2), (25, 20)])
            taps = torch.randn(counts, dtype=torch.float64)
        else:
            up, down = ([factor] * 2 for factor in factors)
            taps = torch.outer(*torch.randn(2, 4, dtype=torch.float64).unbind())
        pad0 = [choose.between(-3, 6) for _ in "yx"]
        size = [
            choose.between(1, n * u // d + 4)
            for n, u, d in zip((height, width), up, down)
        ]
        x = normal([batch, height, width, channels], dtype)
        y = poison([batch, *size, channels], dtype)
        arguments = x, taps.contiguous(), up, down, pad0, y
        name = (
            f"upfirdn2d, x {list(x.shape)} taps {list(taps.shape)} up {up} down {down} "
            f"pad0 {pad0} size {size}"
        )
        yield (
            name,
            [y],
            lambda arguments=arguments: launchers.upfirdn2d(*arguments),
            lambda arguments=arguments: upfirdn2d_error(*arguments),
        )
    for make in (forward_case, backward_case):
        axis = choose.one_of([1, 3])
        act = choose.one_of(ACTS)
        # Whether swish reaches the clamp is decided in the kernel's own precision.
        clamp = None if act == "swish" else choose.one_of([None, 1.25])
        shape = [batch, height, width, channels]
        launch, outputs, _, reference = make(launchers, act, clamp, axis)(shape, dtype)
        kind = make.__name__.removesuffix("_case")
        yield (
            f"{kind}, {act} {shape} axis {axis} clamp {clamp}",
            outputs,
            launch,
            (reference),
        )


if __name__ == "__main__":
    sys.exit(main())
