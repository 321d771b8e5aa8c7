"""Random calls of TfstyleganStyledEpilogue and of its derivatives, for fuzz_ops.py.

The gradients are given y and not x. Here they are the derivatives of the definition,
y = gain * act(a) with a = x * scale + plane + bias, where x is what makes that y.
"""

import collections

import numpy as np
import tensorflow as tf
from fuzz_calls import (
    CHANNELS,
    compare,
    held,
    must_refuse,
    random_scalars,
    random_tensor,
    random_type,
    wide,
)

ACTS = ("linear", "relu", "lrelu", "lrelu")
Call = collections.namedtuple("Call", "x scale noise strength bias scalars act")
Call.__str__ = lambda c: (
    f"x {c.x.shape} {c.x.dtype.name}, noise {c.noise.shape}, {c.act}, "
    f"(alpha, gain, clamp) = {c.scalars}"
)


def forward(library, rng):
    call = random_call(rng)
    _, gain, clamp = call.scalars
    a, size = arguments_of_act(call)
    expected = np.clip(a * slopes(a, call), -clamp, clamp)
    found = library.tfstylegan_styled_epilogue(**call._asdict())
    compare(found, expected, 2 * abs(gain) * size, str(call))


def gradient(library, rng):
    given, p = random_gradient(rng)
    found = library.tfstylegan_styled_epilogue_grad(**given)
    axes = {"d_scale": (1, 2), "d_plane": p.plane_axes, "d_bias": (0, 1, 2)}
    expected = {
        "dx": (p.da * p.scale, np.abs(p.da * p.scale)),
        "d_scale": (p.da * p.x, np.abs(p.da) * p.x_size),
        "d_plane": (p.da, np.abs(p.da)),
        "d_bias": (p.da, np.abs(p.da)),
    }
    compare_all(found, expected, axes, given)


def second_gradient(library, rng):
    given, p = random_gradient(rng)
    dtype, wide_type = given["dy"].dtype, given["scale"].dtype
    given["v_x"] = random_tensor(rng, given["dy"].shape, dtype)
    for name in ("scale", "plane", "bias"):
        given[f"v_{name}"] = random_tensor(rng, given[name].shape, wide_type)
    found = library.tfstylegan_styled_epilogue_grad_grad(**given)
    v_x, v_plane, v_bias = (wide(given[f"v_{n}"]) for n in ("x", "plane", "bias"))
    v_scale = wide(given["v_scale"])[:, np.newaxis, np.newaxis]
    # Of a scale of 0, y knows no x, and x is no function of y.
    v_scale = np.where(p.scale == 0, 0, v_scale)
    ratio = np.divide(v_scale, p.scale, np.zeros_like(v_scale), where=p.scale != 0)
    tangent = v_x * p.scale + v_scale * p.x + v_plane + v_bias  # of a
    size = np.abs(v_x * p.scale) + np.abs(v_scale) * p.x_size
    size += np.abs(v_plane) + np.abs(v_bias)
    through_y = ratio * np.where(p.passes, wide(given["dy"]), 0)
    shift = ratio * p.da
    axes = {"d_scale": (1, 2), "d_plane": p.plane_axes, "d_bias": (0, 1, 2)}
    expected = {
        "d_dy": (p.slope * tangent, np.abs(p.slope) * size),
        "d_y": (through_y, np.abs(through_y)),
        "d_scale": (v_x * p.da, np.abs(v_x * p.da)),
        "d_plane": (-shift, np.abs(shift)),
        "d_bias": (-shift, np.abs(shift)),
    }
    compare_all(found, expected, axes, given)


