"""ops.upfirdn2d: definition, reference numbers, derivatives, both implementations."""

import hypothesis
import numpy as np
import oracles
import pytest
import tensorflow as tf
from hypothesis import strategies
from oracles import relative_error

from tfstylegan import ops

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


def random_case(seed):
    """Inputs and arguments with at least one output sample."""
    rng = np.random.default_rng(seed)
    while True:
        shape = [*rng.integers(1, 3, 1), *rng.integers(1, 11, 2)]
        x = rng.standard_normal([*shape, rng.choice([1, 2, 3, 16, 19])])
        taps = [rng.standard_normal(n) for n in rng.integers(1, 12, 2)]
        kernels = [np.outer(*taps), rng.standard_normal([taps[0].size, taps[1].size])]
        kernel = [taps[0], *kernels][rng.integers(3)]
        options = {
            "up": tuple(int(v) for v in rng.integers(1, 5, 2)),
            "down": tuple(int(v) for v in rng.integers(1, 5, 2)),
            "padding": tuple(int(v) for v in rng.integers(-4, 9, 4)),
            "flip_kernel": bool(rng.integers(2)),
            "gain": float(rng.uniform(0.5, 4)),
        }
        matrix = np.outer(kernel, kernel) if kernel.ndim == 1 else kernel
        room = [
            x.shape[1 + a] * options["up"][a]
            + sum(options["padding"][2 * a : 2 * a + 2])
            for a in range(2)
        ]
        if room[0] >= matrix.shape[0] and room[1] >= matrix.shape[1]:
            return x, kernel, matrix, options


@pytest.mark.parametrize("seed", range(40))
def test_upfirdn2d_is_its_definition(impl, seed):
    x, kernel, matrix, options = random_case(seed)
    y = ops.upfirdn2d(tf.constant(x), kernel, **options, impl=impl)
    assert relative_error(y, oracles.upfirdn2d(x, matrix, **options)) < 1e-13


@pytest.mark.parametrize("channels", [15, 16, 17, 40, 64])
@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("dtype", TYPES)
def test_upfirdn2d_four_taps(dtype, up, down, channels):
    """The shapes of training, at every parity and over every edge."""
    require_compiled()
    rng = np.random.default_rng(channels)
    kernel = np.outer(*rng.uniform(0.5, 2, [2, 4]))
    for _ in range(8):
        height, width = rng.integers(1, 8, 2)
        padding = tuple(int(v) for v in rng.integers(-1, 7, 4))
        sides = height * up + sum(padding[:2]), width * up + sum(padding[2:])
        if min(sides) < 4:
            continue
        x = tf.cast(rng.standard_normal([2, height, width, channels]), dtype)
        options = {"up": up, "down": down, "padding": padding}
        y = ops.upfirdn2d(x, kernel, **options, impl="compiled")
        options.update(up=(up, up), down=(down, down), flip_kernel=False, gain=1.0)
        expected = oracles.upfirdn2d(tf.cast(x, tf.float64), kernel, **options)
        assert relative_error(tf.cast(y, tf.float64), expected) < TYPES[dtype]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_upfirdn2d_four_taps_keep_every_number_of_a_small_type(dtype):
    require_compiled()
    bits = np.arange(2**16, dtype=np.uint16).reshape(1, 16, 16, 256)
    x = tf.bitcast(bits, dtype)
    taps = np.zeros([4, 4])
    taps[1, 1] = 1
    options = {"padding": (1, 2, 1, 2), "flip_kernel": True, "impl": "compiled"}
    wide = tf.cast(x, tf.float64).numpy()
    finite = np.isfinite(wide)
    # One NaN or infinity spoils its neighbours, whatever the weight: take none.
    clean = tf.where(finite, x, tf.zeros_like(x))
    y = ops.upfirdn2d(clean, taps, **options)
    expected = np.where(finite, wide, 0)
    if dtype == "bfloat16":  # float32 subnormals may be flushed
        tiny = np.abs(expected) < 2.0**-126
        expected = np.where(tiny, tf.cast(y, tf.float64), expected)
    np.testing.assert_array_equal(tf.cast(y, tf.float64), expected)


