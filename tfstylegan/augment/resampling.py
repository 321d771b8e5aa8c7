"""Bilinear sampling along affine maps, and its transpose.

Each is the gradient of the other, so that derivatives of every order exist; the
gradient that TensorFlow has for its own op is an approximation.
"""

import tensorflow as tf


def sample(images, matrices, size):
    """Images [N, H, W, C] at the places matrices (x, y, 1) -> [N, h, w, C].

    Whole numbers are the places of samples; what lies outside is 0.

    Args:
      images: [N, H, W, C].
      matrices: affine, [N, 3, 3]; not differentiated.
      size: (h, w); 0 <= x < w and 0 <= y < h.
    """
    matrices = tf.stop_gradient(matrices)

    @tf.custom_gradient
    def forward(images):
        result = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=tf.reshape(matrices, [-1, 9])[:, :8],
            output_shape=size,
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
        result = tf.ensure_shape(result, [images.shape[0], *size, images.shape[3]])
        before = tf.shape(images)[1], tf.shape(images)[2]
        return result, lambda dy: spread(dy, matrices, before)

    return forward(images)


def spread(values, matrices, size):
    """The transpose of `sample`: values [N, h, w, C] -> [N, H, W, C], size (H, W).

    Every value is added to the four samples around its place.
    """

    @tf.custom_gradient
    def forward(values):
        index, weight = _corners(values, matrices, size)  # [N, 4, h, w]
        count = tf.shape(values)[0] * size[0] * size[1]
        # A channel at a time: sums of single numbers are some 5 times as fast.
        sums = [
            tf.math.unsorted_segment_sum(weight * channel[:, tf.newaxis], index, count)
            for channel in tf.unstack(values, axis=3)
        ]
        result = tf.reshape(tf.stack(sums, axis=-1), [-1, *size, len(sums)])
        after = values.shape[1:3]
        return result, lambda dx: sample(dx, matrices, after)

    return forward(values)


def _corners(values, matrices, size):
    """Index in [N H W] and weight of the four samples around each value's place.

    Both are [N, 4, h, w]; the index is -1, which adds to nothing, where that is none.
    """
    count, height, width, _ = tf.unstack(tf.shape(values))
    x = tf.cast(tf.range(width), tf.float32)[tf.newaxis, tf.newaxis]  # [1, 1, w]
    y = tf.cast(tf.range(height), tf.float32)[tf.newaxis, :, tf.newaxis]  # [1, h, 1]
    a, b, c, d, e, f = (
        matrices[:, i, j, tf.newaxis, tf.newaxis] for i in (0, 1) for j in (0, 1, 2)
    )
    x, y = a * x + b * y + c, d * x + e * y + f  # [N, h, w]
    x0, y0 = tf.floor(x), tf.floor(y)
    last_y, last_x = (tf.cast(n - 1, tf.float32) for n in size)
    image = (tf.range(count) * size[0])[:, tf.newaxis, tf.newaxis]
    indices, weights = [], []
    for i in (0.0, 1.0):
        for j in (0.0, 1.0):
            row, column = y0 + i, x0 + j
            inside = (row >= 0) & (row <= last_y) & (column >= 0) & (column <= last_x)
            row, column = (tf.where(inside, t, 0.0) for t in (row, column))
            index = (image + tf.cast(row, tf.int32)) * size[1]
            index = tf.where(inside, index + tf.cast(column, tf.int32), -1)
            indices.append(index)
            weights.append((1 - tf.abs(y - y0 - i)) * (1 - tf.abs(x - x0 - j)))
    return tf.stack(indices, axis=1), tf.stack(weights, axis=1)
