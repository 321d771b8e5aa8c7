"""Gradients that are not finite: their step is skipped, or they are zeroed, and told.

Where all is finite it costs one sum over each gradient and one branch, and the numbers
are the optimizer's own. Everything else happens in the branch that is not taken then.
"""

import tensorflow as tf

NAME = "the gradient"
FIELDS = ("elements", "skipped", "variable", "nan", "inf", "min", "max", "mean")
NAMES = tuple(f"gradient/{field}" for field in FIELDS)  # in what a phase tells


def apply(optimizer, gradients, variables, *, zero):
    """Lets a Keras optimizer apply the gradients of this replica, as far as finite.

    A gradient that is not finite, on any replica, is replaced by 0 element by element
    (`zero`), or no variable changes at all, moments and step count included. What
    counts is the gradient summed over the replicas, so that all of them do the same.
    One so large that Adam could not square it counts as not finite.

    Call it in a replica, outside of `tf.cond`. Returns {name of NAMES: float64}, the
    same on all replicas, zeros but for a fault: elements that are not finite, whether
    the step was skipped (0 or 1), and of the first such variable its number, how many
    elements are nan and infinite, and the least, greatest and mean of the others.
    """
    context = tf.distribute.get_replica_context()
    squares = tf.add_n([tf.nn.l2_loss(gradient) for gradient in gradients])
    squares = _sum(context, squares)

    def replicas(strategy, gradients, squares):
        # As in Keras' LossScaleOptimizer: an optimizer's `apply` calls for all
        # replicas, which it must not do inside of a branch of one of them.
        each = strategy.extended.call_for_each_replica

        def ordinary():
            each(optimizer.apply, args=(gradients, variables))
            return tf.zeros([len(FIELDS)], tf.float64)

        def faulty():
            told = each(_handle, args=(optimizer, gradients, variables, zero))
            return strategy.experimental_local_results(told)[0]

        squares = strategy.experimental_local_results(squares)[0]
        return tf.cond(tf.math.is_finite(squares), ordinary, faulty)

    told = context.merge_call(replicas, args=(gradients, squares))  # [8]
    return dict(zip(NAMES, tf.unstack(told, len(FIELDS)), strict=True))


def or_else(value, other):
    """`value` where it is finite, else `other`, element by element."""
    return tf.where(tf.math.is_finite(value), value, other)


def _handle(optimizer, gradients, variables, zero):
    """What happens to gradients with a fault, and what is told of it."""
    total = _sum(tf.distribute.get_replica_context(), gradients)
    if zero:
        # A sum is finite only where every replica's part is.
        kept = [
            tf.where(_good(t), g, tf.zeros_like(g)) for t, g in zip(total, gradients)
        ]
        optimizer.apply(kept, variables)
    # In one piece: an op for each variable would make every graph half as large again.
    flat = tf.concat([tf.reshape(gradient, [-1]) for gradient in total], axis=0)
    ends = tf.cumsum(tf.stack([tf.size(gradient) for gradient in total]))
    bad = ~_good(flat)
    # Without any, a sum of many large squares was too large: that is a fault as well.
    place = tf.argmax(bad, output_type=tf.int32)
    first = tf.math.count_nonzero(ends <= place, dtype=tf.int32)
    told = [tf.math.count_nonzero(bad), tf.constant(not zero), first]
    told = [tf.cast(value, tf.float64) for value in told]
    places = tf.range(tf.size(flat))
    of_first = (places < ends[first]) & (places >= tf.concat([[0], ends], 0)[first])
    return tf.concat([tf.stack(told), _facts(flat, of_first)], axis=0)


def _sum(context, values):
    """Over the replicas."""
    if context.num_replicas_in_sync == 1:
        return values
    return context.all_reduce(tf.distribute.ReduceOp.SUM, values)


def _good(gradient):
    # What Adam cannot square is as bad as what is not finite.
    return tf.math.is_finite(tf.square(gradient))


def _facts(x, mask):
    """Of x where the mask holds: numbers of nan and inf; least, greatest and mean else.

    All zeros where nothing is finite. Shapes do not depend on values: XLA needs that.
    """
    counts = [
        tf.math.count_nonzero(mask & of, dtype=tf.float64)
        for of in (tf.math.is_nan(x), tf.math.is_inf(x))
    ]
    good = mask & tf.math.is_finite(x)
    count = tf.math.count_nonzero(good, dtype=tf.float64)
    x = tf.cast(x, tf.float64)
    least = tf.reduce_min(tf.where(good, x, x.dtype.max))
    most = tf.reduce_max(tf.where(good, x, x.dtype.min))
    total = tf.reduce_sum(tf.where(good, x, 0))
    others = [tf.where(count > 0, value, 0) for value in (least, most)]
    return tf.stack([*counts, *others, tf.math.divide_no_nan(total, count)])