def test_upfirdn2d_asymmetric_kernel_by_hand(impl):
    x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    kernel = np.outer([1, 2, 3, 4], [1, 2, 3, 4]) / 100
    y = ops.upfirdn2d(x, kernel, padding=(1, 2, 1, 2), impl=impl)
    np.testing.assert_allclose(y[0, ..., 0], [[0.55, 0.78], [0.79, 1.12]])
    y = ops.upfirdn2d(x, kernel, up=2, padding=(2, 1, 2, 1), gain=4, impl=impl)
    expected = [
        [0.16, 0.4, 0.64, 0.48],
        [0.48, 1.12, 1.76, 1.2],
        [0.8, 1.84, 2.88, 1.92],
        [0.72, 1.56, 2.4, 1.44],
    ]
    np.testing.assert_allclose(y[0, ..., 0], expected)


def test_upfirdn2d_negative_padding_crops(impl):
    x = np.arange(16.0).reshape(1, 4, 4, 1)
    y = ops.upfirdn2d(x, [[1.0]], padding=(-1, 0, -1, 0), impl=impl)
    np.testing.assert_array_equal(y, x[:, 1:, 1:])
    y = ops.upfirdn2d(x, None, padding=(0, -3, -2, 0), impl=impl)
    np.testing.assert_array_equal(y, x[:, :1, 2:])


def test_upfirdn2d_padding_far_outside(impl):
    x = np.arange(1.0, 5.0).reshape(1, 2, 2, 1)
    y = ops.upfirdn2d(x, None, padding=(-5, 9, 0, 0), impl=impl)
    np.testing.assert_array_equal(y, np.zeros([1, 6, 2, 1]))


def nhwc(array):
    return tf.constant(np.moveaxis(array, 1, -1))


def test_upfirdn2d_golden(impl, golden):
    """All published cases; the stored cube_* belong to sum(y^3) / 6."""
    data = golden("upfirdn2d")
    cases = [c for c in data["meta"]["cases"] if c["op"] == "upfirdn2d"]
    assert len(cases) == 54
    for case in cases:
        name, (x0, x1, y0, y1) = case["name"], case["padding"]

        def op(x, case=case, name=name, padding=(y0, y1, x0, x1)):
            return ops.upfirdn2d(
                x,
                data.get(f"{name}/f"),
                up=case["up"][::-1],
                down=case["down"][::-1],
                padding=padding,
                flip_kernel=case["flip_filter"],
                gain=case["gain"],
                impl=impl,
            )

        x, ct, v = (nhwc(data[f"{name}/{field}"]) for field in ("x", "ct", "v"))
        with tf.GradientTape(persistent=True) as outer:
            outer.watch([x, ct])
            with tf.GradientTape(persistent=True) as inner:
                inner.watch(x)
                y = op(x)
                cube = tf.reduce_sum(y**3) / 6
            dx = inner.gradient(y, x, ct)
            cube_dx = inner.gradient(cube, x)
            products = tf.reduce_sum(dx * v), tf.reduce_sum(cube_dx * v)
        found = {
            "y": y,
            "dx": dx,
            "gg_ct": outer.gradient(products[0], ct),
            "cube_dx": cube_dx,
            "cube_hvp": outer.gradient(products[1], x),
        }
        for field, value in found.items():
            expected = np.moveaxis(data[f"{name}/{field}"], 1, -1)
            assert relative_error(value, expected) < 1e-5, (name, field)


def check_compiled(dtype, x, kernel, options):
    """Output, gradient and second gradient of the compiled op are the oracle's."""
    require_compiled()
    matrix = np.outer(kernel, kernel) if np.ndim(kernel) == 1 else kernel
    response = oracles.upfirdn2d_matrix(*x.shape[1:3], matrix, **options)
    rng = np.random.default_rng(0)
    y_shape = [x.shape[0], *response.shape[2:], x.shape[3]]
    arrays = x, rng.standard_normal(y_shape), rng.standard_normal(x.shape)
    x, ct, v = (tf.cast(array, dtype) for array in arrays)
    with tf.GradientTape() as outer:
        outer.watch(ct)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = ops.upfirdn2d(x, kernel, **options, impl="compiled")
        dx = inner.gradient(y, x, ct)
    gg_ct = outer.gradient(dx, ct, v)

    def filtered(t, equation):
        t = np.asarray(t, np.float64)
        return np.einsum(equation, response, t, optimize=True)

    expected = {
        "y": (y, filtered(x, "hwij,nhwc->nijc")),
        "dx": (dx, filtered(ct, "hwij,nijc->nhwc")),
        "gg_ct": (gg_ct, filtered(v, "hwij,nhwc->nijc")),
    }
    for name, (found, value) in expected.items():
        assert found.dtype == dtype
        assert relative_error(found, value) < oracles.PRECISION[dtype], name


