"""How the R replicas share a global batch: replica r has rows r, r + R, r + 2R, ..."""

import numpy as np
import tensorflow as tf


def rows(x):
    """This replica's share of a global batch: rows r, r + R, r + 2R, ..."""
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count == 1:
        return x
    share = x[context.replica_id_in_sync_group :: count]
    return tf.ensure_shape(share, [x.shape[0] // count, *x.shape[1:]])


def order(size, count, first=0, local=None):
    """The rows of a global batch that replicas have, one replica's after the other's.

    Of `count` replicas these are `local` ones from number `first` on, by default all.
    """
    local = count if local is None else local
    return np.concatenate(
        [np.arange(r, size, count) for r in range(first, first + local)]
    )


def global_mean(x):
    """Mean over the samples of all replicas; differentiable."""
    context = tf.distribute.get_replica_context()
    mean = tf.reduce_mean(x)
    if context.num_replicas_in_sync == 1:
        return mean
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, mean)


def run(strategy, function, args, run_on_all=None):
    """What a dictionary of `function` on every replica says together, outside of them.

    Scalars are means over all replicas, the same on every worker. Vectors hold the
    samples of all replicas of this process; they are for looking at. `run_on_all` may
    stand for `strategy.run`.
    """
    several = len(strategy.extended.worker_devices) < strategy.num_replicas_in_sync

    def told(*args):
        results = function(*args)
        return _global_means(results) if several else results

    joined = {}
    for name, value in (run_on_all or strategy.run)(told, args=args).items():
        parts = strategy.experimental_local_results(value)
        if parts[0].shape.rank:
            joined[name] = tf.concat(parts, axis=0)
        else:
            joined[name] = tf.reduce_mean(tf.stack(parts))
    return joined


def _global_means(results):
    """Each scalar as its mean over the replicas of all workers.

    In one message for each type.
    """
    context = tf.distribute.get_replica_context()
    scalars = {name: value for name, value in results.items() if not value.shape.rank}
    joined = dict(results)
    for kind in {value.dtype: None for value in scalars.values()}:
        names = [name for name, value in scalars.items() if value.dtype == kind]
        values = tf.stack([scalars[name] for name in names])
        means = context.all_reduce(tf.distribute.ReduceOp.MEAN, values)
        joined |= dict(zip(names, tf.unstack(means)))
    return joined
