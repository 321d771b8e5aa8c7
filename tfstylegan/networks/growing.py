"""Progressive growing (ProGAN, section 3; StyleGAN, appendix C).

lod counts the doublings that are still missing: 0 is full resolution, 2.25 three
quarters on the way from resolution / 8 to resolution / 4. What runs is decided while a
graph is traced (`stage`); how far a fade has come is read in the graph, so that a lod
that moves within a stage needs no new graph.
"""

import math
from typing import NamedTuple

import tensorflow as tf


class Stage(NamedTuple):
    """What runs: the first `levels` levels, of which the last may fade in."""

    levels: int
    fades: bool


class Growing:
    """For networks with `doublings`: the lod, a variable that is saved with them."""

    def add_lod(self):
        """Makes the variable; call it in `build`."""
        self.lod = self.add_weight(
            name="lod",
            shape=(),
            dtype="float32",
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
        )

    def grow(self, lod):
        """Sets the lod, in [0, doublings].

        Where `stage` changes with it, graphs have to be traced anew.
        """
        if not 0 <= lod <= self.doublings:
            raise ValueError(f"lod must lie in [0, {self.doublings}]; got {lod}")
        self.lod.assign(lod)

    @property
    def stage(self):
        """The `Stage` of the lod: a function of the variable, however it was set."""
        with tf.init_scope():  # its value, while a graph is traced as well
            lod = float(self.lod.numpy())
        missing = math.floor(lod)
        return Stage(self.doublings + 1 - missing, lod != missing)

    def missing(self, stage):
        """Doublings that a stage leaves out."""
        return self.doublings + 1 - stage.levels

    def guard(self, x, stage):
        """x; a graph fails here once the lod has left the stage it was traced for."""
        if tf.executing_eagerly():
            return x
        lod, least = self.lod.value, self.missing(stage)
        inside = (least <= lod) & (lod <= least + stage.fades)
        message = f"trace this graph again: it is of {stage}, and lod is now"
        with tf.control_dependencies([tf.debugging.Assert(inside, [message, lod])]):
            return tf.identity(x)

    def fade(self, new, old, stage):
        """new + (old - new) t, where t goes from 1 to 0 as the last level fades in."""
        t = tf.clip_by_value(self.lod.value - self.missing(stage), 0.0, 1.0)
        return new + (old - new) * tf.cast(t, new.dtype)