@pytest.mark.parametrize("dtype", oracles.PRECISION)
def test_upfirdn2d_compiled_is_the_oracle_in_golden_cases(dtype, golden):
    data = golden("upfirdn2d")
    for case in data["meta"]["cases"]:
        if case["op"] == "upfirdn2d":
            x0, x1, y0, y1 = case["padding"]
            options = {
                "up": case["up"][::-1],
                "down": case["down"][::-1],
                "padding": (y0, y1, x0, x1),
                "flip_kernel": case["flip_filter"],
                "gain": case["gain"],
            }
            kernel = data.get(f"{case['name']}/f", np.ones([1, 1]))
            x = np.moveaxis(data[f"{case['name']}/x"], 1, -1)
            check_compiled(dtype, x, kernel, options)


@pytest.mark.parametrize("dtype", oracles.PRECISION)
@pytest.mark.parametrize("up, down", [(1, 1), (2, 1), (1, 2)])
def test_upfirdn2d_compiled_is_the_oracle_of_edge_shapes(dtype, up, down):
    options = {"up": (up, up), "down": (down, down), "padding": (2, 1, 3, 2)}
    for shape in oracles.EDGES:
        x = np.random.default_rng(1).standard_normal(shape)
        check_compiled(dtype, x, np.array([1.0, 3.0, 4.0, 2.0]), options)


@strategies.composite
def cases(draw):
    """x, kernel and options with at least one output sample."""
    rng = np.random.default_rng(draw(strategies.integers(0, 2**32 - 1)))
    pairs = {"up": (1, 3), "down": (1, 3), "size": (1, 8), "taps": (1, 8)}
    values = {
        name: [draw(strategies.integers(*limits)) for _ in range(2)]
        for name, limits in pairs.items()
    }
    if draw(strategies.booleans()):  # what networks ask for
        values["taps"] = [4, 4]
    padding = []
    for size, up, taps in zip(values["size"], values["up"], values["taps"]):
        before, after = (draw(strategies.integers(-2, 6)) for _ in range(2))
        padding += [before, max(after, taps - size * up - before)]
    batch = draw(strategies.integers(0, 2))
    channels = draw(strategies.sampled_from([1, 3, 5, 512]))
    kernel = rng.standard_normal(values["taps"])
    if draw(strategies.booleans()):
        kernel = np.outer(kernel[0, 0] * kernel[:, 0], kernel[0])
    options = {
        "up": values["up"],
        "down": values["down"],
        "padding": padding,
        "flip_kernel": draw(strategies.booleans()),
        "gain": draw(strategies.sampled_from([1.0, 0.5, 4.0])),
    }
    return rng.standard_normal([batch, *values["size"], channels]), kernel, options


@pytest.mark.parametrize("dtype", oracles.PRECISION)
@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(case=cases())
def test_upfirdn2d_compiled_is_the_oracle(dtype, case):
    check_compiled(dtype, *case)


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(seed=strategies.integers(0, 2**32 - 1))
def test_upfirdn2d_twin_equals_compiled(seed):
    require_compiled()
    x, kernel, _, options = random_case(seed)
    x = tf.constant(x)
    results = []
    for impl in ("reference", "compiled"):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = ops.upfirdn2d(x, kernel, **options, impl=impl)
                cube = tf.reduce_sum(y**3)
            dx = inner.gradient(cube, x)
            norm = tf.reduce_sum(dx**2)
        results.append((y, dx, outer.gradient(norm, x)))
    for twin, compiled in zip(*results):
        assert relative_error(compiled, twin) < 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_upfirdn2d_numeric_gradients(impl, seed):
    x, kernel, _, options = random_case(100 + seed)
    x = tf.constant(x[:1, :4, :4, :2])
    options["padding"] = (8, 8, 8, 8)

    def op(x):
        return ops.upfirdn2d(x, kernel, **options, impl=impl)

    def first(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            cube = tf.reduce_sum(op(x) ** 3)
        return tape.gradient(cube, x)

    for function in (op, first):
        analytic, numeric = tf.test.compute_gradient(function, [x], 1e-4)
        assert relative_error(analytic[0], numeric[0]) < 1e-6


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("seed", range(3))
def test_upfirdn2d_types(impl, dtype, seed):
    x, kernel, matrix, options = random_case(200 + seed)
    x = tf.cast(x, dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ops.upfirdn2d(x, kernel, **options, impl=impl)
    assert y.dtype == x.dtype and tape.gradient(y, x).dtype == x.dtype
    expected = oracles.upfirdn2d(tf.cast(x, tf.float64), matrix, **options)
    assert relative_error(tf.cast(y, tf.float64), expected) < TYPES[dtype]


@pytest.mark.parametrize("shape", [[None, 6, 5, 3], [None, None, None, 3], [None] * 4])
def test_upfirdn2d_unknown_dimensions(impl, shape):
    options = {"up": (2, 1), "down": (1, 2), "padding": (2, -1, 1, 2), "impl": impl}
    kernel = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, -6.0]])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float64)])
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = ops.upfirdn2d(x, kernel, **options)
            loss = tf.reduce_sum(y**2)
        return y, tape.gradient(loss, x)

    if shape[1] is not None:
        assert gradient.get_concrete_function().structured_outputs[0].shape == (
            [None, 12, 3, 3]
        )
    x = tf.constant(np.random.default_rng(0).standard_normal([2, 6, 5, 3]))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ops.upfirdn2d(x, kernel, **options)
        loss = tf.reduce_sum(y**2)
    np.testing.assert_allclose(gradient(x)[0], y, rtol=1e-12)
    np.testing.assert_allclose(gradient(x)[1], tape.gradient(loss, x), rtol=1e-12)


