"""Arguments of the published TensorFlow networks (`static_kwargs` of their pickles).

ProGAN, StyleGAN, StyleGAN2 and StyleGAN2-ADA; what they mean stands in
`tensorflow_signatures`.
"""

from tfstylegan.interop import arguments, structure, tensorflow_names
from tfstylegan.interop import tensorflow_signatures as signatures

ADA_VERSION = 5  # of pickles; StyleGAN2 wrote 4, StyleGAN 3
G_FUNCTIONS = {
    "G_style": signatures.G_STYLE,
    "G_main": signatures.G_MAIN,
    tensorflow_names.PROGAN: signatures.G_PAPER,
}
D_FUNCTIONS = {
    "D_basic": signatures.D_BASIC,
    "D_paper": signatures.D_PAPER,
    "D_stylegan": signatures.D_STYLEGAN2,
    "D_stylegan2": signatures.D_STYLEGAN2,
    "D_main": signatures.D_ADA,
}
PART_FUNCTIONS = (
    *("G_mapping", "G_synthesis", "G_synthesis_stylegan"),
    *("G_synthesis_stylegan_revised", "G_synthesis_stylegan2"),
)
PATTERNS = structure.Patterns(
    rgb=r"(To|From)RGB/weight$",
    lod=r"(To|From)RGB_lod\d+/weight$",
    skip=r"Skip/weight$",
    size=r"\b(\d+)x\1/",
)


def read_generator(record, where):
    """`arguments.Reading` of the `nvidia_pickle.NetworkRecord` of a generator."""
    for name, part in record.components.items():
        _known(part.kind, PART_FUNCTIONS, f"{name} of {where}")
    _known(record.kind, G_FUNCTIONS, where)
    signature = G_FUNCTIONS[record.kind]
    if record.kind == "G_main" and record.version >= ADA_VERSION:
        signature = signatures.G_ADA
    given = {}
    for part in (*record.components.values(), record):
        given |= part.arguments
    values, notes = signature.read(given, where)
    values.setdefault("generator.w_dim", values["generator.z_dim"])
    values["generator.architecture"] = _structure(
        record, values, "generator", given, where
    )
    return arguments.Reading(values, notes)


def read_discriminator(record, where):
    """`arguments.Reading` of the `nvidia_pickle.NetworkRecord` of a discriminator."""
    _known(record.kind, D_FUNCTIONS, where)
    values, notes = D_FUNCTIONS[record.kind].read(record.arguments, where)
    values["discriminator.architecture"] = _structure(
        record, values, "discriminator", record.arguments, where
    )
    arguments.check_label_mapping(values, where)
    return arguments.Reading(values, notes)


def write_generator(values):
    """(kind, version, arguments) of a generator with these fields.

    Raises ValueError where no published function makes such a network.
    """
    functions = {
        (tensorflow_names.PROGAN, 3): signatures.G_PAPER,
        ("G_style", 3): signatures.G_STYLE,
        ("G_main", 4): signatures.G_MAIN,
        ("G_main", ADA_VERSION): signatures.G_ADA,
    }
    values = _grown(values, "generator")
    kind, version, given = arguments.write_first(functions, values, "generator")
    architecture = values["generator.architecture"]
    if architecture != "growing":
        given["architecture"] = architecture
    elif kind == "G_main":
        given["synthesis_func"] = "G_synthesis_stylegan_revised"
    return kind, version, given


def write_discriminator(values):
    """(kind, version, arguments) of a discriminator, as `write_generator`."""
    growing = values["discriminator.architecture"] == "growing"
    functions = {
        ("D_basic", 3): signatures.D_BASIC,
        ("D_stylegan" if growing else "D_stylegan2", 4): signatures.D_STYLEGAN2,
        ("D_main", ADA_VERSION): signatures.D_ADA,
    }
    values = _grown(values, "discriminator")
    kind, version, given = arguments.write_first(functions, values, "discriminator")
    if not growing:
        given["architecture"] = values["discriminator.architecture"]
    return kind, version, given


def _grown(values, part):
    """The values; without a clamp for a network that grows: none of these has it."""
    if values[f"{part}.architecture"] != "growing":
        return values
    return values | {f"{part}.conv_clamp": arguments.NO_CLAMP}


def _structure(record, values, part, given, where):
    return structure.checked(
        tensorflow_names.collected(record),
        PATTERNS,
        values,
        part=part,
        stated=given.get("architecture"),
        where=where,
    )


def _known(kind, kinds, where):
    if kind not in kinds:
        raise ValueError(
            f"{where} must be made by {', '.join(kinds)}; got {kind!r}, whose "
            "mathematics are not known"
        )
