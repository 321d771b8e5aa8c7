"""How the R replicas share a global batch: replica r has rows r, r + R, r + 2R, ..."""

import tensorflow as tf


def rows(x):
    """This replica's share of a global batch: rows r, r + R, r + 2R, ..."""
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count == 1:
        return x
    share = x[context.replica_id_in_sync_group :: count]
    return tf.ensure_shape(share, [x.shape[0] // count, *x.shape[1:]])


def order(x, count):
    """Reorders a global batch so that contiguous shares are `rows`."""
    if count == 1:
        return x
    order = tf.reshape(tf.range(x.shape[0]), [-1, count])  # [B / R, R]
    return tf.gather(x, tf.reshape(tf.transpose(order), [-1]))


def global_mean(x):
    """Mean over the samples of all replicas; differentiable."""
    context = tf.distribute.get_replica_context()
    mean = tf.reduce_mean(x)
    if context.num_replicas_in_sync == 1:
        return mean
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)
