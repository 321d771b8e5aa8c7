"""ops.fused_bias_act: definition, reference numbers, derivatives, both forms."""

import hypothesis
import numpy as np
import oracles
import pytest
import tensorflow as tf
from hypothesis import strategies

from tfstylegan import ops

ACTS = "linear relu lrelu tanh sigmoid elu selu softplus swish".split()
TYPES = {"float32": 2e-6, "float64": 1e-13, "bfloat16": 1e-2, "float16": 2e-3}


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
    assert oracles.relative_error(actual, expected) <= tolerance


def random_case(seed):
    """x and bias off the kinks of every activation and clamp, and options."""
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(1, 6))
    axis = int(rng.integers(rank))
    shape = rng.integers(1, 5, rank)
    shape[axis] = rng.choice([1, 3, 5, 64, 300])
    bias = rng.standard_normal(shape[axis])
    sum_ = rng.uniform(0.1, 2, shape) * rng.choice([-1, 1], shape)
    x = sum_ - np.reshape(bias, [-1 if i == axis else 1 for i in range(rank)])
    options = {
        "axis": axis,
        "act": ACTS[rng.integers(len(ACTS))],
        "alpha": float(rng.choice([0, 0.2, 0.6, 1.3])),
        "gain": float(rng.choice([0.7, 1, 2.5, -1.2])),
        "clamp": [None, 0.45, 100.0][rng.integers(3)],
    }
    return x, bias, options


@pytest.mark.parametrize("seed", range(40))
def test_fused_bias_act_is_its_definition(impl, seed):
    x, bias, options = random_case(seed)
    y = ops.fused_bias_act(x, bias, **options, impl=impl)
    close(y, oracles.bias_act(x, bias, **options), 1e-13)


@pytest.mark.parametrize(
    "act, below, above",
    [
        ("lrelu", -0.28284271, 1.41421356),
        ("swish", -0.38034061, 1.03387296),
        ("selu", -1.11133074, 1.05070099),
        ("softplus", 0.31326169, 1.31326169),
        ("elu", -0.63212056, 1.0),
        ("relu", 0.0, 1.41421356),
        ("linear", -1.0, 1.0),
    ],
)
def test_fused_bias_act_defaults(impl, act, below, above):
    y = ops.fused_bias_act(tf.constant([-1.0, 1.0], tf.float64), act=act, impl=impl)
    np.testing.assert_allclose(y, [below, above], atol=1e-8)


def derivatives(x, bias, ct, vx, vb, options, impl):
    """y; dx, db for cotangent ct; gradients of <dx, vx> + <db, vb> in ct, x, bias."""
    sources = [x] if bias is None else [x, bias]
    with tf.GradientTape() as outer:
        outer.watch([ct, *sources])
        with tf.GradientTape() as inner:
            inner.watch(sources)
            y = ops.fused_bias_act(x, bias, **options, impl=impl)
        first = inner.gradient(y, sources, ct)
    cotangents = [vx, vb][: len(first)]
    sources.insert(0, ct)
    second = outer.gradient(first, sources, cotangents, unconnected_gradients="zero")
    names = ["y", "dx", "db"][: len(sources)] + ["gg_ct", "gg_x", "gg_b"]
    return dict(zip(names, [y, *first, *second]))


def test_fused_bias_act_golden(impl, golden):
    data = golden("bias_act")
    assert len(data["meta"]["cases"]) == 72
    for case in data["meta"]["cases"]:
        tensors = {
            field: tf.constant(data[f"{case['name']}/{field}"])
            for field in ("x", "ct", "vx", "b", "vb")
            if f"{case['name']}/{field}" in data
        }
        options = {key: case[key] for key in ("act", "alpha", "gain", "clamp")}
        found = derivatives(
            tensors["x"],
            tensors.get("b"),
            tensors["ct"],
            tensors["vx"],
            tensors.get("vb"),
            {"axis": case["dim"], **options},
            impl,
        )
        assert ("db" in found) == case["has_b"]
        for field, value in found.items():
            expected = data[f"{case['name']}/{field}"]
            error = oracles.relative_error(value, expected)
            assert error < 1e-5, (case, field)


def check_compiled(dtype, x, bias, ct, vx, vb, options):
    """Output, gradients and second gradients of the compiled op are the oracle's."""
    require_compiled()
    x = off_the_clamp(x, bias, options)
    tensors = [tf.cast(t, dtype) for t in (x, bias, ct, vx, vb)]
    found = derivatives(*tensors, options, "compiled")
    arrays = [np.asarray(t, np.float64) for t in tensors]
    expected = oracles.bias_act_derivatives(*arrays, **options)
    assert found.keys() == expected.keys()
    for name, (value, sizes) in expected.items():
        assert found[name].dtype == dtype
        error = oracles.relative_error(found[name], value, sizes)
        assert error < oracles.PRECISION[dtype], (name, options)


