"""How much each resolution adds to a generator's images (StyleGAN2, figure 8)."""

import numpy as np
import tensorflow as tf

from tfstylegan import rng, sampling

STREAM = "resolution_usage"


def resolution_usage(
    generator, labels=None, *, num_images=1024, seed=0, mapping=None, watch=None
):
    """{image height: part} of a generator with output skips, None for any other.

    The part of a level is sigma / (sum of all sigma): the standard deviation, over
    pixels, channels and images, of what it adds to images of full size, at random w
    and noise.

    Args:
      generator: a `Generator`.
      labels: [M, T], taken in turns; None for an unconditional one.
      num_images: how many.
      seed: of latents and noise.
      mapping: z and labels to ws, by default the generator's: without truncation.
      watch: one of `progress` that knows title and total; None: nothing is shown.
    """
    synthesis, mapping = generator.synthesis, mapping or generator.mapping
    if not hasattr(synthesis, "contributions"):
        return None
    most = sampling.batch_size(generator)
    total = np.zeros([len(synthesis.sizes), 2])
    batches = np.array_split(np.arange(num_images), range(most, num_images, most))
    for number, rows in enumerate(batches if watch is None else watch(batches)):
        key = rng.seed(seed, STREAM, number)
        z = rng.normal(key, [len(rows), generator.mapping.z_dim])
        noise = synthesis.draw_noise(len(rows), rng.fold(key, "noise"))
        condition = None if labels is None else tf.constant(labels[rows % len(labels)])
        ws = tf.convert_to_tensor(mapping(z, condition))
        for level, image in enumerate(synthesis.contributions(ws, noise)):
            image = tf.cast(image, tf.float64)  # [n, H, W, C]
            total[level] += tf.reduce_sum(image), tf.reduce_sum(image**2)
    height, width = synthesis.sizes[-1]
    mean, power = total.T / (num_images * height * width * synthesis.channels)
    sigmas = np.sqrt(np.maximum(power - mean**2, 0))  # [levels]
    parts = sigmas / max(np.sum(sigmas), np.finfo(float).tiny)
    return {
        height: float(part)
        for (height, _), part in zip(synthesis.sizes, parts, strict=True)
    }
