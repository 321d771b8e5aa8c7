"""The report of a worker that is not the chief: it shows nothing but what it says."""

import sys


class Report:
    """As `report.Report`, without a workdir."""

    def advance(self, cur_nimg):
        """Nothing: the chief shows the progress."""

    def say(self, text):
        """Prints a line."""
        print(text, file=sys.stderr, flush=True)

    def tick(self, tick, cur_nimg, scalars, histograms):
        """Nothing: the chief has the same scalars."""

    def close(self):
        """Nothing is open."""
