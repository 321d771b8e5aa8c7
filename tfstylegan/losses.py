"""Adversarial losses and regularisers (StyleGAN2, sections 3 and appendix B).

Each returns one number a sample, [N]; the training step divides their sum by the
global batch. Regularisers take the network as a callable.
"""

import numpy as np
import tensorflow as tf


def generator_nonsaturating(fake_logits):
    """-log sigmoid(D(G(z))) = softplus(-f); fake_logits [N, 1] -> [N]."""
    return tf.math.softplus(-fake_logits)[:, 0]


def discriminator_logistic(real_logits, fake_logits):
    """softplus(f) + softplus(-r); logits [N, 1] -> [N]."""
    return (tf.math.softplus(fake_logits) + tf.math.softplus(-real_logits))[:, 0]


def r1_penalty(discriminate, images):
    """|d D(x) / d x|^2, summed over H, W and C (Mescheder et al. 2018).

    Args:
      discriminate: images [N, H, W, C] -> logits [N, 1].
      images: real images [N, H, W, C].

    Returns: penalty [N] without its weight gamma / 2, and the logits [N, 1].
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminate(images)  # [N, 1]
        total = tf.reduce_sum(logits)
    gradient = tape.gradient(total, images)  # [N, H, W, C]
    return tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3)), logits


def path_lengths(synthesize, ws, direction):
    """sqrt(mean_L(sum_D(g^2))) with g = d sum(G(ws) y) / d ws (StyleGAN2, eq. 4).

    Args:
      synthesize: ws [N, L, D] -> images [N, H, W, C].
      ws: [N, L, D].
      direction: standard normal numbers [N, H, W, C]; y is this over sqrt(H W).

    Returns: lengths [N].
    """
    _, height, width, _ = direction.shape
    with tf.GradientTape() as tape:
        tape.watch(ws)
        images = synthesize(ws)  # [N, H, W, C]
        along = tf.reduce_sum(images * direction) / np.sqrt(height * width)
    gradient = tape.gradient(along, ws)  # [N, L, D]
    power = tf.reduce_sum(tf.square(gradient), axis=2)  # [N, L]
    return tf.sqrt(tf.reduce_mean(power, axis=1))  # [N]


def path_length_penalty(lengths, pl_mean, decay, mean=tf.reduce_mean):
    """(length - a)^2 with the running mean a <- a + decay (mean length - a).

    The gradient flows through the new a as well, as in the published training.
    `mean` averages over the global batch: over all replicas where there are several.

    Args:
      lengths: [N] of `path_lengths`.
      pl_mean: running mean a, scalar.
      decay: step of the running mean, 0.01 in the paper.
      mean: [N] -> scalar.

    Returns: penalty [N] without its weight, and the new running mean.
    """
    pl_mean = pl_mean + decay * (mean(lengths) - pl_mean)
    return tf.square(lengths - pl_mean), pl_mean
