"""Random calls of TfstyleganFusedBiasAct and of its gradient, for fuzz_ops.py."""

import collections

import numpy as np
import tensorflow as tf
from fuzz_calls import (
    Wrong,
    compare,
    held,
    must_refuse,
    random_scalars,
    random_tensor,
    random_type,
    wide,
)

ACTS = (
    *("linear", "relu", "lrelu", "lrelu", "tanh", "sigmoid", "elu", "selu"),
    *("softplus", "swish"),
)
Call = collections.namedtuple("Call", "x bias scalars axis act")
Call.__str__ = lambda c: (
    f"x {c.x.shape} {c.x.dtype.name}, bias {c.bias.shape}, axis {c.axis}, {c.act}, "
    f"(alpha, gain, clamp) = {c.scalars}"
)


def forward(library, rng):
    call = random_call(rng)
    a = wide(call.x) + along(wide(call.bias), call)
    found = library.tfstylegan_fused_bias_act(**call._asdict())
    scale = abs(call.scalars[1]) * (np.abs(a) + 1)
    compare(found, activated(a, call), scale, str(call))


def gradient(library, rng):
    call = random_call(rng)
    dtype = call.x.dtype
    a = wide(call.x) + along(wide(call.bias), call)
    alpha, gain, clamp = call.scalars
    ref = call.x if call.act == "swish" else tf.cast(activated(a, call), dtype)
    y = activated(a, call) if call.act == "swish" else wide(ref)
    dy = random_tensor(rng, call.x.shape, dtype)
    length = call.x.shape[call.axis] if rng.random() < 0.5 else 0
    dy_bias = random_tensor(rng, (length,), dtype)
    upstream = wide(dy) + along(wide(dy_bias), call)

    top = held(clamp, dtype)
    slope = gain * slopes(y / gain, a, call.act, alpha)
    dx = np.where(np.abs(y) >= top, 0, upstream * slope)
    arguments = {"dy": dy, "dy_bias": dy_bias, "ref": ref} | call._asdict()
    del arguments["x"]
    found_dx, found_bias = library.tfstylegan_fused_bias_act_grad(**arguments)
    if call.act == "swish" and np.any(np.abs(np.abs(y) - top) < 1e-3 * top):
        return  # on which side of the clamp depends on rounding
    scale = np.abs(upstream) * abs(gain) * (np.abs(a) + 2)
    compare(found_dx, dx, scale, f"dx of {call}")
    if call.bias.shape[0]:
        others = tuple(i for i in range(dx.ndim) if i != call.axis)
        sums, scale = dx.sum(others), scale.sum(others)
        compare(found_bias, sums, scale, f"d_bias of {call}")
    elif found_bias.shape != (0,):
        raise Wrong(f"d_bias has shape {found_bias.shape} for {call}")


def random_call(rng):
    dtype = random_type(rng)
    rank = rng.integers(1, 6)
    shape = rng.integers(0 if rng.random() < 0.1 else 1, 7, rank)
    axis = int(rng.integers(rank))
    if rng.random() < 0.1:  # more than one block, in one of the axes
        shape[rng.integers(rank)] = rng.integers(1000, 30000)
        shape = np.where(shape > 7, shape, np.minimum(shape, 2))
    x = random_tensor(rng, shape, dtype)
    length = shape[axis] if rng.random() < 0.7 else 0
    bias = random_tensor(rng, (length,), dtype)
    return Call(x, bias, random_scalars(rng), axis, str(rng.choice(ACTS)))


def along(vector, call):
    """A vector, or nothing, along the axis of the call."""
    if not vector.size:
        return 0.0
    shape = [1] * call.x.shape.rank
    shape[call.axis] = -1
    return vector.reshape(shape)


def activated(a, call):
    alpha, gain, clamp = call.scalars
    scale, selu_alpha = 1.0507009873554805, 1.6732632423543772
    negative = np.minimum(a, 0)
    value = {
        "linear": lambda: a,
        "relu": lambda: np.maximum(a, 0),
        "lrelu": lambda: np.where(a > 0, a, alpha * a),
        "tanh": lambda: np.tanh(a),
        "sigmoid": lambda: 1 / (1 + np.exp(-a)),
        "elu": lambda: np.where(a > 0, a, np.expm1(negative)),
        "selu": lambda: scale * np.where(a > 0, a, selu_alpha * np.expm1(negative)),
        "softplus": lambda: np.logaddexp(a, 0),
        "swish": lambda: a / (1 + np.exp(-a)),
    }[call.act]()
    return np.clip(gain * value, -clamp, clamp)


def slopes(u, a, act, alpha):
    """Slope of the activation where its value is u, or for swish its argument a."""
    scale, selu_alpha = 1.0507009873554805, 1.6732632423543772
    sigmoid = 1 / (1 + np.exp(-a))
    return {
        "linear": lambda: np.ones_like(u),
        "relu": lambda: np.where(u > 0, 1, 0),
        "lrelu": lambda: np.where(u > 0, 1, alpha),
        "tanh": lambda: 1 - u**2,
        "sigmoid": lambda: u * (1 - u),
        "elu": lambda: np.where(u >= 0, 1, u + 1),
        "selu": lambda: np.where(u >= 0, scale, u + scale * selu_alpha),
        "softplus": lambda: -np.expm1(-u),
        "swish": lambda: sigmoid * (1 + a * (1 - sigmoid)),
    }[act]()


def refused(library, rng):
    """A call of either op that breaks the contract in one point."""
    x = random_tensor(rng, (2, 5, 4, 3), random_type(rng))
    good = {"x": x, "bias": x[0, 0, 0], "scalars": np.ones(3)}
    good |= {"axis": 3, "act": "relu"}
    bad = [
        {"axis": 4},
        {"axis": -1},
        {"bias": x[0, 0, :, 0]},
        {"bias": x[0, 0]},
        {"scalars": np.ones(2)},
        {"scalars": np.ones([3, 1])},
        {"act": "gelu"},
    ]
    if rng.random() < 0.5:
        bad.append({"x": x[0, 0, 0, 0]})
        must_refuse(library.tfstylegan_fused_bias_act, good, bad, rng)
        return
    good |= {"dy": good.pop("x"), "ref": x, "dy_bias": x[0, 0, 0]}
    bad += [
        {"dy": x[0, 0, 0, 0]},
        {"dy": x[:1]},
        {"ref": x[:, :1]},
        {"ref": x[0]},
        {"dy_bias": x[0, 0, :, 0]},
        {"dy_bias": x[0, 0]},
    ]
    must_refuse(library.tfstylegan_fused_bias_act_grad, good, bad, rng)
