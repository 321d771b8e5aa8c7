"""Every variable of every preset's networks: what tests/data/manifests.json pins.

    python tests/manifests.py --write

rewrites that file, after a change that is meant. Presets of the same networks share a
list.
"""

import contextlib
import json
import pathlib
import sys

from tfstylegan import config as config_lib
from tfstylegan import rng
from tfstylegan.networks import build

FILE = pathlib.Path(__file__).with_name("data") / "manifests.json"
PRESETS = sorted(
    path.stem for path in (pathlib.Path(__file__).parents[1] / "configs").glob("*.py")
)
BUILDERS = {
    "generator": build.build_generator,
    "discriminator": build.build_discriminator,
}
# Fields that make no variables, or that other code reads.
OTHERS = (
    *("style_mixing_prob", "w_avg_decay", "truncation_psi", "truncation_cutoff"),
    *("resample_kernel", "mapping_act", "mapping_lr_mul", "conv_clamp"),
)


@contextlib.contextmanager
def zeros():
    """Networks made here start at zero: drawing 30 million numbers is slow."""
    kept, rng.normal_initializer = rng.normal_initializer, lambda *_, **__: "zeros"
    yield
    rng.normal_initializer = kept


def manifest(network):
    """One line a variable, in the order in which optimizers see them."""
    lines = []
    for variable in network.weights:
        fixed = [] if variable.trainable else ["fixed"]
        lines.append(" ".join([variable.path, *map(str, variable.shape), *fixed]))
    return lines


def structure(config, part):
    """What of a configuration decides about the variables of one network."""
    fields = getattr(config, part)
    network = {name: getattr(fields, name) for name in fields.__slots__}
    for name in OTHERS:
        network.pop(name, None)
    return repr((network, config.data.image_size, config.data.channels))


def of_presets():
    """{"generator" or "discriminator": [{"presets": names, "variables": lines}]}."""
    found = {}
    for part, make in BUILDERS.items():
        by_structure, by_lines = {}, {}
        for name in PRESETS:
            config = config_lib.preset(name)
            key = structure(config, part)
            if key not in by_structure:
                with zeros():
                    by_structure[key] = tuple(manifest(make(config)))
            by_lines.setdefault(by_structure[key], []).append(name)
        found[part] = [
            {"presets": names, "variables": list(lines)}
            for lines, names in by_lines.items()
        ]
    return found


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(__doc__)
    FILE.write_text(json.dumps(of_presets(), indent=1) + "\n")
