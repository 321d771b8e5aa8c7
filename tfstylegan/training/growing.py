"""Progressive growing of a run: what holds at a training step, and its effects.

The networks have a saved variable `lod` and `grow(lod)`, which sets it and decides
which blocks are traced. Where nothing grows there is one resolution, of lod 0.
"""

import math

import numpy as np

from tfstylegan.training import schedules
from tfstylegan.training import state as state_lib


class Growing:
    """Keeps networks and optimizers of a run where the schedule has them.

    Args:
      config: a `config.Config`.
      state: a `state.State`; set up for the next step.
      resumed: whether it comes from a checkpoint, hence knows its lod.
    """

    def __init__(self, config, state, *, resumed):
        self.config = config
        self.state = state
        self.grows = bool(config.growing.initial_resolution)
        times = config.growing.train_kimg, config.growing.fade_kimg
        self._schedule = len(config.resolutions) - 1, *times
        self._starts = schedules.resolution_starts(*self._schedule)
        self._tick_lengths = [
            max(1, round(config.at_resolution(resolution).tick_kimg * 1000))
            for resolution in config.resolutions
        ]
        # Not by the schedule: it may have moved on since the step of the checkpoint.
        lod = float(state.d.lod.numpy()) if self.grows and resumed else self._lod(0)
        self._set(lod)

    @property
    def stage(self):
        """(floor, ceiling) of the lod: what decides which blocks a network runs."""
        return math.floor(self.lod), math.ceil(self.lod)

    @property
    def resolution(self):
        """Height of the images that are trained."""
        return schedules.resolution(self.config.data.resolution, self.lod)

    @property
    def now(self):
        """The `config.AtResolution` that holds."""
        return self.config.at_resolution(self.resolution)

    @property
    def progress(self):
        """Scalars for the report; none where nothing grows."""
        if not self.grows:
            return {}
        return {
            "progress/lod": self.lod,
            "progress/resolution": self.resolution,
            "progress/batch_size": self.now.batch_size,
        }

    def tick(self, cur_nimg):
        """Number and end, in images, of the tick that the next image belongs to."""
        return schedules.tick(cur_nimg, self._starts, self._tick_lengths)

    def follow(self, step, cur_nimg):
        """Sets everything up for a training step; returns whether a stage begins."""
        config = self.config
        if step % (config.growing.minibatch_repeats * config.train.d_steps):
            return False
        lod, before = self._lod(cur_nimg), self.stage
        if lod != self.lod:
            self._set(lod)
        if self.stage == before:
            return False
        for optimizer in (self.state.g_optimizer, self.state.d_optimizer):
            reset(optimizer)
        return True

    def _lod(self, cur_nimg):
        # As the variable holds it, so that a resumed run is at the very same one.
        return float(np.float32(schedules.lod(cur_nimg, *self._schedule)))

    def _set(self, lod):
        self.lod = lod
        state = self.state
        if self.grows:
            for network in (state.g, state.d, state.g_ema):
                network.grow(lod)
        g_interval, d_interval = state_lib.lazy_intervals(self.config.loss)
        for optimizer, lr, interval in (
            (state.g_optimizer, self.now.g_lr, g_interval),
            (state.d_optimizer, self.now.d_lr, d_interval),
        ):
            optimizer.learning_rate = schedules.lazy_adam(lr, 0, 0, interval)[0]


def reset(optimizer):
    """Forgets the moments and the step count of Adam, not its learning rate."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # its scale stays
    for variable in optimizer.variables:
        if variable is not optimizer.learning_rate:
            variable.assign(np.zeros(variable.shape, variable.dtype))