def off_the_clamp(x, bias, options):
    """x, but x + bias = 0.1 where y is too near to the clamp for its rounding."""
    if options["clamp"] is None:
        return x
    y = oracles.bias_act(x, bias, **options | {"clamp": None})
    near = np.abs(np.abs(y) / options["clamp"] - 1) < 0.2
    shape = [-1 if i == options["axis"] else 1 for i in range(x.ndim)]
    return np.where(near, 0.1 - np.reshape(bias, shape), x)


@pytest.mark.parametrize("dtype", oracles.PRECISION)
def test_fused_bias_act_compiled_is_the_oracle_in_golden_cases(dtype, golden):
    data = golden("bias_act")
    for case in data["meta"]["cases"]:
        arrays = [data.get(f"{case['name']}/{n}") for n in ("x", "b", "ct", "vx", "vb")]
        if not case["has_b"]:
            arrays[1] = arrays[4] = np.zeros(case["shape"][case["dim"]])
        defaults = data["meta"]["defaults"][case["act"]]
        options = {"axis": case["dim"], "act": case["act"], "clamp": case["clamp"]}
        for name in ("alpha", "gain"):
            given = case[name]
            options[name] = defaults[f"def_{name}"] if given is None else given
        check_compiled(dtype, *arrays, options)


def compiled_case(shape, axis, seed=0):
    """x off the kinks, bias, and cotangents."""
    rng = np.random.default_rng(seed)
    bias, vb = rng.standard_normal([2, shape[axis]])
    sums = rng.uniform(0.1, 2, shape) * rng.choice([-1, 1], shape)
    x = sums - np.reshape(bias, [-1 if i == axis else 1 for i in range(len(shape))])
    ct, vx = rng.standard_normal([2, *shape])
    return x, bias, ct, vx, vb


@pytest.mark.parametrize("dtype", oracles.PRECISION)
@pytest.mark.parametrize("act", ACTS)
def test_fused_bias_act_compiled_is_the_oracle_of_edge_shapes(dtype, act):
    options = {"act": act, "alpha": 0.2, "gain": 1.3, "clamp": 0.9}
    for shape in oracles.EDGES:
        check_compiled(dtype, *compiled_case(shape, 3), options | {"axis": 3})


@strategies.composite
def cases(draw):
    shape = [draw(strategies.integers(low, 3)) for low in (0, 1, 1)]
    axis = draw(strategies.sampled_from([1, 3]))
    shape.insert(axis, draw(strategies.sampled_from([1, 3, 5, 512])))
    arrays = compiled_case(shape, axis, draw(strategies.integers(0, 2**32 - 1)))
    options = {
        "axis": axis,
        "act": draw(strategies.sampled_from(ACTS)),
        "alpha": draw(strategies.sampled_from([0.0, 0.2, 1.3])),
        "gain": draw(strategies.sampled_from([0.7, 1.0, 2.5, -1.2])),
        "clamp": draw(strategies.sampled_from([None, 0.45, 100.0])),
    }
    return *arrays, options


@pytest.mark.parametrize("dtype", oracles.PRECISION)
@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
@hypothesis.given(case=cases())
def test_fused_bias_act_compiled_is_the_oracle(dtype, case):
    check_compiled(dtype, *case)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(seed=strategies.integers(0, 2**32 - 1), biased=strategies.booleans())
def test_fused_bias_act_twin_equals_compiled(seed, biased):
    require_compiled()
    x, bias, options = random_case(seed)
    rng = np.random.default_rng(seed)
    tensors = [rng.standard_normal(v.shape) for v in (x, x, bias)]
    arguments = [tf.constant(v) for v in (x, bias, *tensors)]
    if not biased:
        arguments[1] = None
    twin = derivatives(*arguments, options, "reference")
    compiled = derivatives(*arguments, options, "compiled")
    assert twin.keys() == compiled.keys()
    for name, value in twin.items():
        close(compiled[name], value, 1e-12)


