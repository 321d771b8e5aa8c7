"""CUDA kernels of styled_epilogue and of its gradients on a host, against float64."""

import cuda_host
import numpy as np
import oracles
import pytest
from cuda_host import (
    DTYPES,
    aligned,
    close,
    cuda_launchers,
    cuda_references,
    launchers,
    poisoned,
)

ACTS = ("linear", "relu", "lrelu")
ALPHA = 0.3


class Call:
    """Inputs of the three ops; scale is 0 here and there."""

    def __init__(self, shape, maps, act, dtype, clamp=np.inf, gain=1.5, shift=0):
        self.type, self.tolerance = DTYPES[dtype]
        self.sums = np.float64 if dtype == "float64" else np.float32
        random = np.random.default_rng(len(act) + shape[-1])

        def normal(shape, dtype):
            return aligned(random.normal(size=shape).astype(dtype), shift)

        batch, height, width, channels = shape
        shapes = [batch, channels], [maps, height, width, 1], [channels]
        self.scale, self.plane, self.bias = (normal(s, self.sums) for s in shapes)
        self.scale += np.copysign(np.float32(0.5), self.scale)
        self.scale[:, 1::3] = 0
        self.cotangents = [normal(s, self.sums) for s in shapes]
        self.strength = aligned(np.array(-0.75, self.sums))
        self.x, self.dy, self.v_x = (normal(shape, self.type) for _ in range(3))
        self.scalars = act, ALPHA, gain, clamp
        self.options = cuda_launchers.StyledEpilogue.of(shape, maps, *self.scalars)
        self.shift = shift

    def poisoned(self, *like):
        return [poisoned(array.shape, array.dtype, self.shift) for array in like]

    def forward(self, in_place=False):
        y = self.x if in_place else self.poisoned(self.x)[0]
        inputs = self.x, self.scale, self.plane, self.strength, self.bias
        launchers().styled_epilogue(*inputs, self.options, y)
        return y

    def gradient(self, y, in_place=False):
        dx = self.dy if in_place else self.poisoned(self.dy)[0]
        outputs = [dx, *self.poisoned(self.scale, self.plane, self.bias)]
        inputs = self.dy, y, self.scale, self.plane, self.bias
        launchers().styled_epilogue_grad(*inputs, self.options, *outputs)
        return outputs

    def second(self, y, in_place=False):
        features = [self.v_x, self.dy]
        outputs = features if in_place else self.poisoned(*features)
        outputs = [*outputs, *self.poisoned(self.scale, self.plane, self.bias)]
        inputs = [self.v_x, *self.cotangents, self.dy, y]
        inputs += [self.scale, self.plane, self.bias]
        launchers().styled_epilogue_grad_grad(*inputs, self.options, *outputs)
        return outputs


def wide(*arrays):
    return [array.astype(np.float64) for array in arrays]


def check(*arguments, **options):
    call = Call(*arguments, **options)
    act, alpha, gain, clamp = call.scalars
    clamp = float(call.type(clamp))  # as y has it
    scalars = act, alpha, gain, clamp
    x, scale, plane, bias, dy, v_x = wide(
        call.x, call.scale, call.plane, call.bias, call.dy, call.v_x
    )
    limit = clamp if clamp < np.inf else None
    y = call.forward()
    expected = oracles.styled_epilogue(
        x, scale, plane, call.strength, bias, act, alpha, gain, limit
    )
    close(y, expected, call.tolerance)

    # What follows takes any y: its own error does not count.
    vectors = wide(y, call.scale, call.plane, call.bias)
    sizes = [vectors[0], *map(abs, (scale, plane, bias))]
    sizes[2:] = [-size for size in sizes[2:]]  # which the contract subtracts
    reference = cuda_references.styled_epilogue_grad
    for found, expected, terms in zip(
        call.gradient(y),
        reference(dy, *vectors, *scalars),
        reference(abs(dy), *sizes, *scalars),
        strict=True,
    ):
        close(found, expected, call.tolerance, np.max(np.abs(terms)))
    cotangents = [v_x, *wide(*call.cotangents), dy]
    reference = cuda_references.styled_epilogue_grad_grad
    for found, expected, terms in zip(
        call.second(y),
        reference(*cotangents, *vectors, *scalars),
        reference(*map(abs, cotangents), *sizes, *scalars),
        strict=True,
    ):
        close(found, expected, call.tolerance, np.max(np.abs(terms)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 5, 8, 64, 512])
