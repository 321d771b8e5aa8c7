"""tools/bench_cuda.py and its parts, as far as they go without a GPU or PyTorch."""

import importlib.util
import os
import shutil

import cuda_host
import numpy as np
import oracles
import pytest
from cuda_host import bench_cuda, cuda_checks, cuda_launchers, cuda_references
from test_commands import fails, run

ACTS = ("linear", "relu", "lrelu")
TOOL = "tools/bench_cuda.py"


def test_bench_cuda_says_what_it_does_not_take():
    fails(run(TOOL, "--dtypes=int8"), "--dtypes must be of", "'int8'")
    fails(run(TOOL, "--launches=0"), "--launches and --rounds must be at least 1")
    fails(run(TOOL, "--nvcc=nowhere"), "no nowhere on the PATH")
    assert run(TOOL, "--help").returncode == 0


@pytest.mark.skipif(
    importlib.util.find_spec("torch") is not None, reason="PyTorch is here"
)
def test_bench_cuda_says_that_it_needs_pytorch():
    nvcc = shutil.which(os.environ.get("CXX", "g++")) or "true"
    fails(run(TOOL, f"--nvcc={nvcc}"), "PyTorch is needed")


@pytest.mark.parametrize("dtype", cuda_host.DTYPES)
def test_checks_pass_on_the_kernels_on_a_host(dtype, capsys):
    launchers = cuda_host.launchers()
    assert cuda_checks.check(launchers, cuda_host.Arrays(), [dtype], 6) == []
    kinds = ("upfirdn2d", "bias_act", "bias_act_grad")
    kinds += ("epilogue", "epilogue_grad", "epilogue_second")
    out = capsys.readouterr().out
    assert all(f" {kind} " in out for kind in kinds)


def test_cases_of_the_table_are_right_where_they_are_small():
    cases = list(bench_cuda.cases(cuda_host.launchers(), cuda_host.Arrays()))
    names = {name for name, _, _ in cases}
    assert {"blur", "bias lrelu clamp grad", "epilogue lrelu second"} <= names
    for name, shape, make in cases:
        case = make(name, (2, 8, 8, shape[-1]), "float32")
        case.launch()
        assert case.error() < 1e-5 and case.moved > 0


def test_checks_find_a_wrong_kernel():
    class Wrong(type(cuda_host.launchers())):
        def styled_epilogue_grad(self, *arguments):
            super().styled_epilogue_grad(*arguments)
            arguments[-1][...] *= 1.001

    launchers = Wrong(cuda_host.library(), cuda_host.launchers()._allocate, lambda: 0)
    failed = cuda_checks.check(launchers, cuda_host.Arrays(), ["float32"], 2)
    assert failed and all(" epilogue_grad, " in line for line in failed)


def test_reference_of_upfirdn2d_is_the_oracle():
    x = np.random.randn(2, 5, 6, 3)
    for taps, up, down, pads in [
        (np.random.randn(4, 4), (1, 1), (1, 1), (2, 1, 2, 1)),
        (np.random.randn(3, 5), (2, 3), (3, 1), (-1, 4, 5, -2)),
    ]:
        expected = oracles.upfirdn2d(x, taps, up, down, pads, flip_kernel=True)
        pad0, size = (pads[0], pads[2]), expected.shape[1:3]
        found = cuda_references.upfirdn2d(x, taps, up, down, pad0, size)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("act", cuda_launchers.ACTS)
@pytest.mark.parametrize("clamp", [np.inf, 0.8])
def test_reference_of_bias_act_is_the_oracle(act, clamp):
    x, bias = np.random.randn(3, 4, 5), np.random.randn(4)
    scalars = act, 0.2, 1.5, clamp
    limit = clamp if clamp < np.inf else None
    y = oracles.bias_act(x, bias, 1, *scalars[:-1], limit)
    np.testing.assert_allclose(
        cuda_references.fused_bias_act(x, bias, 1, *scalars), y, atol=1e-12
    )
    step = 1e-6
    ahead, behind = (
        oracles.bias_act(x + s, bias, 1, *scalars[:-1], limit) for s in (step, -step)
    )
    ref = x + bias[:, np.newaxis] if act == "swish" else y
    slope = cuda_references.slope(ref, *scalars)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), atol=1e-7)


def difference_quotients(function, inputs, step=1e-6):
    """The gradient of a number in each of the inputs, element by element."""
    gradients = [np.zeros_like(array) for array in inputs]
    for array, gradient in zip(inputs, gradients):
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + step
            ahead = function(*inputs)
            array[index] = value - step
            gradient[index] = (ahead - function(*inputs)) / (2 * step)
            array[index] = value
    return gradients


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("clamp", [np.inf, 1.2])
@pytest.mark.parametrize("maps", [1, 2])
def test_references_of_the_epilogue_are_derivatives(act, clamp, maps):
    shape = 2, 2, 3, 4
    shapes = (2, 4), (maps, 2, 3, 1), (4,)
    random = np.random.default_rng(3)
    x, dy, v_x = (random.normal(size=shape) for _ in range(3))
    vectors = [random.uniform(0.5, 1.5, size=s) for s in shapes]
    cotangents = [random.normal(size=s) for s in shapes]
    scalars = act, 0.2, 1.5, clamp
    y = cuda_references.styled_epilogue(x, *vectors, *scalars)
    limit = clamp if clamp < np.inf else None
    expected = oracles.styled_epilogue(
        x, *vectors[:2], 1.0, vectors[2], *scalars[:-1], limit
    )
    np.testing.assert_allclose(y, expected, atol=1e-12)

    def first(dy, y, *vectors):
        return cuda_references.styled_epilogue_grad(dy, y, *vectors, *scalars)

    def loss(x, *vectors):
        return np.sum(dy * cuda_references.styled_epilogue(x, *vectors, *scalars))

    expected = difference_quotients(loss, [x, *vectors])
    for found, quotient in zip(first(dy, y, *vectors), expected, strict=True):
        np.testing.assert_allclose(found, quotient, atol=1e-7)

    def second_loss(*inputs):
        vs = v_x, *cotangents
        return sum(np.sum(v * g) for v, g in zip(vs, first(*inputs), strict=True))

    # Any y will do, away from where the slope jumps.
    y = random.uniform(0.2, 1.9, size=shape) * random.choice([-1, 1], size=shape)
    expected = difference_quotients(second_loss, [dy, y, *vectors])
    expected[2] += cotangents[0] / vectors[0] * first(dy, y, *vectors)[1]
    found = cuda_references.styled_epilogue_grad_grad(
        v_x, *cotangents, dy, y, *vectors, *scalars
    )
    for one, quotient in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, quotient, atol=1e-6)
