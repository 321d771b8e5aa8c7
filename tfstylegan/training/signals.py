"""Ends a run at the next good moment when it is interrupted or told to terminate."""

import signal


class Stop:
    """Around a run: takes SIGINT and SIGTERM until one comes; the next one is usual.

    Args:
      tell: called with a sentence when one has come.
    """

    def __init__(self, tell):
        self.signal = None  # that came
        self._tell = tell
        self._handlers = {}

    def __enter__(self):
        self._handlers = {
            number: signal.signal(number, self._take)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_):
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def __bool__(self):
        return self.signal is not None

    def _take(self, number, frame):
        self.signal = signal.Signals(number)
        self.__exit__()
        self._tell(f"{self.signal.name}: saving; once more to leave at once")
