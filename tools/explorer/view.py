"""What one user of the page looks at: all of it comes with each request."""

import dataclasses
import math

from tfstylegan.latents import codes as codes_lib

OWN, RANDOM, OFF = "own", "random", "off"  # kinds of noise; own: the model's


@dataclasses.dataclass(frozen=True, kw_only=True)
class Noise:
    """Noise of one resolution: a kind, and the number that random noise is of."""

    kind: str = OWN
    number: int = 0

    def __post_init__(self):
        if self.kind not in (OWN, RANDOM, OFF):
            raise ValueError(f"noise must be own, random or off; got {self.kind!r}")
        _check_whole("the number of the noise", self.number, 2**31)


@dataclasses.dataclass(frozen=True, kw_only=True)
class View:
    """An image of two sources A and B, and what is done with them.

    seed, other_seed: of A and of B.
    code: `Codes` of one image that stands for A, instead of its seed.
    label: class of both; None for an unconditional model.
    psi: truncation of seeds; a code has its own.
    way: part of the way from A to B, in [0, 1].
    layers: those that come from B.
    strengths: of the directions, in standard deviations.
    moved: layers that these move; None for the directions' own.
    noise: `Noise` for each of the model's `noise_levels`.
    """

    seed: int = 0
    other_seed: int = 1
    code: codes_lib.Codes | None = None
    label: int | None = None
    psi: float = 1.0
    way: float = 0.0
    layers: tuple = ()
    strengths: tuple = ()
    moved: tuple | None = None
    noise: tuple = ()

    def __post_init__(self):
        _check_whole("seed A", self.seed, 2**32)
        _check_whole("seed B", self.other_seed, 2**32)
        for name, value in (("psi", self.psi), ("the way", self.way)):
            _check_finite(name, value)
        for strength in self.strengths:
            _check_finite("the strength of a direction", strength)
        if not 0 <= self.way <= 1:
            raise ValueError(f"the way must lie in [0, 1]; got {self.way}")

    @property
    def uses_other(self):
        return bool(self.way or self.layers)

    @property
    def moves(self):
        """[(number of a direction, strength)] of those that are not 0."""
        return [(i, s) for i, s in enumerate(self.strengths) if s]

    @property
    def name(self):
        """What files of it are called."""
        name = f"seed{self.seed:04d}" if self.code is None else self.code.names[0]
        return f"{name}-seed{self.other_seed:04d}" if self.uses_other else name

    def alone(self, *, other=False):
        """A, or B, without anything done to it."""
        if other:
            return View(seed=self.other_seed, label=self.label, psi=self.psi)
        return View(seed=self.seed, code=self.code, label=self.label, psi=self.psi)

    def about(self):
        """Fit for JSON; how the image came to be."""
        told = {
            "seed": self.seed if self.code is None else None,
            "projection": None if self.code is None else self.code.about,
            "other_seed": self.other_seed if self.uses_other else None,
            "truncation_psi": self.psi,
            "class": self.label,
            "way": self.way,
            "layers": list(self.layers),
            "strengths": list(self.strengths),
            "noise": [dataclasses.astuple(x) for x in self.noise],
        }
        return {"explored": told}


def _check_whole(name, value, end):
    if not isinstance(value, int) or not 0 <= value < end:
        raise ValueError(f"{name} must be a whole number from 0 to {end - 1}")


def _check_finite(name, value):
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number; got {value!r}")


def along(seen, way):
    """The same at another part of the way."""
    return dataclasses.replace(seen, way=float(way))
