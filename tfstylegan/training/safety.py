"""Whether a run is still finite, and what exactly is not (see `finite`, `told`)."""

import numpy as np
import tensorflow as tf

from tfstylegan.training import finite


class Diverged(Exception):
    """Something stays other than finite: training on would only lose good weights."""


class Watch:
    """Looks at what each tick told and left behind.

    Args:
      config: a `config.TrainConfig`.
      state: a `state.State`.
      workers: a `workers.Workers`.
    """

    def __init__(self, config, state, workers):
        self.limit = 1 if config.nonfinite == "stop" else config.nonfinite_steps
        self.state = state
        self.workers = workers
        self.in_a_row = {}  # phase: events, the newest ones, as long as with a fault

    def check(self, events):
        """Raises Diverged where a tick's `told.Told.events` or the state call for it.

        After `limit` steps of a phase in a row with a fault, or where a variable is not
        finite; the message says what came first. All workers raise where one does.
        """
        fault = self._fault(events)
        if self.workers.everyones([fault is not None]).any():
            raise Diverged(fault or "another worker is not finite any more")

    def _fault(self, events):
        fatal = None
        for event in events:
            row = self.in_a_row.setdefault(event[0], [])
            if event[-1]:
                row.append(event)
            else:
                row.clear()
            if len(row) >= self.limit:
                fatal = fatal or row[0]
        variable = fault_of(self.state)
        if variable:
            firsts = [row[0] for row in self.in_a_row.values() if row]
            firsts = sorted(firsts, key=lambda event: event[1])
            seen = f"; first seen {self._told(firsts[0])}" if firsts else ""
            return f"{variable}{seen}"
        if fatal:
            steps = "step" if self.limit == 1 else "steps in a row"
            return f"{self.limit} {steps} with a fault: {self._told(fatal)}"
        return None

    def _told(self, event):
        phase, step, cur_nimg, (name, value) = event
        if name == finite.NAME:
            network = self.state.g if phase.startswith("g") else self.state.d
            variable = network.trainable_variables[round(value["variable"])]
            what = f"{finite.NAME} of {_described(variable, value)}"
        else:
            what = f"{name} is {value}"
        return f"in phase {phase} of step {step}, kimg {cur_nimg / 1000:g}: {what}"


def fault_of(state):
    """Names the first variable of a `state.State` that is not finite, with statistics.

    None where all are: weights, moving averages, moments of the optimizers.
    """
    variables = {
        name: variable
        for name, variable in state.variables().items()
        if variable.dtype.is_floating
    }
    squares = tf.add_n([_half_square(variable) for variable in variables.values()])
    if np.isfinite(squares.numpy()):
        return None
    for name, variable in variables.items():  # or a square was too large
        values = variable.numpy().astype(np.float64)
        if not np.isfinite(values).all():
            return f"{name} {list(variable.shape)} {_listed(_statistics(values))}"
    return None


def _half_square(variable):
    return tf.cast(tf.nn.l2_loss(tf.convert_to_tensor(variable)), tf.float32)


def _statistics(values):
    """What `finite.apply` tells of a gradient, of an array."""
    good = values[np.isfinite(values)]
    some = good if good.size else np.zeros(1)
    return {
        "nan": np.isnan(values).sum(),
        "inf": np.isinf(values).sum(),
        "min": some.min(),
        "max": some.max(),
        "mean": some.mean(),
    }


def _described(variable, facts):
    return f"{variable.path} {list(variable.shape)} {_listed(facts)}"


def _listed(facts):
    return (
        f"holds {facts['nan']:.0f} nan and {facts['inf']:.0f} inf; its finite elements "
        f"lie in [{facts['min']:.4g}, {facts['max']:.4g}], mean {facts['mean']:.4g}"
    )
