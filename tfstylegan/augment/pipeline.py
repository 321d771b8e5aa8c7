"""The whole augmentation pipeline, and its presets.

Source: Karras et al. 2020, "Training Generative Adversarial Networks with Limited
Data", appendix B.
"""

import numpy as np
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.augment import colour, corruption, filtering, geometry

BLIT = ("xflip", "rotate90", "xint")
GEOM = ("scale", "rotate", "aniso", "xfrac")
COLOUR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
FILTER, NOISE, CUTOUT = ("imgfilter",), ("noise",), ("cutout",)
TRANSFORMS = BLIT + GEOM + COLOUR + FILTER + NOISE + CUTOUT
PRESETS = {
    "blit": BLIT,
    "geom": GEOM,
    "color": COLOUR,
    "filter": FILTER,
    "noise": NOISE,
    "cutout": CUTOUT,
    "bg": BLIT + GEOM,
    "bgc": BLIT + GEOM + COLOUR,
    "bgcf": BLIT + GEOM + COLOUR + FILTER,
    "bgcfn": BLIT + GEOM + COLOUR + FILTER + NOISE,
    "bgcfnc": BLIT + GEOM + COLOUR + FILTER + NOISE + CUTOUT,
}

# In the order of application: how, and which values change nothing.
STAGES = {
    "geometry": (geometry.warp, np.eye(3, dtype=np.float32)),
    "colour": (colour.apply, np.eye(4, dtype=np.float32)),
    "filter": (filtering.apply, 1.0),
    "noise": (tf.add, 0.0),
    "cutout": (corruption.cut_out, corruption.NOWHERE),
}


class Augment:
    """Random transformations of images: `Augment(...)(images, p, key)`.

    Every transformation is drawn for every image, and kept with the probability p times
    its strength, at most 1. An image for which none is kept stays what it is, bit for
    bit. Differentiable by the images, to any order.

    Args:
      height, width: of the images, in pixels.
      channels: of the images; 1 or 3 where colours change.
      preset: key of `PRESETS`; each of its transformations has the strength 1.
      strengths: {name of `TRANSFORMS`: strength}, in place of the preset.

    Raises:
      ValueError: for an argument out of its range.
    """

    def __init__(self, *, height, width, channels, preset="bgc", strengths=None):
        if strengths is None:
            if preset not in PRESETS:
                raise ValueError(
                    f"preset must be one of {', '.join(PRESETS)}; got {preset!r}"
                )
            strengths = dict.fromkeys(PRESETS[preset], 1.0)
        for name, strength in strengths.items():
            if name not in TRANSFORMS:
                raise ValueError(
                    f"strengths must be of {', '.join(TRANSFORMS)}; got {name!r}"
                )
            if not 0 <= strength < float("inf"):
                raise ValueError(
                    f"strengths[{name!r}] must be finite and at least 0; got {strength}"
                )
        self.strengths = {
            name: strengths[name] for name in TRANSFORMS if strengths.get(name)
        }
        self.shape = height, width, channels
        if min(self.shape) < 1:
            raise ValueError(
                f"height, width and channels must be positive; got {self.shape}"
            )
        if channels not in (1, 3) and self._uses(COLOUR):
            raise ValueError(
                "channels must be 1 (grey) or 3 (RGB) with colour transformations; "
                f"got {channels}"
            )

    def __call__(self, images, p, key):
        """Transforms images [N, H, W, C], N static; p scalar, key a stateless seed."""
        return self.apply(images, self.draw(images.shape[0], p, key))

    def draw(self, count, p, key):
        """Parameters of `apply` for `count` images: {stage: tensor [count, ...]}.

        A function of the key; a row of it is an image's own, so that parts of a batch
        take rows.
        """
        kept = self._kept(count, p, key)
        drawn = {}
        if self._uses(BLIT + GEOM):
            drawn["geometry"] = geometry.draw(kept, count, self.shape[:2], key)
        if self._uses(COLOUR):
            drawn["colour"] = colour.draw(kept, count, key)
        if self._uses(FILTER):
            drawn["filter"] = filtering.draw(kept["imgfilter"], count, key)
        if self._uses(NOISE):
            drawn["noise"] = corruption.draw_noise(
                kept["noise"], count, self.shape, key
            )
        if self._uses(CUTOUT):
            drawn["cutout"] = corruption.draw_cutout(kept["cutout"], count, key)
        return drawn

    def apply(self, images, parameters):
        """Transforms images [N, H, W, C] by N rows of the parameters of `draw`."""
        if images.shape[1:] != self.shape:
            raise ValueError(
                f"images must be [N, {', '.join(map(str, self.shape))}]; got shape "
                f"{images.shape}"
            )
        for stage, (transform, neutral) in STAGES.items():
            if stage in parameters:
                values = tf.stop_gradient(parameters[stage])
                images = _where_needed(transform, images, values, neutral)
        return images

    def _uses(self, names):
        return any(name in self.strengths for name in names)

    def _kept(self, count, p, key):
        """{name: bool [N]} for which images each transformation is kept.

        Of the two rotations each has the probability 1 - sqrt(1 - p), so that one or
        both take place with p; the filter decides for each of its bands, [N, 4].
        """
        kept = {}
        for name, strength in self.strengths.items():
            probability = tf.cast(p, tf.float32) * strength
            shape, parts = [count], [name]
            if name == "rotate":
                probability = 1 - tf.sqrt(tf.maximum(1 - probability, 0))
                parts = ["rotate_before", "rotate_after"]
            elif name == "imgfilter":
                shape = [count, len(filtering.BANDS)]
            for part in parts:
                chance = rng.uniform(rng.fold(key, f"{part}/kept"), shape)
                kept[part] = chance < probability
        return kept


def _where_needed(transform, images, values, neutral):
    """Transforms the images whose values are not neutral, and computes no others.

    The rest pass through untouched, where multiplying by one and adding nothing would
    not keep every bit.
    """
    axes = list(range(1, values.shape.rank))
    needed = tf.reduce_any(values != neutral, axis=axes)  # [N]
    # Where there is none, one is computed in vain: not every op takes an empty batch,
    # and a conditional would take several times as long to trace with derivatives.
    first = tf.range(tf.size(needed)) == 0
    rows = tf.where(needed | (first & ~tf.reduce_any(needed)))  # [M, 1]
    before = tf.gather_nd(images, rows)
    after = transform(before, tf.gather_nd(values, rows))
    needed = tf.reshape(tf.gather_nd(needed, rows), [-1, 1, 1, 1])
    after = tf.where(needed, after, before)
    return tf.tensor_scatter_nd_update(images, rows, after)
