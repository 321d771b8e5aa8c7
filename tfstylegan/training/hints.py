"""Hints that training goes wrong, from what its ticks tell: pure functions.

They say what to look at, and change nothing.
"""

# D's logits of real images have one sign in nearly all of a tick, or grow far beyond
# where a logistic loss is flat. Sound runs of the small presets reach a mean sign of
# 0.8 and means of 2 (14 with a Wasserstein loss).
SIGN, LOGIT, TICKS = 0.99, 50.0, 5
# Pixels of generated images spread so much less over a batch than those of real ones.
VARIED, ALIKE = 0.5, 0.1


def saturates(line):
    """Whether D's logits are saturated in a tick's {name: scalar}."""
    means = [abs(line.get(f"logits/{name}", 0.0)) for name in ("real", "fake")]
    return line.get("logits/real_sign", 0.0) >= SIGN or max(means) >= LOGIT


def variety(fake_std, real_std):
    """How much generated images differ from each other, 1 as much as real ones.

    Of standard deviations over the images, mean over the pixels.
    """
    return fake_std / real_std if real_std else 1.0


class Hints:
    """What earlier ticks said, as far as a new one needs it.

    Args:
      lines: what was told so far, as `add` takes it.
    """

    def __init__(self, lines=()):
        self.saturated_ticks = 0  # in a row
        self._varied = False  # whether images ever were, since they last collapsed
        for line in lines:
            self.add(line)

    def add(self, line):
        """Takes {name: scalar}, of a tick or other ones; gives sentences to be told.

        Each at its onset only.
        """
        told = []
        if "logits/real_sign" in line:
            saturated = saturates(line)
            self.saturated_ticks = self.saturated_ticks + 1 if saturated else 0
            if saturated and self.saturated_ticks == TICKS:
                told.append(_saturation(line))
        now = line.get("hint/variety")
        if now is not None:
            self._varied = self._varied or now >= VARIED
            if self._varied and now <= ALIKE:
                self._varied = False
                told.append(
                    "hint: generated images have become alike (their pixels vary "
                    f"{now:.2g} times as much as those of real images): mode collapse?"
                )
        return told


def _saturation(line):
    real, fake, sign = (
        line.get(f"logits/{name}", 0.0) for name in ("real", "fake", "real_sign")
    )
    return (
        f"hint: D's logits have been saturated for {TICKS} ticks (mean {real:.3g} of "
        f"real images, {fake:.3g} of generated ones, mean sign {sign:.3g} of real "
        "ones): D tells them apart without fail. Are there too few images? See "
        "config.augment"
    )
