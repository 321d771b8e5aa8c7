"""Calls of the CUDA launchers with random inputs, each with the error of its outputs.

`arrays` makes the arrays and knows their type: cuda_device.py.
"""

import dataclasses
import math
from collections.abc import Callable

import cuda_launchers
import cuda_references
import numpy as np

ALPHA, GAIN = 0.2, 2.0**0.5


@dataclasses.dataclass
class Case:
    name: str
    shape: tuple  # of the input
    launch: Callable
    outputs: list
    moved: int  # bytes: every input read once, every output written once
    error: Callable  # the largest, relative to the largest number or sum of terms


def upfirdn2d(launchers, arrays, name, shape, dtype, up, down, pad0, taps, size):
    x = arrays.normal(shape, dtype)
    y = arrays.poison([shape[0], *size, shape[3]], dtype)

    def launch():
        launchers.upfirdn2d(x, taps, up, down, pad0, y)

    def error():  # image by image, for the memory's sake
        pairs = []
        for n in range(shape[0]):
            one = arrays.wide(x[n : n + 1])
            expected = cuda_references.upfirdn2d(one, taps, up, down, pad0, size)
            pairs.append((arrays.wide(y[n : n + 1]), expected, expected))
        return worst(pairs)

    return Case(name, shape, launch, [y], x.nbytes + y.nbytes, error)


def bias_act(launchers, arrays, name, shape, dtype, act, clamp=math.inf, axis=-1):
    x, bias = arrays.normal(shape, dtype), arrays.normal([shape[axis]], dtype)
    y = arrays.poison(shape, dtype)
    scalars = act, ALPHA, GAIN, clamp
    options = cuda_launchers.FusedBiasAct.of(shape, axis, *scalars)

    def launch():
        launchers.fused_bias_act(x, bias, options, y)

    def error():
        wide = arrays.wide(x), arrays.wide(bias)
        expected = cuda_references.fused_bias_act(*wide, axis, *scalars)
        return worst([(arrays.wide(y), expected, expected)])

    return Case(name, shape, launch, [y], x.nbytes + y.nbytes, error)


def bias_act_grad(launchers, arrays, name, shape, dtype, act, clamp=math.inf, axis=-1):
    channels = shape[axis]
    x, bias = arrays.normal(shape, dtype), arrays.normal([channels], dtype)
    dy, plus = arrays.normal(shape, dtype), arrays.normal([channels], dtype)
    plus *= min(1.0, 1000 * channels / math.prod(shape))  # half is to hold its sums
    dx, d_bias = arrays.poison(shape, dtype), arrays.poison([channels], dtype)
    scalars = act, ALPHA, GAIN, clamp
    options = cuda_launchers.FusedBiasAct.of(shape, axis, *scalars)
    ref = x
    if act != "swish":
        ref = arrays.poison(shape, dtype)
        launchers.fused_bias_act(x, bias, options, ref)

    def launch():
        launchers.fused_bias_act_grad(dy, plus, ref, bias, options, dx, d_bias)

    def error():
        seen = arrays.wide(ref)
        if act == "swish":
            seen = seen + cuda_references.along(arrays.wide(bias), seen, axis)
        incoming = arrays.wide(dy)
        incoming = incoming + cuda_references.along(arrays.wide(plus), incoming, axis)
        expected = incoming * cuda_references.slope(seen, *scalars)
        others = tuple(i for i in range(len(shape)) if i != axis % len(shape))
        total, terms = expected.sum(others), abs(expected).sum(others)
        return worst(
            [
                (arrays.wide(dx), expected, expected),
                (arrays.wide(d_bias), total, terms),
            ]
        )

    return Case(name, shape, launch, [dx, d_bias], 2 * dy.nbytes + ref.nbytes, error)


