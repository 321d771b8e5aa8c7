"""How strongly images are augmented: adaptive discriminator augmentation (ADA).

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited
Data", section 3.
"""

import tensorflow as tf


def create(config):
    """The controller of a `config.AugmentConfig`, None where nothing is augmented."""
    if config.mode == "none":
        return None
    return Controller(
        p=config.p,
        target=config.target,
        kimg=config.kimg if config.mode == "adaptive" else float("inf"),
        interval=config.interval,
    )


class Controller(tf.Module):
    """The probability p of each transformation, and what it follows.

    rt = E[sign(D(real))] tells how far D overfits: 0 where it cannot tell real images,
    1 where it knows them all. After every `interval` steps, p moves towards more of
    the augmentation where rt is above `target` and towards less below, by the images
    seen since then over 1000 kimg; it stays at 0 or above. All of this is saved, an
    interval in progress too.

    Args:
      p: at the start.
      target: of rt.
      kimg: in which p moves by 1; infinity keeps it fixed.
      interval: training steps between moves.
    """

    def __init__(self, *, p=0.0, target=0.6, kimg=500.0, interval=4):
        super().__init__(name="augment")
        self.target, self.images_of_one, self.interval = target, kimg * 1000, interval

        def scalar(value):
            return tf.Variable(value, trainable=False, dtype=tf.float32)

        self.p, self.rt = scalar(p), scalar(0.0)  # rt of the last interval
        self.signs, self.images = scalar(0.0), scalar(0.0)  # of this one: sum, number

    def observe(self, mean_sign, batch_size, step):
        """Counts D's logits of real images at training step `step`; may move p.

        mean_sign: of the global batch, whose size is `batch_size`. Call it outside of
        replicas.
        """
        told = tf.math.is_finite(mean_sign)  # logits that are not say nothing
        images = self.images + tf.where(told, float(batch_size), 0.0)
        signs = self.signs + tf.where(told, mean_sign * batch_size, 0.0)
        rt = tf.math.divide_no_nan(signs, images)
        moved = self.p + tf.sign(rt - self.target) * (images / self.images_of_one)
        over = tf.equal((step + 1) % self.interval, 0)
        self.p.assign(tf.where(over, tf.maximum(moved, 0), self.p))
        self.rt.assign(tf.where(over, rt, self.rt))
        self.signs.assign(tf.where(over, 0.0, signs))
        self.images.assign(tf.where(over, 0.0, images))

    @property
    def progress(self):
        """Scalars for the report."""
        return {
            "progress/augment_p": float(self.p.numpy()),
            "augment/rt": float(self.rt.numpy()),
        }
