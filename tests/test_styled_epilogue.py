"""ops.styled_epilogue: definition, derivatives of every order, both forms."""

import os
import pathlib
import subprocess
import sys

import hypothesis
import numpy as np
import oracles
import pytest
import tensorflow as tf
from hypothesis import strategies

from tfstylegan import ops

ACTS = ("linear", "relu", "lrelu")
TYPES = {"float32": 2e-6, "float64": 1e-13, "bfloat16": 1e-2, "float16": 2e-3}
ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(params=["reference", "compiled"])
def impl(request):
    if request.param == "compiled":
        require_compiled()
    return request.param


def require_compiled():
    try:
        ops.library.library()
    except RuntimeError as error:
        pytest.skip(str(error))


def close(actual, expected, tolerance):
    """Relative to expected, or to 1, of which size the inputs are."""
    sizes = np.maximum(np.abs(expected), 1)
    assert oracles.relative_error(actual, expected, sizes) <= tolerance


def inputs(shape, maps, seed=0):
    """x, scale, noise, strength, bias in float64; act's arguments are off its kink."""
    rng = np.random.default_rng(seed)
    batch, height, width, channels = shape
    scale = rng.uniform(0.3, 2, [batch, channels])
    noise = rng.standard_normal([maps, height, width, 1])
    strength = rng.standard_normal()
    bias = rng.standard_normal(channels)
    sums = rng.uniform(0.1, 2, shape) * rng.choice([-1, 1], shape)
    x = (sums - strength * noise - bias) / scale[:, np.newaxis, np.newaxis]
    return [x, scale, noise, np.float64(strength), bias]


@strategies.composite
def cases(draw):
    batch, height, width = (draw(strategies.integers(low, 4)) for low in (0, 1, 1))
    channels = draw(strategies.sampled_from([1, 3, 5, 16, 20, 64, 512]))
    maps = draw(strategies.sampled_from([1, batch]))
    options = {
        "act": draw(strategies.sampled_from(ACTS)),
        "alpha": draw(strategies.sampled_from([0.0, 0.2, 1.3])),
        "gain": draw(strategies.sampled_from([0.7, 1.0, 2.5, -1.2])),
        "clamp": draw(strategies.sampled_from([None, 0.45, 100.0])),
    }
    shape = [batch, height, width, channels]
    return inputs(shape, maps, draw(strategies.integers(0, 2**32 - 1))), options


def derivatives(arguments, ct, vs, options, impl):
    """y, its gradients for cotangent ct, and those of sum <gradient, v>."""
    with tf.GradientTape() as outer:
        outer.watch([ct, *arguments])
        with tf.GradientTape() as inner:
            inner.watch(arguments)
            y = ops.styled_epilogue(*arguments, **options, impl=impl)
        first = inner.gradient(y, arguments, ct)
    sources = [ct, *arguments]
    second = outer.gradient(first, sources, vs, unconnected_gradients="zero")
    return [y, *first, *second]


def random_like(values, seed=1):
    rng = np.random.default_rng(seed)
    return [tf.constant(rng.standard_normal(np.shape(v))) for v in values]


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(case=cases())
def test_styled_epilogue_is_its_definition(case):
    arguments, options = case
    expected = oracles.styled_epilogue(*arguments, **options)
    for impl in ("reference", "compiled"):
        if impl == "compiled":
            require_compiled()
        close(ops.styled_epilogue(*arguments, **options, impl=impl), expected, 1e-13)


@hypothesis.settings(max_examples=80, deadline=None, derandomize=True)
@hypothesis.given(case=cases())
def test_styled_epilogue_twin_equals_compiled(case):
    require_compiled()
    arguments, options = case
    arguments = [tf.constant(value) for value in arguments]
    (ct,), vs = random_like(arguments[:1], 2), random_like(arguments)
    twin = derivatives(arguments, ct, vs, options, "reference")
    compiled = derivatives(arguments, ct, vs, options, "compiled")
    for actual, expected in zip(compiled, twin, strict=True):
        close(actual, expected, 1e-11)


