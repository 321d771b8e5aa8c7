"""Projection step by step, so that a page can show it and stop it at any time."""

import dataclasses
import threading
import time

import numpy as np

from tfstylegan import sampling
from tfstylegan.data import pipeline
from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import nearest, projection, statistics

NAME = "projection"
CANDIDATES, CHUNK = 500, 125  # samples of which the nearest is the start
SHOWN_SECONDS = 0.5  # between pictures


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a projection is.

    done, total: steps; 0 while a start is looked for.
    image: uint8 [H, W, C] of the code as it is; None before there is one.
    code: `Codes` of it; None before.
    distance: from the target.
    ended: empty, or a sentence why it is over.
    """

    done: int
    total: int
    image: np.ndarray | None = None
    code: codes_lib.Codes | None = None
    distance: float = float("nan")
    ended: str = ""


class Projection:
    """Projects uploaded images to a generator.

    Args:
      generator: a `Generator`.
      perceptual: a `perceptual.Perceptual`.
      max_steps, max_seconds: no projection takes more.
    """

    def __init__(self, generator, perceptual, *, max_steps, max_seconds):
        self.generator = generator
        self.perceptual = perceptual
        self.max_steps, self.max_seconds = max_steps, max_seconds
        self._lock = threading.Lock()
        self._samples = None

    def run(self, target, steps):
        """Yields `Progress` for a target uint8 [H, W, C], last the one that `ended`.

        Whoever does not go on asking for the next one has stopped it.
        """
        if not isinstance(steps, int) or not 1 <= steps <= self.max_steps:
            raise ValueError(f"steps must be from 1 to {self.max_steps}; got {steps!r}")
        end = time.monotonic() + self.max_seconds
        wanted = pipeline.to_float(target[np.newaxis]).numpy()
        yield Progress(done=0, total=steps)
        w, mean, spread = self._statistics()
        best, start = np.inf, mean[np.newaxis]
        for first in range(0, len(w), CHUNK):
            part = w[first : first + CHUNK]
            found, far = nearest.nearest(self.generator, self.perceptual, wanted, part)
            if far[0] < best:
                best, start = far[0], found
            yield Progress(done=0, total=steps)
            if time.monotonic() > end:
                break
        projector = projection.Projector(
            self.generator,
            self.perceptual,
            wanted,
            start,
            spread=spread,
            numbers=[0],
            options=projection.Options(steps=steps),
        )
        yield from self._steps(projector, end)

    def _steps(self, projector, end):
        shown = time.monotonic()
        while True:
            projector.step()
            done, now = projector.steps_done, time.monotonic()
            ended = ""
            if done == projector.options.steps:
                ended = "Done."
            elif now > end:
                ended = f"Stopped after {self.max_seconds:g} seconds."
            if ended or now > shown + SHOWN_SECONDS:
                yield self._progress(projector, ended)
                shown = time.monotonic()
            if ended:
                return

    def _progress(self, projector, ended):
        images, distances = projector.measure()
        code = codes_lib.Codes(
            ws=projector.ws(),
            names=[NAME],
            noise=projector.noise_maps(),
            about={
                **dataclasses.asdict(projector.options),
                "steps_done": projector.steps_done,
                "distance": float(distances[0]),
                **self.perceptual.manifest,
            },
        )
        return Progress(
            done=projector.steps_done,
            total=projector.options.steps,
            image=sampling.to_uint8(images)[0],
            code=code,
            distance=float(distances[0]),
            ended=ended,
        )

    def _statistics(self):
        """Candidates w [N, D], and mean and spread of more; computed once."""
        with self._lock:
            if self._samples is None:
                w = statistics.sample_w(self.generator)
                self._samples = w[:CANDIDATES], *statistics.mean_and_spread(w)
            return self._samples
