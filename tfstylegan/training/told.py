"""What the phases of training steps tell, collected over a tick."""

import collections

import numpy as np
import tensorflow as tf

from tfstylegan.training import finite


class Told:
    """Named scalars and vectors of the phases of many steps.

    Nothing is read from the device before `read`, so that steps need not wait.
    """

    def __init__(self):
        self._phases = collections.defaultdict(list)  # name: [(step, cur_nimg)]
        self._series = collections.defaultdict(list)  # (phase, name): [(place, value)]
        self.scalars, self.vectors, self.events = {}, {}, []

    def add(self, phase, step, cur_nimg, told):
        """Takes {name: tensor} that a phase of a step returned."""
        place = len(self._phases[phase])
        self._phases[phase].append((step, cur_nimg))
        told = dict(told)
        if finite.NAMES[0] in told:
            told[finite.NAME] = [told.pop(name) for name in finite.NAMES]
        for name, value in told.items():
            self._series[phase, name].append((place, value))

    def read(self):
        """Sets `scalars`, `vectors` and `events`; returns itself.

        scalars: {name: mean over the steps}, of finite values where there are any.
        vectors: {name: values of the newest step}.
        events: (phase, step, cur_nimg, fault) of all steps, one phase after the other;
          fault is None or what was not finite: (name, value), or
          (`finite.NAME`, {field: value}).
        """
        counted = collections.Counter(elements=0.0, skipped=0.0)
        faults = {phase: [None] * len(steps) for phase, steps in self._phases.items()}
        for (phase, name), series in self._series.items():
            places, values = zip(*series, strict=True)
            if name == finite.NAME:
                found = _gradients(values, counted)
            elif values[-1].shape.rank:
                self.vectors[name] = values[-1]
                continue
            else:
                values = np.asarray(values)
                good = np.isfinite(values)
                self.scalars[name] = float(np.mean(values[good | ~good.any()]))
                found = [
                    None if ok else (name, float(value))
                    for ok, value in zip(good, values, strict=True)
                ]
            for place, fault in zip(places, found, strict=True):
                # A gradient's is preferred: it names a variable.
                if fault and (not faults[phase][place] or name == finite.NAME):
                    faults[phase][place] = fault
        self.scalars["safety/nonfinite_gradients"] = counted["elements"]
        self.scalars["safety/skipped_steps"] = counted["skipped"]
        self.events = [
            (phase, *of_step, fault)
            for phase, steps in self._phases.items()
            for of_step, fault in zip(steps, faults[phase], strict=True)
        ]
        return self


def _gradients(told, counted):
    """Faults among values of `finite.NAMES`; counts elements and skipped steps."""
    table = np.asarray(tf.stack(told)).tolist()  # [steps, fields]
    rows = [dict(zip(finite.FIELDS, row, strict=True)) for row in table]
    for row in rows:
        counted.update({name: row[name] for name in counted})
    return [
        (finite.NAME, row) if row["elements"] or row["skipped"] else None
        for row in rows
    ]
