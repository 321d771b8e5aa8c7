"""Where the time of a tick goes."""

import contextlib
import time

# A GPU works on while the program is ahead of it: a part only has a length of its own
# where the program waits. It does in the last steps of a tick: a whole cycle of the
# usual lazy regularisers, and few enough that the lost overlap does not count.
WAITING_STEPS = 16


class Clock:
    """Times named parts of the steps of a tick.

    Args:
      wait: a function that returns when the devices have done all they were asked to;
        None where calls return no sooner anyway (on CPU).
    """

    def __init__(self, wait=None):
        self._wait = wait
        self._measures = False
        self._seconds = {}  # of each part, in the steps that are measured
        self._measured = 0.0  # seconds of these steps
        self._retrace = 0.0  # of all steps, in calls that traced
        self._tick = self._step = time.perf_counter()

    def step(self, left=0):
        """A step begins, with so many `left` in the tick; 0: the last one is over."""
        now = time.perf_counter()
        if self._measures:
            self._measured += now - self._step
        self._measures = left > 0 and (not self._wait or left <= WAITING_STEPS)
        if self._measures and self._wait:
            self._wait()
            now = time.perf_counter()
        self._step = now

    @contextlib.contextmanager
    def part(self, name, *, traces=False):
        """Times what happens within; `traces`: it is not typical, as it traces."""
        begin = time.perf_counter()
        yield
        if self._wait and (self._measures or traces):
            self._wait()
        seconds = time.perf_counter() - begin
        if traces:
            self._retrace += seconds
            self._measured -= seconds if self._measures else 0
        elif self._measures:
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    @property
    def retrace(self):
        """Seconds of this tick in calls that traced."""
        return self._retrace

    def read(self, images):
        """Ends a tick of so many images: {name: value}.

        The parts are of the measured steps without what traced, "loop" is the rest:
        they add up to 1.
        """
        self.step()
        seconds = time.perf_counter() - self._tick
        told = {
            "timing/sec_per_tick": seconds,
            "timing/sec_per_kimg": seconds / images * 1000,
            "timing/images_per_sec": images / seconds,
        }
        if self._retrace:
            told["timing/retrace"] = self._retrace
        if self._seconds:
            parts = {name: s / self._measured for name, s in self._seconds.items()}
            parts["loop"] = 1 - sum(parts.values())
            told |= {f"timing/{name}": part for name, part in parts.items()}
        return told


class Chores:
    """Seconds that the loop spends between ticks, by what it does; told once."""

    def __init__(self):
        self._seconds = {}

    @contextlib.contextmanager
    def part(self, name):
        """Times what happens within."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def read(self):
        """{name: seconds} since the last call."""
        told = {f"timing/{name}": s for name, s in self._seconds.items()}
        self._seconds.clear()
        return told
