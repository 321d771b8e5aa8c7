"""Projection: the code and noise whose image is a given one (StyleGAN2, appendix D).

Many targets at once. Each result is a function of its target, number and options, and
of what is projected beside it only in how sums are rounded.
"""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from tfstylegan import rng
from tfstylegan.latents import adam, noise_maps

STREAM = "projection"
SPACES = ("w", "w+")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to project; the defaults are the published ones.

    space: "w", one w for all layers, or "w+", one for each.
    optimise_noise: else noise is the model's own.
    steps: how many; ramps are parts of them.
    lr: the learning rate between the ramps.
    lr_rampup, lr_rampdown: parts of the steps.
    w_noise: of the spread of w, at the start.
    w_noise_ramp: the part of the steps in which it fades.
    regulariser: weight of `noise_maps.regulariser`.
    seed: of all noise.
    """

    space: str = "w"
    optimise_noise: bool = True
    steps: int = 1000
    lr: float = 0.1
    lr_rampup: float = 0.05
    lr_rampdown: float = 0.25
    w_noise: float = 0.05
    w_noise_ramp: float = 0.75
    regulariser: float = noise_maps.WEIGHT
    seed: int = 0

    def __post_init__(self):
        if self.space not in SPACES:
            raise ValueError(f"space must be w or w+; got {self.space!r}")
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1; got {self.steps}")


def learning_rate(options, step):
    """lr (1 - cos(pi min(1, (1 - t) / down))) / 2 min(1, t / up), t = step / steps."""
    t = tf.cast(step, tf.float32) / options.steps
    down = tf.minimum(1.0, (1 - t) / options.lr_rampdown)
    up = tf.minimum(1.0, t / options.lr_rampup)
    return options.lr * (0.5 - 0.5 * tf.cos(math.pi * down)) * up


class Projector:
    """The optimisation of T targets.

    Args:
      generator: a `Generator`; it computes in float32.
      perceptual: a `perceptual.Perceptual`.
      targets: float32 [T, H, W, C] in [-1, 1].
      start: w [T, D] to start from.
      spread: of w, as `statistics.mean_and_spread` gives it.
      numbers: of the targets, [T]; they name the noise.
      options: `Options`.
    """

    def __init__(
        self, generator, perceptual, targets, start, *, spread, numbers, options
    ):
        synthesis = generator.synthesis
        height, width = synthesis.sizes[-1]
        shape = (len(start), height, width, synthesis.channels)
        if targets.shape != shape:
            raise ValueError(
                f"targets must be {list(shape)}; got {list(targets.shape)}"
            )
        self.generator = generator.in_float32()
        self.perceptual = perceptual
        self.options = options
        self.spread = spread
        self.num_ws = generator.mapping.num_ws
        layers = self.num_ws if options.space == "w+" else 1
        w = np.repeat(np.asarray(start, np.float32)[:, np.newaxis], layers, axis=1)
        self.w = keras.Variable(w, name="w")  # [T, 1 or L, D]
        self.keys = [rng.seed(options.seed, STREAM, number) for number in numbers]
        self.w_keys = [rng.fold(key, "w") for key in self.keys]
        self.noise = []
        if options.optimise_noise:
            self.noise = [
                keras.Variable(self._noise(i, size), name=f"noise{i:02d}")
                for i, size in enumerate(synthesis.noise_sizes)
            ]
        self.optimizer = adam.Adam(self.trainable)
        self.steps_done = 0  # the optimizer's too; asking it would wait for a device
        self.target_maps = perceptual.maps(tf.constant(targets))
        self._step = tf.function(self._take_step)
        self._floor = tf.function(self._networks_alone)
        self._measure = tf.function(self._measured)

    def _noise(self, index, size):
        keys = (rng.fold(key, f"noise{index}") for key in self.keys)
        return tf.stack([rng.normal(key, [*size, 1]) for key in keys])

    @property
    def trainable(self):
        return [self.w, *self.noise]

    def step(self):
        """One step of all targets; their distances before it, [T], a tensor."""
        self.steps_done += 1
        return self._step()

    def networks_alone(self):
        """Forward and backward pass of the networks alone: the floor of a step.

        Of synthesis and of what sees its images, if that is a network, from the maps
        back to w and noise. Nothing is compared, drawn, regularised or updated.
        """
        return self._floor()

    def _take_step(self):
        o = self.options
        step = tf.cast(self.optimizer.steps_done.value, tf.int32)
        t = tf.cast(step, tf.float32) / o.steps
        fading = tf.square(tf.maximum(0.0, 1 - t / o.w_noise_ramp))
        keys = [tf.random.fold_in(key, step) for key in self.w_keys]
        shape = self.w.shape[1:]
        moved = tf.stack([rng.normal(key, shape) for key in keys])  # [T, 1 or L, D]
        values = [variable.value for variable in self.trainable]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            w = self.w.value + self.spread * o.w_noise * fading * moved
            distance = self._distance(w)  # [T]
            loss = tf.reduce_sum(distance)
            if self.noise:
                maps = [v.value for v in self.noise]
                loss += o.regulariser * tf.reduce_sum(noise_maps.regulariser(maps))
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        self.optimizer.apply(gradients, learning_rate(o, step))
        for variable in self.noise:
            variable.assign(noise_maps.normalised(variable.value))
        return distance

    def _networks_alone(self):
        values = [variable.value for variable in self.trainable]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            seen = self._images(self.w.value)
            if self.perceptual.network:
                seen = self.perceptual.maps(seen)
        # Any gradient of what is seen does; here it is what is seen.
        gradients = tape.gradient(seen, values, output_gradients=seen)
        return [x for x in gradients if x is not None]

    def _distance(self, w):
        images = self._images(w)
        return self.perceptual.distance(self.perceptual.maps(images), self.target_maps)

    def _images(self, w):
        ws = w
        if self.options.space == "w":
            ws = tf.tile(w, [1, self.num_ws, 1])  # [T, L, D]
        if not self.noise:
            return self.generator.synthesis(ws, noise_mode="const")
        return self.generator.synthesis(ws, noise=[v.value for v in self.noise])

    def _measured(self):
        images = self._images(self.w.value)
        maps = self.perceptual.maps(images)
        return images, self.perceptual.distance(maps, self.target_maps)

    def measure(self):
        """Images [T, H, W, C] of the codes as they are, and their distances [T]."""
        return tuple(x.numpy() for x in self._measure())

    def ws(self):
        """[T, L, D]."""
        w = self.w.numpy()
        return np.repeat(w, self.num_ws // w.shape[1], axis=1)

    def noise_maps(self):
        """Maps [T, h, w, 1] in the order of use; None where the model's are taken."""
        return [v.numpy() for v in self.noise] or None

    def state(self):
        """Arrays by name, from which `restore` goes on to the same bits."""
        return {f"v{i:03d}": v.numpy() for i, v in enumerate(self._variables())}

    def restore(self, state):
        """Raises ValueError where `state` is of other targets or options."""
        variables = self._variables()
        arrays = [state.get(f"v{i:03d}") for i in range(len(variables))]
        if len(state) != len(arrays) or any(
            a is None or a.shape != tuple(v.shape)
            for a, v in zip(arrays, variables, strict=True)
        ):
            raise ValueError("the saved state is of another projection")
        for array, variable in zip(arrays, variables, strict=True):
            variable.assign(tf.cast(array, variable.dtype))
        self.steps_done = int(self.optimizer.steps_done.numpy())

    def _variables(self):
        return [*self.trainable, *self.optimizer.variables]
