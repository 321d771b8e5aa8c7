"""Gradients of one network's weights, and what else training moves in it."""

import contextlib

import tensorflow as tf

from tfstylegan.layers import spectral


@contextlib.contextmanager
def tape(network):
    """A tape that watches the weights of one network only."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([variable.value for variable in network.trainable_variables])
        yield tape


def gradients(tape, total, network, optimizer):
    """Gradients of `total`, dense; zeros for weights that it does not depend on.

    They are scaled as `optimizer` undoes it when it applies them: see `loss_scale`.
    """
    return tape.gradient(
        total,
        weights(network),
        output_gradients=optimizer.scale_loss(tf.ones_like(total)),
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )


def weights(network):
    """What `gradients` are of."""
    return [variable.value for variable in network.trainable_variables]


def moving(network):
    """Variables that a call of the network with training=True assigns."""
    return [v for v in network.non_trainable_variables if v.name == spectral.MOVING]
