"""Arguments of published network functions <-> fields of our configuration.

A field is dotted, as in "generator.fmap_base". Besides those of `config.Config` there
are three that a configuration does not hold:

  label_dim: width of the labels
  fused_from: output size from which StyleGAN's up-convolutions are fused
  discriminator.mapping_lr_mul: learning rate multiplier of the label mapping
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

LABEL_LR_MUL = 0.01  # of our `LabelProjection`
# A minibatch-stddev group is never larger than the batch, so this is all of it.
WHOLE_BATCH = 1 << 30
EXTRA = ("label_dim", "fused_from", "discriminator.mapping_lr_mul")
# Why an argument may be left out.
ROUNDING = "it changes results by rounding errors"
NO_CLAMP = -1.0  # of "generator.conv_clamp" and the discriminator's


def same(value):
    return value


def whole(value):
    """An int of a number that may be stored as a float."""
    if int(value) != value:
        raise ValueError(f"must be a whole number; got {value!r}")
    return int(value)


def taps(value):
    """FIR taps; None is no filter."""
    return (1,) if value is None else tuple(whole(tap) for tap in value)


def clamp(value):
    """Limit of activations; None is none."""
    return NO_CLAMP if value is None else float(value)


def written_clamp(value):
    """The inverse of `clamp`."""
    return None if value == NO_CLAMP else value


class Meaning(NamedTuple):
    """The field that an argument sets; each function is the other's inverse."""

    field: str
    read: Callable[[Any], Any] = same  # argument -> field
    write: Callable[[Any], Any] = same  # field -> argument


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signature:
    """What the arguments of one published function mean."""

    fields: dict[str, Meaning]
    defaults: dict[str, Any]  # {argument: value} of what a file may leave out
    constants: dict[str, Any]  # {field: value} of every such network
    fixed: dict[str, tuple]  # {argument: values that ours compute}
    harmless: dict[str, str]  # {argument: why it may be left out}
    shaped: frozenset[str]  # arguments that the shapes of the variables tell as well

    def read(self, arguments, where):
        """({field: value}, notes) of the arguments of a file.

        Raises ValueError that names an argument that is unknown, has a value that ours
        do not compute, or contradicts another one.
        """
        known = {*self.fields, *self.fixed, *self.harmless, *self.shaped}
        unknown = [f"{k}={v!r}" for k, v in arguments.items() if k not in known]
        if unknown:
            raise ValueError(
                f"{where} has arguments of unknown meaning: {', '.join(unknown)}"
            )
        for name, values in self.fixed.items():
            if name in arguments and arguments[name] not in values:
                raise ValueError(
                    f"{name} of {where} must be {' or '.join(map(repr, values))}; "
                    f"got {arguments[name]!r}"
                )
        values, told = dict(self.constants), {}
        for name, value in {**self.defaults, **arguments}.items():
            if name in self.fields:
                field, read, _ = self.fields[name]
                try:
                    value = read(value)
                except (ValueError, TypeError, OverflowError) as error:
                    raise ValueError(f"{name} of {where} {error}") from error
                if values.setdefault(field, value) != value:
                    raise ValueError(
                        f"{name} and {told[field]} of {where} must agree; "
                        f"got {value!r} and {values[field]!r}"
                    )
                told[field] = name
        notes = [
            f"{where}: left out {name}={arguments[name]!r}: {why}"
            for name, why in self.harmless.items()
            if arguments.get(name)  # None, 0 and False are what ours do
        ]
        return values, notes

    def differs(self, values):
        """Fields that networks of this kind never have with these values."""
        return {f for f, value in self.constants.items() if values[f] != value}

    def write(self, values):
        """Arguments that give a network with these fields."""
        return {
            name: meaning.write(values[meaning.field])
            for name, meaning in self.fields.items()
        }


class Reading(NamedTuple):
    """What the description of one network says."""

    values: dict[str, Any]  # {field: value}
    notes: list[str]  # what was left out, and why that is no loss


def write_first(signatures, values, part):
    """(*key, arguments) of the first of {key: `Signature`} that has these fields.

    The kind of conditioning does not matter to a network without labels, and a clamp
    seldom acts: it is left out where no function has it. Raises ValueError where none
    of them has the rest.
    """
    conditioning = f"{part}.conditioning"
    kinds = {conditioning} if not values["label_dim"] else set()
    for ignored in (set(), kinds, {*kinds, f"{part}.conv_clamp"}):
        for key, signature in signatures.items():
            if not signature.differs(values) - ignored:
                return *key, signature.write(values)
    nearest = min((s.differs(values) - kinds for s in signatures.values()), key=len)
    shown = ", ".join(f"{field} = {values[field]!r}" for field in sorted(nearest))
    raise ValueError(f"the published layout has no networks with {shown}")


def values_of(config, label_dim):
    """{field: value} of a `config.Config`."""
    values = {
        f"{section}.{name}": value
        for section in ("data", "generator", "discriminator")
        for name, value in dataclasses.asdict(getattr(config, section)).items()
    }
    for section in ("generator", "discriminator"):
        limit = config.conv_clamp(getattr(config, section))
        values[f"{section}.conv_clamp"] = clamp(limit)
    extra = (label_dim, None, LABEL_LR_MUL)
    return values | dict(zip(EXTRA, extra, strict=True))


def apply(config, values):
    """Sets the fields of a `config.Config`, those that it does not hold left out."""
    for field, value in values.items():
        if field not in EXTRA:
            section, name = field.split(".")
            setattr(getattr(config, section), name, value)


def check_label_mapping(values, where):
    """Raises ValueError for a learning rate multiplier that ours do not have."""
    layers = values.get("discriminator.mapping_layers", 0)
    lr_mul = values.get("discriminator.mapping_lr_mul", LABEL_LR_MUL)
    if values.get("label_dim") and layers and lr_mul != LABEL_LR_MUL:
        raise ValueError(
            f"the {layers} label mapping layers of {where} must have learning rate "
            f"multiplier {LABEL_LR_MUL}; got {lr_mul}"
        )