def off_the_clamp(arguments, options):
    """x, but 0.1 as argument of act where y is too near to the clamp for rounding."""
    x, scale, noise, strength, bias = arguments
    if options["clamp"] is None:
        return x
    y = oracles.styled_epilogue(*arguments, **options | {"clamp": None})
    near = np.abs(np.abs(y) / options["clamp"] - 1) < 0.2
    at = 0.1 - strength * noise - bias
    return np.where(near, at / scale[:, np.newaxis, np.newaxis], x)


def check_compiled(dtype, arguments, options):
    """Output, gradients and second gradients of the compiled op are the oracle's."""
    require_compiled()
    arguments = [off_the_clamp(arguments, options), *arguments[1:]]
    types = [dtype] + ["float32"] * 4
    arguments = [tf.cast(t, s) for t, s in zip(arguments, types)]
    ct = tf.cast(random_like(arguments[:1], 2)[0], dtype)
    vs = [tf.cast(t, s) for t, s in zip(random_like(arguments), types)]
    found = derivatives(arguments, ct, vs, options, "compiled")
    expected = oracles.styled_epilogue_derivatives(arguments, ct, vs, **options)
    assert [t.dtype for t in found] == [dtype, *types, dtype, *types]
    for i, (value, sizes) in enumerate(expected):
        error = oracles.relative_error(found[i], value, sizes)
        assert error < oracles.PRECISION[dtype], (i, options)


@pytest.mark.parametrize("dtype", oracles.PRECISION)
@pytest.mark.parametrize("act", ACTS)
def test_styled_epilogue_compiled_is_the_oracle_of_edge_shapes(dtype, act):
    options = {"act": act, "alpha": 0.2, "gain": 1.3, "clamp": 0.9}
    for shape in oracles.EDGES:
        for maps in {1, shape[0]}:
            check_compiled(dtype, inputs(shape, maps), options)


@pytest.mark.parametrize("dtype", oracles.PRECISION)
@hypothesis.settings(max_examples=80, deadline=None, derandomize=True)
@hypothesis.given(case=cases())
def test_styled_epilogue_compiled_is_the_oracle(dtype, case):
    check_compiled(dtype, *case)