def random_call(rng):
    dtype = random_type(rng)
    wide_type = tf.float64 if dtype == tf.float64 else tf.float32
    n, h, w = rng.integers(0, 4), *rng.integers(0, 9, 2)
    c = int(rng.choice(CHANNELS))
    rare = rng.random()
    if rare < 0.1:
        h = w = 1
    elif rare < 0.2:  # more than one block, of few channels or of many
        n, h, w = rng.integers(1, 3), *rng.integers(20, 90, 2)
        c = int(rng.integers(1, 1 + 200000 // (h * w)))
    elif rare < 0.22:  # a block has at least so many pixels
        c = int(rng.integers(1000, 3000))
    maps = rng.choice([1, n])
    x = random_tensor(rng, (n, h, w, c), dtype)
    scale = rng.standard_normal((n, c)) * (rng.random((n, c)) > rng.choice([0, 0.2]))
    noise = random_tensor(rng, (maps, h, w, 1), wide_type)
    strength = random_tensor(rng, (), wide_type)
    bias = random_tensor(rng, (c,), wide_type)
    scale = tf.cast(scale, wide_type)
    scalars, act = random_scalars(rng), str(rng.choice(ACTS))
    return Call(x, scale, noise, strength, bias, scalars, act)


def arguments_of_act(call):
    """a, and the sum of the sizes of its terms."""
    terms = [
        wide(call.x) * wide(call.scale)[:, np.newaxis, np.newaxis],
        wide(call.strength) * wide(call.noise),
        wide(call.bias),
    ]
    return sum(terms), sum(np.abs(term) for term in terms)


def slopes(sign, call):
    """Slope of gain * act, of arguments of this sign."""
    alpha, gain, _ = call.scalars
    below = {"linear": 1, "relu": 0, "lrelu": alpha}[call.act]
    return gain * np.where(sign > 0, 1, below)


Point = collections.namedtuple("Point", "x x_size scale da slope passes plane_axes")


def random_gradient(rng):
    """Arguments of the gradient, and in float64, broadcasting against y: x and the
    sizes of its terms (0 where y does not know it), scale, da, the slope (0 at the
    clamp), where that is not, and the axes that the gradient in plane sums over."""
    call = random_call(rng)
    _, gain, clamp = call.scalars
    a, _ = arguments_of_act(call)
    dtype = call.x.dtype
    given = {
        "dy": random_tensor(rng, call.x.shape, dtype),
        "y": tf.cast(np.clip(a * slopes(a, call), -clamp, clamp), dtype),
        "scale": call.scale,
        "plane": call.noise * call.strength,
        "bias": call.bias,
        "scalars": call.scalars,
        "act": call.act,
    }
    y, plane, bias = (wide(given[name]) for name in ("y", "plane", "bias"))
    scale = wide(call.scale)[:, np.newaxis, np.newaxis]
    passes = np.abs(y) < held(clamp, dtype)
    slope = np.where(passes, slopes(y * gain, call), 0)
    known = (slope != 0) & (scale != 0)
    a = np.divide(y, slope, np.zeros_like(y), where=known)
    x, x_size = (
        np.divide(of_x, scale, np.zeros_like(y), where=known)
        for of_x in (a - plane - bias, np.abs(a) + np.abs(plane) + np.abs(bias))
    )
    plane_axes = (3,) if call.noise.shape[0] == call.x.shape[0] else (0, 3)
    da = wide(given["dy"]) * slope
    return given, Point(x, np.abs(x_size), scale, da, slope, passes, plane_axes)


def compare_all(found, expected, axes, given):
    what = f"{given['y'].shape} {given['y'].dtype.name}, plane {given['plane'].shape}, "
    what += f"{given['act']}, (alpha, gain, clamp) = {given['scalars']}"
    for tensor, (name, (terms, sizes)) in zip(found, expected.items()):
        if name in axes:
            keep = name == "d_plane"
            axis = axes[name]
            terms, sizes = (
                np.broadcast_to(t, given["y"].shape).sum(axis, keepdims=keep)
                for t in (terms, sizes)
            )
        compare(tensor, terms, sizes, f"{name} of y {what}")


def refused(library, rng):
    """A call of one of the ops that breaks the contract in one point."""
    dtype = random_type(rng)
    s = tf.float64 if dtype == tf.float64 else tf.float32
    x, plane = tf.zeros([2, 3, 4, 5], dtype), tf.zeros([1, 3, 4, 1], s)
    scale, bias = tf.zeros([2, 5], s), tf.zeros([5], s)
    good = {"scale": scale, "bias": bias, "scalars": np.ones(3), "act": "lrelu"}
    bad = [
        {"scale": scale[:1]},
        {"scale": scale[:, :1]},
        {"scale": scale[0]},
        {"bias": bias[:1]},
        {"bias": scale},
        {"scalars": np.ones(2)},
        {"scalars": np.ones([3, 1])},
        {"act": "swish"},
    ]

    def planes(name):
        return [
            {name: tf.zeros([3, 3, 4, 1], s)},
            {name: tf.zeros([2, 3, 4, 5], s)},
            {name: plane[:, :1]},
            {name: plane[..., 0]},
        ]

    def features(*names):
        return [{n: t} for n in names for t in (x[:1], x[..., :1], x[0])]

    order = rng.integers(3)
    if order == 0:
        op = library.tfstylegan_styled_epilogue
        good |= {"x": x, "noise": plane, "strength": tf.zeros([], s)}
        bad += planes("noise") + features("x") + [{"strength": tf.zeros([1], s)}]
    elif order == 1:
        op = library.tfstylegan_styled_epilogue_grad
        good |= {"dy": x, "y": x, "plane": plane}
        bad += planes("plane") + features("dy", "y")
    else:
        op = library.tfstylegan_styled_epilogue_grad_grad
        good |= {"v_x": x, "v_scale": scale, "v_plane": plane, "v_bias": bias}
        good |= {"dy": x, "y": x, "plane": plane}
        bad += planes("plane") + planes("v_plane") + features("v_x", "dy", "y")
        bad += [{"v_scale": scale[:1]}, {"v_bias": bias[:1]}, {"v_bias": scale}]
    must_refuse(op, good, bad, rng)
