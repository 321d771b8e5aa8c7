"""What the ops refuse, and that they say what they got: eager, traced, compiled."""

import numpy as np
import pytest
import tensorflow as tf

from tfstylegan import ops

ERRORS = (ValueError, tf.errors.InvalidArgumentError)


@pytest.fixture(params=["reference", "compiled"])
def impl(request):
    if request.param == "compiled":
        try:
            ops.library.library()
        except RuntimeError as error:
            pytest.skip(str(error))
    return request.param


def eagerly(function, x):
    return function(x)


def traced(function, x):
    return tf.function(function)(x)


def of_unknown_size(function, x):
    """In a graph where only the rank of x is known."""
    spec = tf.TensorSpec([None] * x.ndim, x.dtype)
    return tf.function(function, input_signature=[spec])(x)


X = np.zeros([1, 4, 5, 3], np.float32)


@pytest.mark.parametrize("mode", [eagerly, traced, of_unknown_size])
@pytest.mark.parametrize(
    "x, options, message",
    [
        (X.astype(np.int32), {}, "x must be .*int32"),
        (X[0], {}, "x must be .N, H, W, C., got shape"),
        (X, {"kernel": np.ones([2, 2, 2])}, r"kernel must be .*got shape \(2, 2, 2\)"),
        (X, {"kernel": np.ones([0, 3])}, r"kernel must be .*got shape \(0, 3\)"),
        (X, {"up": -2}, "up must be at least 1, got -2"),
        (X, {"down": (1, 0)}, r"down must be at least 1, got \(1, 0\)"),
        (X, {"padding": (1, 1)}, r"padding must be .*got \(1, 1\)"),
        (X, {"kernel": np.ones([5, 1])}, "kernel must fit .*5 taps"),
        (X, {"padding": (0, 0, -2, -3)}, r"kernel must fit .*padding \(0, 0, -2, -3\)"),
        (X, {"kernel": np.ones([9]), "down": 3}, "kernel must fit .*9 taps"),
    ],
)
def test_upfirdn2d_refuses(impl, mode, x, options, message):
    def call(x):
        return ops.upfirdn2d(x, **{"kernel": [1.0], "impl": impl, **options})

    with pytest.raises(ERRORS, match=message):
        mode(call, x)


@pytest.mark.parametrize("mode", [eagerly, traced, of_unknown_size])
@pytest.mark.parametrize(
    "x, options, message",
    [
        (X.astype(np.int32), {}, "x must be .*int32"),
        (X, {"axis": 4}, r"axis must be in \[-4, 4\), got 4"),
        (X, {"bias": np.zeros([3, 1])}, r"bias must be .*got shape \(3, 1\)"),
        (X, {"act": "gelu"}, "act must be one of .*'gelu'"),
        (X, {"alpha": -1}, "alpha must be .*got -1"),
        (X, {"gain": np.inf}, "gain must be .*got inf"),
        (X, {"clamp": -2}, "clamp must be .*got -2"),
        (X, {"bias": np.zeros(4)}, r"(?s)bias must be .*\b3\b.*\b4\b"),
        (X[..., :1], {"bias": np.zeros(4)}, r"(?s)bias must be .*\b1\b.*\b4\b"),
    ],
)
def test_fused_bias_act_refuses(impl, mode, x, options, message):
    def call(x):
        return ops.fused_bias_act(x, **{"impl": impl, "act": "lrelu", **options})

    with pytest.raises(ERRORS, match=message):
        mode(call, x)


@pytest.mark.parametrize("mode", [eagerly, traced, of_unknown_size])
@pytest.mark.parametrize(
    "x, options, message",
    [
        (X.astype(np.int32), {}, "x must be .*int32"),
        (X[0], {}, "x must be .N, H, W, C., got shape"),
        (X, {"scale": np.zeros([3])}, r"scale must be .*got shape \(3,\)"),
        (X, {"scale": np.zeros([1, 4])}, r"(?s)\b3\b.*\b4\b|\b4\b.*\b3\b"),
        (X, {"noise": np.zeros([1, 4, 5, 2])}, r"noise must be .*got shape \(1, 4, 5"),
        (X, {"noise": np.zeros([1, 4, 6, 1])}, r"(?s)\b5\b.*\b6\b"),
        (X, {"strength": None}, "noise and strength .*got strength=None"),
        (X, {"strength": np.zeros([3])}, r"strength must be .*got shape \(3,\)"),
        (X, {"bias": np.zeros([3, 1])}, r"bias must be .*got shape \(3, 1\)"),
        (X, {"bias": np.zeros(4)}, r"(?s)\b3\b.*\b4\b"),
        (X, {"act": "swish"}, "act must be one of .*'swish'"),
        (X, {"gain": 0}, "gain must be .*got 0"),
        (X, {"clamp": -2}, "clamp must be .*got -2"),
    ],
)
def test_styled_epilogue_refuses(impl, mode, x, options, message):
    good = {"scale": np.ones([1, 3]), "noise": np.ones([1, 4, 5, 1]), "strength": 1.0}

    def call(x):
        return ops.styled_epilogue(x, **{**good, "impl": impl, **options})

    with pytest.raises(ERRORS, match=message):
        mode(call, x)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": X[0]}, r"rank 4|x must be .*got \[4,5,3\]"),
        ({"taps": np.ones([2])}, r"rank 2|taps must be .*got \[2\]"),
        ({"taps": np.ones([0, 2])}, r"taps must be .*got \[0,2\]"),
        ({"size": np.int32([3])}, r"2|got \[1\]"),
        ({"size": np.int32([-5, 3])}, "-5"),
        ({"up": [0, 1]}, "up must be .*got 0"),
        ({"down": [1, -7]}, "down must be .*got -7"),
        ({"pad0": [0, 2**41]}, f"pad0. must be .*got {2**41}"),
    ],
)
def test_upfirdn2d_op_refuses_in_a_graph(change, message, known):
    """The shape function, or where it knows nothing, the kernel."""
    try:
        op = ops.library.library().tfstylegan_upfirdn2d
    except RuntimeError as error:
        pytest.skip(str(error))
    good = {"x": X, "taps": np.ones([2, 2]), "size": np.int32([3, 3])}
    attributes = {"up": [1, 1], "down": [1, 1], "pad0": [0, 0]}
    inputs = {k: tf.constant(change.get(k, v)) for k, v in good.items()}
    attributes = {k: change.get(k, v) for k, v in attributes.items()}

    def call(x, taps, size):
        return op(x=x, taps=taps, size=size, **attributes)

    signature = None
    if not known:
        signature = [tf.TensorSpec(None, value.dtype) for value in inputs.values()]
    with pytest.raises(ERRORS, match=message):
        tf.function(call, input_signature=signature)(*inputs.values())
