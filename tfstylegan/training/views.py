"""When pictures and metrics are made, and hints given."""

from tfstylegan.training import hints


class Views:
    """What is looked at between ticks.

    Args:
      config: a `config.TrainConfig`.
      gallery: a `gallery.Gallery`.
      report: a `report.Report`.
      chores: a `telemetry.Chores`.
      stop: true once the run is to end.
    """

    def __init__(self, config, gallery, report, chores, stop):
        self.config = config
        self.gallery = gallery
        self.report = report
        self.chores = chores
        self.stop = stop
        self.hints = None
        self.go_back()

    def go_back(self):
        """Once the report holds no more than what led here."""
        self.hints = hints.Hints(self.report.lines())

    def first(self, cur_nimg):
        """What is shown before the first step."""
        self._show([self.gallery.reals, *self.gallery.views], cur_nimg)

    def last(self, cur_nimg):
        """What is shown after the last step."""
        self._show(self.gallery.views, cur_nimg)

    def after(self, due, cur_nimg):
        """What is due after a tick, as of a `schedules.Due`."""
        ticks = {
            self.gallery.pictures: self.config.image_ticks,
            self.gallery.metrics: self.config.metric_ticks,
        }
        self._show([view for view, every in ticks.items() if due(every)], cur_nimg)

    def hint(self, scalars):
        """Takes what a tick tells; says and gives what it hints at."""
        for sentence in self.hints.add(scalars):
            self.report.say(sentence)
        return {"hint/saturated_ticks": self.hints.saturated_ticks}

    def _show(self, views, cur_nimg):
        for view in views:
            if not self.stop:
                with self.chores.part(view.__name__):
                    measures = view(cur_nimg) or {}
                self.hint(measures)