@pytest.mark.parametrize("shape", [[0, 4, 4, 3], [2, 4, 4, 0], [2, 0, 4, 3]])
def test_upfirdn2d_empty(impl, shape):
    x = tf.zeros(shape)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = ops.upfirdn2d(x, [1.0, 1.0], up=2, padding=(1, 1, 1, 1), impl=impl)
    assert y.shape == [shape[0], 2 * shape[1] + 1, 9, shape[3]]
    assert not np.any(y)
    assert tape.gradient(y, x).shape == shape


def test_upfirdn2d_same_bits_again(impl):
    x = tf.random.stateless_normal([8, 33, 31, 20], [1, 2])
    kernel = np.random.default_rng(0).standard_normal([4, 5])
    results = [
        ops.upfirdn2d(x, kernel, up=2, down=3, padding=(3, 3, 3, 3), impl=impl)
        for _ in range(3)
    ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"x": np.zeros([2, 3, 4])}, "x must be .*got shape .2, 3, 4"),
        ({"x": np.zeros([1, 4, 4, 1], np.int32)}, "x must be .*int32"),
        ({"kernel": np.zeros([2, 2, 2])}, "kernel must be .*got shape .2, 2, 2"),
        ({"kernel": np.zeros([0])}, "kernel must be .*got shape .0,"),
        ({"kernel": np.ones([5, 1])}, "kernel must fit .*5 taps for 4 samples"),
        ({"up": 0}, "up must be at least 1, got 0"),
        ({"up": (1, 2, 3)}, "up must be an integer or"),
        ({"down": 1.5}, "down must be an integer or .*got 1.5"),
        ({"padding": 1}, "padding must be .*got 1"),
        ({"padding": (0, 0, 0)}, "padding must be"),
        ({"impl": "fast"}, "impl must be one of .*'fast'"),
    ],
)
def test_upfirdn2d_rejects(arguments, message):
    arguments = {"x": np.zeros([1, 4, 4, 1]), "kernel": [1.0], **arguments}
    with pytest.raises(ValueError, match=message):
        ops.upfirdn2d(**arguments)


def test_upfirdn2d_rejects_a_kernel_that_is_not_constant():
    @tf.function
    def traced(x, kernel):
        return ops.upfirdn2d(x, kernel)

    with pytest.raises(ValueError, match="kernel must be a constant"):
        traced(tf.zeros([1, 4, 4, 1]), tf.ones([2]))


def test_upfirdn2d_kernel_checks_what_it_is_given():
    require_compiled()
    op = ops.library.library().tfstylegan_upfirdn2d
    good = {
        "x": tf.zeros([1, 4, 4, 1]),
        "taps": tf.ones([2, 2], tf.float64),
        "size": [3, 3],
        "up": [1, 1],
        "down": [1, 1],
        "pad0": [0, 0],
    }
    assert op(**good).shape == [1, 3, 3, 1]
    for change, message in [
        ({"x": tf.zeros([4, 4, 1])}, "x must be"),
        ({"taps": tf.ones([2], tf.float64)}, "taps must be"),
        ({"taps": tf.ones([0, 2], tf.float64)}, "taps must be"),
        ({"size": [3]}, "size must be"),
        ({"size": [-1, 3]}, "got -1 x 3"),
        ({"up": [0, 1]}, "up must be .*got 0"),
        ({"pad0": [1, 2, 3]}, "got 2, 2 and 3 values"),
    ]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            op(**{**good, **change})