class _Epilogue:
    """What the three cases of the styled epilogue share; scale has zeros."""

    def __init__(self, arrays, shape, dtype, act, clamp, maps):
        batch, height, width, channels = shape
        sums = "float64" if dtype == "float64" else "float32"
        self.vectors = {
            "scale": [batch, channels],
            "plane": [maps, height, width, 1],
            "bias": [channels],
        }
        self.scale, self.plane, self.bias = (
            arrays.normal(shape, sums) for shape in self.vectors.values()
        )
        self.scale = abs(self.scale) + 0.5  # v_scale / scale is to fit into half
        self.scale[:, ::5] = 0
        self.strength = arrays.normal([], sums)
        self.scalars = act, ALPHA, GAIN, clamp
        self.options = cuda_launchers.StyledEpilogue.of(shape, maps, *self.scalars)
        self.x = arrays.normal(shape, dtype)
        self.y = arrays.poison(shape, dtype)
        self.cotangents = [
            arrays.normal(shape, sums) for shape in self.vectors.values()
        ]
        self.sums = [arrays.poison(shape, sums) for shape in self.vectors.values()]
        self.arrays = arrays

    def forward(self, launchers):
        features = self.x, self.scale, self.plane, self.strength, self.bias
        launchers.styled_epilogue(*features, self.options, self.y)

    def worst(self, outputs, reference, inputs):
        """The error of outputs = reference(inputs); of the inputs, y is the fourth
        from the end."""
        inputs = [self.arrays.wide(array) for array in inputs]
        expected = reference(*inputs, *self.scalars)
        # With all terms of a sum positive, but for those of y, which decides the slope.
        *others, y, scale, plane, bias = inputs
        sizes = [*map(abs, others), y, abs(scale), -abs(plane), -abs(bias)]
        terms = reference(*sizes, *self.scalars)
        return worst(zip(map(self.arrays.wide, outputs), expected, terms))


def epilogue(launchers, arrays, name, shape, dtype, act, clamp=math.inf, maps=1):
    e = _Epilogue(arrays, shape, dtype, act, clamp, maps)

    def error():
        wide = [arrays.wide(a) for a in (e.x, e.scale, e.plane, e.bias)]
        wide[2] = wide[2] * arrays.wide(e.strength)
        expected = cuda_references.styled_epilogue(*wide, *e.scalars)
        # y may be what two large numbers leave.
        terms = cuda_references.styled_epilogue(*map(abs, wide), *e.scalars)
        return worst([(arrays.wide(e.y), expected, terms)])

    def launch():
        e.forward(launchers)

    return Case(name, shape, launch, [e.y], 2 * e.x.nbytes, error)


def epilogue_grad(launchers, arrays, name, shape, dtype, act, clamp=math.inf, maps=1):
    e = _Epilogue(arrays, shape, dtype, act, clamp, maps)
    e.forward(launchers)
    dy, dx = arrays.normal(shape, dtype), arrays.poison(shape, dtype)
    inputs, outputs = [dy, e.y, e.scale, e.plane, e.bias], [dx, *e.sums]

    def launch():
        launchers.styled_epilogue_grad(*inputs, e.options, *outputs)

    def error():
        return e.worst(outputs, cuda_references.styled_epilogue_grad, inputs)

    return Case(name, shape, launch, outputs, 3 * dy.nbytes, error)


def epilogue_second(launchers, arrays, name, shape, dtype, act, clamp=math.inf, maps=1):
    e = _Epilogue(arrays, shape, dtype, act, clamp, maps)
    e.forward(launchers)
    v_x, dy = (arrays.normal(shape, dtype) for _ in range(2))
    d_dy, d_y = (arrays.poison(shape, dtype) for _ in range(2))
    inputs = [v_x, *e.cotangents, dy, e.y, e.scale, e.plane, e.bias]
    outputs = [d_dy, d_y, *e.sums]

    def launch():
        launchers.styled_epilogue_grad_grad(*inputs, e.options, *outputs)

    def error():
        return e.worst(outputs, cuda_references.styled_epilogue_grad_grad, inputs)

    return Case(name, shape, launch, outputs, 5 * dy.nbytes, error)


def worst(pairs):
    """The largest |found - expected|, each relative to its largest |terms|."""
    errors = [
        float(abs(found - expected).max() / (abs(terms).max() + 1e-30))
        for found, expected, terms in pairs
    ]
    return math.nan if any(map(math.isnan, errors)) else max(errors)


def separable(taps):
    """outer(taps, taps), of sum 1."""
    taps = np.asarray(taps, np.float64)
    return np.outer(taps, taps) / taps.sum() ** 2