def test_epilogue_of_any_channels_and_maps(channels, dtype):
    for maps, act, clamp in [(1, "lrelu", np.inf), (3, "relu", 1.25), (3, "linear", 2)]:
        check((3, 5, 7, channels), maps, act, dtype, clamp=clamp)
    check((1, 1, 1, channels), 1, "lrelu", dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("act", ACTS)
def test_epilogue_of_any_act(act, dtype):
    for clamp in (np.inf, 1.3):
        for gain in (2.0**0.5, -0.75):
            check((2, 6, 5, 16), 2, act, dtype, clamp=clamp, gain=gain)


@pytest.mark.parametrize("dtype", DTYPES)
def test_epilogue_of_unaligned_memory(dtype):
    for channels in (8, 301):
        check((2, 3, 5, channels), 1, "lrelu", dtype, shift=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("maps", [1, 2])
def test_epilogue_of_more_channels_than_a_block_has(maps, dtype):
    """The sums over channels have parts, too."""
    check((2, 3, 3, 256 + 37), maps, "lrelu", dtype)
    check((2, 2, 3, 2048 + 64), maps, "lrelu", dtype)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_epilogue_in_many_parts_and_steps(dtype):
    check((2, 40, 53, 8), 2, "lrelu", dtype)  # parts of an image
    check((1100, 10, 10, 5), 1, "lrelu", dtype)  # steps of a part


@pytest.mark.parametrize("channels", [5, 16])
def test_epilogue_in_place_is_the_same(channels):
    options = (3, 4, 5, channels), 3, "lrelu", "float32"
    y = Call(*options).forward()
    np.testing.assert_array_equal(Call(*options).forward(in_place=True), y)
    for name in ("gradient", "second"):
        apart = getattr(Call(*options), name)(y)
        for found, expected in zip(getattr(Call(*options), name)(y, True), apart):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("shape", [(0, 2, 3, 4), (2, 0, 3, 4), (2, 2, 3, 0)])
@pytest.mark.parametrize("maps", [1, None])
def test_epilogue_of_nothing_has_sums_of_zero(shape, maps):
    call = Call(shape, shape[0] if maps is None else maps, "lrelu", "float32")
    y = call.forward()
    for outputs in (call.gradient(y), call.second(y)):
        for output in outputs:
            np.testing.assert_array_equal(output, np.zeros(output.shape))


def test_epilogue_keeps_infinities_and_nan():
    call = Call((1, 1, 3, 4), 1, "relu", "float32")
    call.x[:], call.scale[:] = np.reshape([-np.inf, np.nan, np.inf], [3, 1]), 1
    y = call.forward()
    np.testing.assert_array_equal(y[0, 0, :, 0], [0, np.nan, np.inf])


@pytest.mark.parametrize(
    "change", [{"act": 3}, {"act": -1}, {"maps": 3}, {"area": -1}, {"gain": 0.0}]
)
def test_epilogue_of_unknown_options_is_invalid(change):
    call = Call((2, 2, 3, 4), 1, "lrelu", "float32")
    for name, value in change.items():
        setattr(call.options, name, value)
    y = call.poisoned(call.x)[0]
    for function in (call.forward, lambda: call.gradient(y), lambda: call.second(y)):
        with pytest.raises(RuntimeError, match="returned 1: invalid value"):
            function()


def test_epilogue_of_an_unknown_type_is_invalid():
    options = Call((2, 2, 3, 4), 1, "lrelu", "float32").options
    launch = cuda_host.library().tfstylegan_styled_epilogue_cuda
    assert launch(4, *[None] * 5, options, None, None) == 1
