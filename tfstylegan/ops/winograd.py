"""3x3 convolution with 4/9 of the multiplications, on CPUs.

Winograd's F(2x2, 3x3): four results of one map cost 16 products instead of 36. The rest
of the arithmetic grows with the maps, not with their product. Rounding errors are a few
times those of the direct sum, up to 5 times in the mean square. Source: Lavin and Gray
2016, "Fast Algorithms for Convolutional Neural Networks".

Its twin is `tf.nn.conv2d`, which serves wherever this does not.
"""

import tensorflow as tf

from tfstylegan.ops import library

MAPS = 32  # C and F are multiples of it
PIXELS = 512  # of a map, from which on even one image pays for its kernel's transform


def serves(x, w, stride, padding):
    """Whether `conv3x3` is this convolution, and faster than TensorFlow's.

    x [N, H, W, C] and w [Kh, Kw, C, F] as of `tf.nn.conv2d`: float32, 3x3, stride 1,
    "SAME", C and F whole panels; compiled ops; and a graph that runs on CPUs with
    AVX-512 only, where in one for other machines maps are large enough for one image.
    """
    return (
        stride == 1
        and padding == "SAME"
        and x.dtype == w.dtype == tf.float32
        and w.shape.rank == 4
        and w.shape.is_fully_defined()
        and w.shape[:2] == [3, 3]
        and all(maps and maps % MAPS == 0 for maps in w.shape[2:])
        and library.use_compiled("auto")
        and _pays(x)
    )


def _pays(x):
    """Whether it is faster where the graph is to run."""
    if library.target() is None:
        gpus = tf.config.list_logical_devices("GPU")
        return not gpus and library.cpu_level() >= library.AVX512
    pixels = x.shape[1:3].num_elements() or 0
    return library.target() == "cpu" and pixels >= PIXELS


def conv3x3(x, w):
    """`tf.nn.conv2d(x, w, 1, "SAME")`, to any derivative.

    Args:
      x: [N, H, W, C], float32.
      w: [3, 3, C, F], float32; C and F are multiples of 32.

    Returns:
      [N, H, W, F].

    Raises:
      RuntimeError: where the compiled ops are not available.
    """
    return _convolve(x, w)


def _convolve(x, w, transposed=False):
    """`conv3x3`, or its transpose in x: [N, H, W, F] -> [N, H, W, C]."""
    return library.library().tfstylegan_conv3x3(x=x, w=w, transposed=transposed)


def _kernel_gradient(x, dy):
    """The transpose of `conv3x3` in w: [3, 3, C, F]."""
    return library.library().tfstylegan_conv3x3_kernel_grad(x=x, dy=dy)


@tf.RegisterGradient("TfstyleganConv3x3")
def _gradient(op, dy):
    x, w = op.inputs
    transposed = op.get_attr("transposed")
    ends = (dy, x) if transposed else (x, dy)
    return _convolve(dy, w, not transposed), _kernel_gradient(*ends)


@tf.RegisterGradient("TfstyleganConv3x3KernelGrad")
def _second_gradient(op, v):
    x, dy = op.inputs
    return _convolve(dy, v, transposed=True), _convolve(x, v)
