"""The page's controls by name, and the `View` that their values make."""

from explorer import view as views
from tfstylegan.latents import layers as layers_lib

SEED, IMAGE = "its seed", "my projected image"  # what A is
NO_IMAGE = "There is no projected image (any more): project one, or take A's seed."
THEIR_OWN = "as found"
RANGES = ("coarse", "middle", "fine", "all", "none")


class Controls:
    """Components in the order in which events hand over their values.

    Args:
      studio: a `studio.Studio`.
    """

    def __init__(self, studio):
        self.model = studio.model
        self._components = {}
        self._noises = range(0 if "noise" in self.model.missing else self.levels)
        self._directions = range(len(studio.directions or ()))

    @property
    def levels(self):
        return len(self.model.noise_levels)

    def add(self, name, component):
        self._components[name] = component
        return component

    def __getitem__(self, name):
        return self._components[name]

    def all(self):
        return list(self._components.values())

    def named(self, *names):
        """Those of these names that the page has."""
        return [self._components[x] for x in names if x in self._components]

    def view(self, values):
        """The `View` of values in the order of `all`.

        Raises ValueError, with a sentence, for those that make none.
        """
        given = dict(zip(self._components, values, strict=True))
        code = given.get("code") if given.get("base") == IMAGE else None
        if given.get("base") == IMAGE and code is None:
            raise ValueError(NO_IMAGE)
        moved = given.get("moved", THEIR_OWN)
        return views.View(
            seed=given["seed"],
            other_seed=given["other_seed"],
            code=code,
            label=given.get("label"),
            psi=given["psi"],
            way=given["way"],
            layers=tuple(sorted(given["layers"])),
            strengths=tuple(given[f"strength{i}"] for i in self._directions),
            moved=None if moved == THEIR_OWN else ranges(self.model)[moved],
            noise=tuple(
                views.Noise(kind=given[f"noise{i}"], number=given[f"number{i}"])
                for i in self._noises
            ),
        )


def ranges(model):
    """{name: layers} of the named ranges that a model has layers of."""
    count, found = len(model.layer_names), {}
    for name in RANGES:
        layers = tuple(range(count)[layers_lib.NAMED[name]])
        if layers or name == "none":
            found[name] = layers
    return found


def caption(seen, directions):
    """What an image is, in one line."""
    a = "my image" if seen.code is not None else f"seed {seen.seed}"
    told = [a]
    if seen.way:
        told.append(f"{seen.way:.0%} of the way to seed {seen.other_seed}")
    if seen.layers:
        taken = layers_lib.describe(seen.layers)
        told.append(f"styles of layers {taken} from seed {seen.other_seed}")
    told.append(f"psi {seen.psi:g}")
    told += [f"{directions.names[i]} {s:+g}" for i, s in seen.moves]
    kinds = {x.kind for x in seen.noise} - {views.OWN}
    if kinds:
        told.append(f"noise {' and '.join(sorted(kinds))}")
    return ", ".join(told)
