"""Large maps of features, an image at a time, with its style in the kernels.

A modulated convolution scales maps before and after. For a single image the kernel can
hold both factors, which costs 9 C F products instead of H W (C + F), and what is left
of the layer (bias, noise, activation) TensorFlow joins to the convolution. So from the
first level on whose maps are much larger than its kernels, images are made one by one.
"""

import tensorflow as tf

from tfstylegan.networks import inference_blocks

_WORTH = 16  # times as many pixels as maps


def one_by_one(network):
    """`OneByOne` of a folded network where that pays; any other as it is."""
    steps = hasattr(network, "begin")
    folded = isinstance(network.blocks, inference_blocks.InferenceBlocks)
    if steps and folded and first_level(network) is not None:
        return OneByOne(network)
    return network


class OneByOne:
    """What a folded synthesis network gives, [N, L, D] -> [N, H, W, channels].

    Args:
      network: of `inference_blocks.fold`, with `begin`, `step` and `finish`.
      first: the first level whose images are made one by one, by default the first
        one where it pays; at least 1.
    """

    def __init__(self, network, first=None):
        self.network = network
        self.first = first_level(network) if first is None else first

    def __call__(self, ws, noise):
        """As `network(ws, noise=noise)`."""
        network, first = self.network, self.first
        state = network.begin(ws, noise)
        for level in range(1, first):
            state = network.step(level, state, ws, noise)
        flat = tf.nest.flatten(state)

        def image(i):
            one = tf.nest.pack_sequence_as(state, [_row(x, i) for x in flat])
            codes = _row(ws, i)  # [1, L, D]
            maps = [None if x is None else _row(x, i) for x in noise]
            for level in range(first, network.doublings + 1):
                one = network.step(level, one, codes, maps)
            return tf.cast(network.finish(one, codes), network.compute_dtype)[0]

        shape = [*network.sizes[-1], network.channels]
        return tf.map_fn(
            image,
            tf.range(tf.shape(ws)[0]),
            parallel_iterations=1,  # an image keeps all cores busy
            fn_output_signature=tf.TensorSpec(shape, network.compute_dtype),
        )


def first_level(network):
    """The first level above the lowest where it pays; None if there is none."""
    for level in range(1, network.doublings + 1):
        height, width = network.sizes[level]
        if height * width >= _WORTH * max(network.widths[level - 1 : level + 1]):
            return level
    return None


def _row(x, i):
    """Row i of [n, ...] as [1, ...]; n is 1 for what all images share."""
    i = tf.minimum(i, tf.shape(x)[0] - 1)
    return tf.ensure_shape(x[i : i + 1], [1, *x.shape[1:]])