@pytest.mark.parametrize("act", ACTS)
def test_fused_bias_act_third_derivative_of_compiled(act):
    require_compiled()
    rng = np.random.default_rng(0)
    x = tf.constant(rng.uniform(0.1, 2, [3, 4]) * rng.choice([-1, 1], [3, 4]))
    bias = tf.constant(rng.uniform(-0.05, 0.05, 4))
    results = []
    for impl in ("reference", "compiled"):
        with tf.GradientTape() as t3:
            t3.watch([x, bias])
            with tf.GradientTape() as t2:
                t2.watch([x, bias])
                with tf.GradientTape() as t1:
                    t1.watch([x, bias])
                    y = ops.fused_bias_act(x, bias, act=act, gain=1.3, impl=impl)
                    loss = tf.reduce_sum(y**4)
                loss = sum(tf.reduce_sum(d**2) for d in t1.gradient(loss, [x, bias]))
            loss = sum(tf.reduce_sum(d**2) for d in t2.gradient(loss, [x, bias]))
        results.append(t3.gradient(loss, [x, bias]))
    for twin, compiled in zip(*results):
        close(compiled, twin, 1e-11)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("clamp", [None, 0.8])
def test_fused_bias_act_numeric_gradients(impl, act, clamp):
    rng = np.random.default_rng(1)
    x = tf.constant(rng.uniform(0.2, 2, [2, 3, 2]) * rng.choice([-1, 1], [2, 3, 2]))
    bias = tf.constant(rng.uniform(-0.05, 0.05, 3))

    def op(x, bias):
        return ops.fused_bias_act(x, bias, axis=1, act=act, clamp=clamp, impl=impl)

    def first(x, bias):
        with tf.GradientTape() as tape:
            tape.watch([x, bias])
            cube = tf.reduce_sum(op(x, bias) ** 3)
        return tf.concat(
            [tf.reshape(d, [-1]) for d in tape.gradient(cube, [x, bias])], 0
        )

    for function in (op, first):
        for analytic, numeric in zip(
            *tf.test.compute_gradient(function, [x, bias], 1e-5)
        ):
            np.testing.assert_allclose(analytic, numeric, atol=1e-7, rtol=1e-6)


def test_fused_bias_act_gradient_is_zero_at_the_clamp(impl):
    x = tf.constant([-3.0, -2.0, -1.0, 1.0, 2.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ops.fused_bias_act(x, clamp=2.0, impl=impl)
    np.testing.assert_array_equal(y, [-2, -2, -1, 1, 2, 2])
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 0, 1, 1, 0, 0])


@pytest.mark.parametrize("dtype", TYPES)
def test_fused_bias_act_gradient_is_zero_where_the_clamp_is_rounded(impl, dtype):
    """The small types round 0.45 down: y at the clamp is below it."""
    x = tf.constant([-3.0, 0.1, 3.0], dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ops.fused_bias_act(x, clamp=0.45, impl=impl)
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 0])


@pytest.mark.parametrize("act", ACTS)
def test_fused_bias_act_of_large_inputs_stays_finite(impl, act):
    x = tf.constant([-1e4, -200.0, -90.0, 90.0, 200.0, 1e4])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = ops.fused_bias_act(x, act=act, impl=impl)
        dx = inner.gradient(y, x)
    second = outer.gradient(dx, x, unconnected_gradients="zero")
    for value in (y, dx, second):
        assert np.all(np.isfinite(value))


def test_fused_bias_act_keeps_infinities_and_nan(impl):
    x = tf.constant([-np.inf, np.nan, np.inf])
    y = ops.fused_bias_act(x, act="relu", impl=impl)
    np.testing.assert_array_equal(y, [0, np.nan, np.inf])
    y = ops.fused_bias_act(x, act="lrelu", clamp=5.0, impl=impl)
    np.testing.assert_array_equal(y, [-5, np.nan, 5])


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("dtype", TYPES)
def test_fused_bias_act_types(impl, dtype, act):
    rng = np.random.default_rng(3)
    x = tf.cast(rng.standard_normal([4, 5, 6]), dtype)
    bias = tf.cast(rng.standard_normal(6), dtype)
    with tf.GradientTape() as tape:
        tape.watch([x, bias])
        y = ops.fused_bias_act(x, bias, act=act, clamp=1.7, impl=impl)
    assert y.dtype == x.dtype
    assert [d.dtype for d in tape.gradient(y, [x, bias])] == [x.dtype] * 2
    wide = [tf.cast(v, tf.float64).numpy() for v in (x, bias)]
    gain = np.sqrt(2) if act in ("relu", "lrelu", "swish") else 1.0
    expected = oracles.bias_act(*wide, 2, act, 0.2, gain, 1.7)
    close(tf.cast(y, tf.float64), expected, TYPES[dtype])


