"""Gradient accumulation: a replica works its share of a batch off in several rounds.

Of A rounds, round a has rows a, a + A, a + 2A, ... of the replica's share. With R
replicas these are rows r + R a, r + R a + R A, ... of the global batch: each round is
what one of R A replicas would have, and minibatch-stddev groups hold the same samples.
"""

import tensorflow as tf


def rounds(share, most, group=1):
    """The fewest rounds of equal size that a replica's share can be worked off in.

    Args:
      share: samples of a replica.
      most: samples that it may have at once; 0 = any number.
      group: samples that belong together: a round has a multiple of it, and a share
        that is no larger stays whole.

    Returns the number, or None where no number will do.
    """
    group = min(group, share)
    for count in range(1, share // group + 1):
        size, rest = divmod(share, count)
        if not rest and size % group == 0 and (not most or size <= most):
            return count
    return None


def accumulate(work, count, variables, moving=()):
    """Gradients of `count` rounds, summed, and what the rounds tell, joined.

    The rounds are a loop that runs one after another: feature maps of one round exist
    at a time. Its body is traced once, and must not communicate with other replicas.
    With count 1 there is no loop, and `work` sees whole tensors.

    Args:
      work: function of `part` to (gradients, told). `part` takes a replica's tensor
        [n, ...] to the rows of this round [n / count, ...]. `told` is a dictionary of
        scalars, means over the round, and of tensors [n / count, ...] over it.
      count: number of rounds; divides n.
      variables: what the gradients are of; empty where there are none.
      moving: variables that `work` moves, as spectral norms do. Every round begins with
        the values that they have now, so that together they move them once.

    Returns: gradients, and `told` with scalars over all rounds and tensors [n, ...].
    """
    if count == 1:
        return work(lambda x: x)
    before = [tf.identity(variable) for variable in moving]
    layout = {}  # what one round tells; known once the body is traced

    def body(index, sums, rows):
        for variable, value in zip(moving, before):
            variable.assign(value)
        gradients, told = work(lambda x: _part(x, index, count))
        layout.update(told)
        flat = [tf.reshape(tf.cast(x, tf.float32), [-1]) for x in told.values()]
        sums = [s + g for s, g in zip(sums, gradients)]
        return index + 1, sums, rows.write(index, tf.concat(flat, axis=0))

    zeros = [tf.zeros_like(variable) for variable in variables]
    rows = tf.TensorArray(tf.float32, size=count)
    _, sums, rows = tf.while_loop(
        lambda index, sums, rows: index < count,
        body,
        (tf.constant(0), zeros, rows),
        parallel_iterations=1,
    )
    return sums, _joined(rows.stack(), layout, count)


def _part(x, index, count):
    """Rows index, index + count, ... of x [n, ...]."""
    # A strided slice of the same rows copies number by number.
    rows = tf.gather(x, tf.range(index, x.shape[0], count))
    return tf.ensure_shape(rows, [x.shape[0] // count, *x.shape[1:]])


def _joined(rows, layout, count):
    """What `count` rounds told, one row each, as one dictionary like `layout`."""
    sizes = [x.shape.num_elements() for x in layout.values()]
    rows = tf.ensure_shape(rows, [count, sum(sizes)])
    joined = {}
    for (name, like), row in zip(layout.items(), tf.split(rows, sizes, axis=1)):
        if not like.shape.rank:
            joined[name] = tf.reduce_mean(row)
            continue
        n, *rest = like.shape
        row = tf.reshape(row, [count, n, *rest])
        row = tf.experimental.numpy.swapaxes(row, 0, 1)  # [n / count, count, ...]
        joined[name] = tf.cast(tf.reshape(row, [n * count, *rest]), like.dtype)
    return joined
