"""What a worker that is not the chief shows: nothing but what it says."""

import sys

from tfstylegan.training import profiling, signals


class Showing:
    """As `showing.Showing`, without a workdir."""

    def __init__(self, *_):
        self.report = Report()
        self.stop = signals.Stop(self.report.say)
        self.profiler = profiling.Profiler("", ())
        self.views = Views()

    def retrace(self):
        """Nothing is looked at."""

    def go_back(self, cur_nimg):
        """Nothing was written."""

    def tick(self, due, cur_nimg, told, scalars):
        """Nothing: the chief has the same scalars."""

    def save_model(self):
        """Nothing: the chief does."""


class Report:
    """As `report.Report`."""

    def advance(self, cur_nimg):
        """Nothing: the chief shows the progress."""

    def say(self, text):
        """Prints a line."""
        print(text, file=sys.stderr, flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Nothing is open."""


class Views:
    """As `views.Views`, of nothing."""

    def first(self, cur_nimg):
        """Nothing: the chief looks."""

    last = first

    def after(self, due, cur_nimg):
        """Nothing: the chief looks."""