@pytest.mark.parametrize("shape", [[None, 4, 3], [None, None, None]])
def test_fused_bias_act_unknown_dimensions(impl, shape):
    @tf.function(
        input_signature=[tf.TensorSpec(shape), tf.TensorSpec([3]), tf.TensorSpec([])]
    )
    def gradients(x, bias, factor):
        with tf.GradientTape() as tape:
            tape.watch([x, bias])
            y = ops.fused_bias_act(x, bias * factor, act="lrelu", impl=impl)
            loss = tf.reduce_sum(y**2)
        return y, *tape.gradient(loss, [x, bias])

    y, dx, db = gradients(tf.ones([2, 4, 3]), tf.constant([0.0, 1.0, -2.0]), 1.0)
    np.testing.assert_allclose(y[0, 0], np.sqrt(2) * np.array([1, 2, -0.2]), rtol=1e-6)
    np.testing.assert_allclose(dx[0, 0], [4, 8, 4 * 0.2 * -0.2], rtol=1e-5)
    np.testing.assert_allclose(db, np.array([4, 8, 4 * 0.2 * -0.2]) * 8, rtol=1e-5)


@pytest.mark.parametrize("shape", [[0, 3], [2, 0, 3], [4, 0]])
def test_fused_bias_act_empty(impl, shape):
    x, bias = tf.zeros(shape), tf.zeros(shape[-1])
    with tf.GradientTape() as tape:
        tape.watch([x, bias])
        y = ops.fused_bias_act(x, bias, act="lrelu", impl=impl)
    dx, db = tape.gradient(y, [x, bias])
    assert y.shape == dx.shape == shape
    np.testing.assert_array_equal(db, np.zeros(shape[-1]))


@pytest.mark.parametrize("shape, axis", [([3000, 70], 1), ([7, 70, 900], 1)])
def test_fused_bias_act_bias_gradient_of_many_blocks(impl, shape, axis):
    x = tf.random.stateless_normal(shape, [1, 2])
    ct = tf.random.stateless_normal(shape, [3, 4])
    bias = tf.random.stateless_normal([70], [5, 6])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(bias)
        y = ops.fused_bias_act(x, bias, axis=axis, act="lrelu", impl=impl)
    others = tuple(i for i in range(len(shape)) if i != axis)
    slope = np.where(y > 0, 1.0, 0.2) * np.sqrt(2)
    results = [tape.gradient(y, bias, ct) for _ in range(3)]
    close(results[0], (ct.numpy().astype(np.float64) * slope).sum(others), 1e-5)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"x": np.zeros([2, 3], np.int32)}, "x must be .*int32"),
        ({"x": np.float32(1), "bias": None}, "x must have .*rank"),
        ({"axis": 2}, r"axis must be in \[-2, 2\), got 2"),
        ({"bias": np.zeros(4)}, "bias must be .*C = 3.*got shape .4,"),
        ({"bias": np.zeros([1, 3])}, "bias must be .*got shape .1, 3"),
        ({"act": "gelu"}, "act must be one of .*'gelu'"),
        ({"alpha": -0.1}, "alpha must be .*got -0.1"),
        ({"gain": 0}, "gain must be .*got 0"),
        ({"clamp": 0}, "clamp must be above 0 or None, got 0"),
        ({"clamp": -1.0}, "clamp must be above 0 or None, got -1"),
        ({"impl": "fast"}, "impl must be one of .*'fast'"),
    ],
)
def test_fused_bias_act_rejects(arguments, message):
    arguments = {"x": np.zeros([2, 3]), "bias": np.zeros(3), **arguments}
    with pytest.raises(ValueError, match=message):
        ops.fused_bias_act(**arguments)


def test_fused_bias_act_kernels_check_what_they_are_given():
    require_compiled()
    compiled = ops.library.library()
    x, bias = tf.zeros([2, 3]), tf.zeros([3])
    scalars = tf.constant([0.2, 1.0, np.inf], tf.float64)
    good = {"x": x, "bias": bias, "scalars": scalars, "axis": 1, "act": "lrelu"}
    for change, message in [
        ({"axis": 2}, "axis must be in .*got 2"),
        ({"bias": tf.zeros([2])}, r"bias must be \[3\].*got \[2\]"),
        ({"scalars": scalars[:2]}, "scalars must be"),
        ({"act": "gelu"}, "gelu"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            compiled.tfstylegan_fused_bias_act(**{**good, **change})
    del good["x"]
    with pytest.raises(tf.errors.InvalidArgumentError, match="ref must have the shape"):
        compiled.tfstylegan_fused_bias_act_grad(
            dy=x, dy_bias=tf.zeros([0]), ref=tf.zeros([3, 2]), **good
        )