@pytest.mark.parametrize(
    "present", [{"scale"}, {"noise", "strength"}, {"bias"}, {"scale", "bias"}, set()]
)
def test_styled_epilogue_without_some_inputs(impl, present):
    names = ["x", "scale", "noise", "strength", "bias"]
    given = dict(zip(names, inputs([2, 3, 4, 5], 1), strict=True))
    arguments = [
        tf.constant(v) if k == "x" or k in present else None for k, v in given.items()
    ]
    neutral = [None, np.ones([2, 5]), np.zeros([1, 3, 4, 1]), 0.0, np.zeros(5)]
    filled = [n if a is None else a for a, n in zip(arguments, neutral, strict=True)]
    sources = [a for a in arguments if a is not None]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        y = ops.styled_epilogue(*arguments, impl=impl)
    expected = oracles.styled_epilogue(*filled, "lrelu", 0.2, np.sqrt(2), None)
    close(y, expected, 1e-13)
    assert all(d is not None for d in tape.gradient(y, sources))


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("clamp", [None, 0.8])
@pytest.mark.parametrize("maps", [1, 2])
def test_styled_epilogue_numeric_gradients(impl, act, clamp, maps):
    arguments = [tf.constant(v) for v in inputs([2, 2, 1, 3], maps, 3)]

    def op(*arguments):
        return ops.styled_epilogue(*arguments, act=act, clamp=clamp, impl=impl)

    def first(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            cube = tf.reduce_sum(op(*arguments) ** 3)
        gradients = tape.gradient(cube, arguments)
        return tf.concat([tf.reshape(d, [-1]) for d in gradients], 0)

    for function in (op, first):
        for analytic, numeric in zip(
            *tf.test.compute_gradient(function, arguments, 1e-5), strict=True
        ):
            np.testing.assert_allclose(analytic, numeric, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("maps", [1, 2])
def test_styled_epilogue_third_derivative_of_compiled(act, maps):
    require_compiled()
    arguments = [tf.constant(v) for v in inputs([2, 3, 2, 3], maps, 4)]
    results = []
    for impl in ("reference", "compiled"):
        with tf.GradientTape() as t3:
            t3.watch(arguments)
            with tf.GradientTape() as t2:
                t2.watch(arguments)
                with tf.GradientTape() as t1:
                    t1.watch(arguments)
                    y = ops.styled_epilogue(*arguments, act=act, clamp=2.5, impl=impl)
                    loss = tf.reduce_sum(y**4)
                loss = sum(tf.reduce_sum(d**2) for d in t1.gradient(loss, arguments))
            loss = sum(tf.reduce_sum(d**2) for d in t2.gradient(loss, arguments))
        results.append(t3.gradient(loss, arguments))
    for twin, compiled in zip(*results, strict=True):
        close(compiled, twin, 1e-10)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", TYPES)
def test_styled_epilogue_types(impl, dtype, act):
    wide = [tf.constant(v) for v in inputs([3, 4, 5, 20], 3)]
    arguments = [tf.cast(v, dtype) for v in wide]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        y = ops.styled_epilogue(*arguments, act=act, clamp=100.0, impl=impl)
    gradients = tape.gradient(y, arguments)
    assert y.dtype == dtype
    assert [d.dtype for d in gradients] == [dtype] * 5
    rounded = [tf.cast(v, tf.float64) for v in arguments]
    gain = 1.0 if act == "linear" else np.sqrt(2)
    expected = oracles.styled_epilogue(*rounded, act, 0.2, gain, 100.0)
    # The twin rounds three times, where x * scale and noise + bias may cancel.
    tolerance = TYPES[dtype] * (1 if impl == "compiled" else 4)
    close(tf.cast(y, tf.float64), expected, tolerance)
    with tf.GradientTape() as tape:
        tape.watch(rounded)
        y = ops.styled_epilogue(*rounded, act=act, clamp=100.0, impl="reference")
    for actual, expected in zip(gradients, tape.gradient(y, rounded), strict=True):
        close(tf.cast(actual, tf.float64), expected, 4 * tolerance)


def test_styled_epilogue_mixed_types(impl):
    x, scale, noise, strength, bias = inputs([2, 3, 4, 5], 1)
    x, scale = tf.cast(x, tf.bfloat16), tf.cast(scale, tf.bfloat16)
    others = [tf.Variable(tf.cast(v, tf.float32)) for v in (noise, strength, bias)]
    with tf.GradientTape() as tape:
        tape.watch([x, scale])
        y = ops.styled_epilogue(x, scale, *others, impl=impl)
    gradients = tape.gradient(y, [x, scale, *others])
    types = [tf.bfloat16] * 2 + [tf.float32] * 3
    assert [y.dtype] + [d.dtype for d in gradients] == [tf.bfloat16, *types]


def test_styled_epilogue_gradient_is_zero_at_the_clamp(impl):
    x = tf.reshape(tf.constant([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0]), [1, 2, 3, 1])
    scale = tf.ones([1, 1])
    with tf.GradientTape() as tape:
        tape.watch([x, scale])
        y = ops.styled_epilogue(x, scale, act="linear", clamp=2.0, impl=impl)
    dx, d_scale = tape.gradient(y, [x, scale])
    np.testing.assert_array_equal(tf.reshape(y, [-1]), [-2, -2, -1, 1, 2, 2])
    np.testing.assert_array_equal(tf.reshape(dx, [-1]), [0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(d_scale, [[0.0]])


@pytest.mark.parametrize("dtype", TYPES)
def test_styled_epilogue_gradient_is_zero_where_the_clamp_is_rounded(impl, dtype):
    """The small types round 0.45 down: y at the clamp is below it."""
    x = tf.cast(tf.reshape([-3.0, 0.1, 3.0], [1, 1, 3, 1]), dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ops.styled_epilogue(x, act="linear", clamp=0.45, impl=impl)
    np.testing.assert_array_equal(tf.reshape(tape.gradient(y, x), [-1]), [0, 1, 0])


def test_styled_epilogue_keeps_infinities_and_nan(impl):
    x = tf.reshape(tf.constant([-np.inf, np.nan, np.inf] * 20), [1, 3, 1, 20])
    y = ops.styled_epilogue(x, act="relu", impl=impl)
    expected = np.reshape([0, np.nan, np.inf] * 20, [1, 3, 1, 20])
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("maps", [1, None])
def test_styled_epilogue_unknown_dimensions(impl, maps):
    arguments = [tf.constant(v) for v in inputs([2, 3, 4, 5], maps or 2)]
    shapes = [[None, 3, 4, 5], [None, 5], [maps, 3, 4, 1], [], [5]]

    @tf.function(input_signature=[tf.TensorSpec(s, tf.float64) for s in shapes])
    def run(*arguments):
        with tf.GradientTape() as outer:
            outer.watch(arguments)
            with tf.GradientTape() as inner:
                inner.watch(arguments)
                y = ops.styled_epilogue(*arguments, impl=impl)
                loss = tf.reduce_sum(y**3)
            first = inner.gradient(loss, arguments)
            loss = sum(tf.reduce_sum(d**2) for d in first)
        return y, *first, *outer.gradient(loss, arguments)

    actual, expected = run(*arguments), run.python_function(*arguments)
    assert actual[0].shape == [2, 3, 4, 5]
    for a, e in zip(actual, expected, strict=True):
        close(a, e, 1e-12)


def test_styled_epilogue_keeps_only_the_output():
    """The backward function of a traced call takes y and no other feature map."""
    require_compiled()
    arguments = [tf.constant(v, tf.float32) for v in inputs([2, 3, 4, 5], 2)]

    @tf.function
    def run(*arguments):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            y = ops.styled_epilogue(*arguments, impl="compiled")
        return tape.gradient(y, arguments)

    graph = run.get_concrete_function(*arguments).graph
    (op,) = [
        op for op in graph.get_operations() if op.type == "TfstyleganStyledEpilogueGrad"
    ]
    forward = op.inputs[1].op
    assert forward.type == "TfstyleganStyledEpilogue"
    assert forward.inputs[0].name not in [t.name for t in op.inputs]


_HASHES = """
import sys
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import hashlib
from tfstylegan import ops
shapes = [[3, 40, 50, 70], [3, 70], [1, 40, 50, 1], [], [70]]
arguments = [tf.random.stateless_normal(s, [1, len(s)]) for s in shapes]
with tf.GradientTape() as outer:
    outer.watch(arguments)
    with tf.GradientTape() as inner:
        inner.watch(arguments)
        y = ops.styled_epilogue(*arguments, impl="compiled")
    first = inner.gradient(y, arguments, tf.cos(y))
second = outer.gradient(first[:2], arguments)
for t in [y, *first, *second]:
    print(hashlib.sha256(t.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_styled_epilogue_is_the_same_for_any_number_of_threads():
    require_compiled()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", _HASHES, str(threads)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout
        for threads in (1, 2, 5)
    ]
    assert outputs[0].count("\n") == 11
    assert outputs[0] == outputs[1] == outputs[2]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"x": np.zeros([2, 3, 4, 5], np.int32)}, "x must be .*int32"),
        ({"x": np.zeros([2, 3, 5])}, r"x must be \[N, H, W, C\], got shape \(2, 3, 5"),
        ({"scale": np.zeros([2, 4])}, r"scale must be \[2, 5\].*got shape \(2, 4\)"),
        ({"scale": np.zeros([5])}, r"scale must be .*got shape \(5,\)"),
        ({"noise": np.zeros([3, 3, 4, 1])}, r"noise must be .*got shape \(3, 3, 4, 1"),
        ({"noise": np.zeros([2, 3, 4, 5])}, r"noise must be .*got shape \(2, 3, 4, 5"),
        ({"noise": None}, "noise and strength .*got noise=None"),
        ({"strength": None}, "noise and strength .*got strength=None"),
        ({"strength": np.zeros([5])}, r"strength must be .*got shape \(5,\)"),
        ({"bias": np.zeros(4)}, r"bias must be \[5\].*got shape \(4,\)"),
        ({"act": "swish"}, "act must be one of .*'swish'"),
        ({"alpha": -0.1}, "alpha must be .*got -0.1"),
        ({"gain": 0}, "gain must be .*got 0"),
        ({"clamp": -1.0}, "clamp must be above 0 or None, got -1"),
        ({"impl": "fast"}, "impl must be one of .*'fast'"),
    ],
)
def test_styled_epilogue_rejects(arguments, message):
    good = {
        "x": np.zeros([2, 3, 4, 5]),
        "scale": np.zeros([2, 5]),
        "noise": np.zeros([2, 3, 4, 1]),
        "strength": 1.0,
        "bias": np.zeros(5),
    }
    with pytest.raises(ValueError, match=message):
        ops.styled_epilogue(**{**good, **arguments})


def test_styled_epilogue_kernels_check_what_they_are_given():
    require_compiled()
    compiled = ops.library.library()
    features, scalars = tf.zeros([2, 3, 4, 5]), tf.zeros([3], tf.float64)
    noise = {"noise": tf.zeros([1, 3, 4, 1]), "strength": tf.zeros([])}
    plane = {"plane": noise["noise"]}
    common = {
        "scale": tf.zeros([2, 5]),
        "bias": tf.zeros([5]),
        "scalars": scalars,
        "act": "lrelu",
    }
    cotangents = {
        "v_x": features,
        "v_scale": common["scale"],
        "v_plane": noise["noise"],
        "v_bias": common["bias"],
    }
    maps = {"dy": features, "y": features}
    changes = [
        ({"scale": tf.zeros([2, 4])}, r"scale must be .*got \[2,4\]"),
        ({"bias": tf.zeros([1])}, r"bias must be .*got \[1\]"),
        ({"scalars": scalars[:2]}, r"scalars must be .*got shape \[2\]"),
        ({"act": "swish"}, "swish"),
    ]
    for change, message in [
        *changes,
        ({"noise": tf.zeros([3, 3, 4, 1])}, r"noise.* must be .*got \[3,3,4,1\]"),
        ({"noise": tf.zeros([2, 3, 4, 5])}, r"noise.* must be .*got \[2,3,4,5\]"),
        ({"strength": tf.zeros([1])}, r"strength must be .*got \[1\]"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            compiled.tfstylegan_styled_epilogue(
                x=features, **{**common, **noise, **change}
            )
    changes.insert(0, ({"plane": tf.zeros([3, 3, 4, 1])}, r"plane.* \[3,3,4,1\]"))
    for change, message in [*changes, ({"y": features[:1]}, r"input 1 .*got \[1,3")]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            compiled.tfstylegan_styled_epilogue_grad(
                **{**maps, **common, **plane, **change}
            )
    for change, message in [
        *changes[-2:],
        ({"v_scale": tf.zeros([1, 5])}, r"input 1 .*got \[1,5\]"),
        ({"v_plane": tf.zeros([2, 3, 4, 1])}, r"input 2 .*got \[2,3,4,1\]"),
        ({"dy": features[:1]}, r"input 4 .*got \[1,3"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            compiled.tfstylegan_styled_epilogue_grad_grad(
                **{**cotangents, **maps, **common, **plane, **change}
            )
