"""D as the training steps call it: of augmented images, at the lod of the step."""

import itertools

from tfstylegan import augment, rng
from tfstylegan.data import pipeline
from tfstylegan.training import replicas


class Critic:
    """The discriminator of a `state.State`, with the augmentation of a `config.Config`.

    Args:
      batch_size: global batch, that augmentations are drawn for.
      stage: (floor, ceiling) of the lod.
    """

    def __init__(self, state, config, batch_size, stage):
        self.state = state
        self.config = config
        self.batch_size = batch_size
        self.stage = stage
        self.augment = None
        if config.augment.mode != "none":
            height, width = config.data.image_size
            self.augment = augment.Augment(
                height=height,
                width=width,
                channels=config.data.channels,
                preset=config.augment.preset,
            )

    def function(self, stream, step, labels, part, training=False):
        """Function of images [n, H, W, C] to logits [n, 1]: D of them, augmented.

        Each call of it draws an augmentation of its own. `labels` are the replica's;
        `part` takes the rows of this round.
        """
        condition = part(labels) if self.state.d.label_dim else None
        calls = itertools.count()

        def discriminate(images):
            if self.augment:
                name = f"{stream}/augment_{next(calls)}"
                images = self._augmented(images, name, step, part)
            return self.state.d(images, condition, training=training)

        return discriminate

    def real(self, images):
        """Real images, uint8, as D sees them at the lod of this step, [n, H, W, C]."""
        images = pipeline.to_float(images)
        whole, ceiling = self.stage
        if not ceiling:
            return images
        fading = self.state.d.lod - whole if ceiling > whole else None
        return pipeline.at_lod(images, whole, fading)

    def _augmented(self, images, stream, step, part):
        key = rng.seed(self.config.seed, stream, step)
        drawn = self.augment.draw(self.batch_size, self.state.augment.p, key)
        rows = {name: part(replicas.rows(values)) for name, values in drawn.items()}
        return self.augment.apply(images, rows)
