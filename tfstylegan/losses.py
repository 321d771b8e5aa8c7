"""Adversarial losses and regularisers (StyleGAN2, section 3; StyleGAN, appendix C).

Each returns one number a sample, [N]; the training step divides their sum by the
global batch. Regularisers take the network as a callable.
"""

import numpy as np
import tensorflow as tf


def generator_nonsaturating(fake_logits):
    """-log sigmoid(D(G(z))) = softplus(-f); fake_logits [N, 1] -> [N]."""
    return tf.math.softplus(-fake_logits)[:, 0]


def generator_saturating(fake_logits):
    """log(1 - sigmoid(D(G(z)))) = -softplus(f); fake_logits [N, 1] -> [N].

    The minimax loss (Goodfellow et al. 2014, eq. 1).
    """
    return -tf.math.softplus(fake_logits)[:, 0]


def generator_wasserstein(fake_logits):
    """-f; fake_logits [N, 1] -> [N] (Arjovsky et al. 2017). Also goes with hinge."""
    return -fake_logits[:, 0]


def discriminator_logistic(real_logits, fake_logits):
    """softplus(f) + softplus(-r); logits [N, 1] -> [N]."""
    return (tf.math.softplus(fake_logits) + tf.math.softplus(-real_logits))[:, 0]


def discriminator_wasserstein(real_logits, fake_logits):
    """f - r; logits [N, 1] -> [N] (Arjovsky et al. 2017)."""
    return (fake_logits - real_logits)[:, 0]


def discriminator_hinge(real_logits, fake_logits):
    """max(0, 1 + f) + max(0, 1 - r); logits [N, 1] -> [N] (Lim and Ye 2017)."""
    return (tf.nn.relu(1 + fake_logits) + tf.nn.relu(1 - real_logits))[:, 0]


def drift_penalty(real_logits):
    """r^2, keeps the logits of a Wasserstein D near 0 (ProGAN, appendix A.1).

    real_logits [N, 1] -> [N], without its weight.
    """
    return tf.square(real_logits)[:, 0]


def r1_penalty(discriminate, images, scale=1.0):
    """|d D(x) / d x|^2, summed over H, W and C (Mescheder et al. 2018).

    R1 is this at real images, R2 at generated ones.

    Args:
      discriminate: images [N, H, W, C] -> logits [N, 1].
      images: [N, H, W, C].
      scale: factor of the gradient while it is computed, for networks in float16.

    Returns: penalty [N] without its weight gamma / 2, and the logits [N, 1].
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits = discriminate(images)  # [N, 1]
        total = _scaled(tf.reduce_sum(logits), scale)
    gradient = _scaled(tape.gradient(total, images), 1 / scale)  # [N, H, W, C]
    return tf.reduce_sum(tf.square(gradient), axis=(1, 2, 3)), logits


def gradient_penalty(discriminate, real, fake, factors, target=1.0, scale=1.0):
    """(|d D(m) / d m| / target - 1)^2 (WGAN-GP, Gulrajani et al. 2017, eq. 3).

    The norm is over H, W and C; m = real + (fake - real) factor lies between a real and
    a generated image.

    Args:
      discriminate: images [N, H, W, C] -> logits [N, 1].
      real: [N, H, W, C].
      fake: [N, H, W, C].
      factors: uniform in [0, 1), [N, 1, 1, 1].
      target: norm that costs nothing.
      scale: as of `r1_penalty`.

    Returns: penalty [N] without its weight lambda.
    """
    between = real + (fake - real) * factors  # [N, H, W, C]
    squared, _ = r1_penalty(discriminate, between, scale)
    # The square root has no slope at 0: a D that is flat there would give NaN.
    norm = tf.sqrt(tf.maximum(squared, 1e-20))
    return tf.square(norm / target - 1)


def path_lengths(synthesize, ws, direction, scale=1.0):
    """sqrt(mean_L(sum_D(g^2))) with g = d sum(G(ws) y) / d ws (StyleGAN2, eq. 4).

    Args:
      synthesize: ws [N, L, D] -> images [N, H, W, C].
      ws: [N, L, D].
      direction: standard normal numbers [N, H, W, C]; y is this over sqrt(H W).
      scale: as of `r1_penalty`.

    Returns: lengths [N].
    """
    _, height, width, _ = direction.shape
    with tf.GradientTape() as tape:
        tape.watch(ws)
        images = synthesize(ws)  # [N, H, W, C]
        along = tf.reduce_sum(images * direction) / np.sqrt(height * width)
        along = _scaled(along, scale)
    gradient = _scaled(tape.gradient(along, ws), 1 / scale)  # [N, L, D]
    power = tf.reduce_sum(tf.square(gradient), axis=2)  # [N, L]
    return tf.sqrt(tf.reduce_mean(power, axis=1))  # [N]


def _scaled(x, factor):
    return x if factor == 1 else x * factor


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


def path_length_slopes(lengths, mean, pl_mean, decay):
    """Slopes of the summed `path_length_penalty`: 2 (length - a - decay (m - a)), [N].

    By the length of each sample, over a global batch with mean length m, that of the
    new running mean a included.

    Args:
      lengths: [N] or any part of the batch.
      mean: m, scalar.
      pl_mean: a, scalar.
      decay: as of the penalty.
    """
    return 2 * (lengths - pl_mean - decay * (mean - pl_mean))
