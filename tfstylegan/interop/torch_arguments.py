"""Arguments of stylegan2-ada-pytorch's networks (also stylegan3's stylegan2 ones).

What a file leaves to a default is looked up in the attributes of its modules first. See
`arguments` for what a field is.
"""

from tfstylegan.interop import arguments, structure
from tfstylegan.interop.arguments import ROUNDING, Meaning, Signature, whole

TRAINING = "it is of training alone"
NESTED = ("synthesis_kwargs", "block_kwargs", "layer_kwargs", "epilogue_kwargs")
MAPPING = "mapping_kwargs"  # whose arguments are read as "mapping.NAME"
VERSION = 6  # of persistence


def _group(part):
    def read(size):
        return arguments.WHOLE_BATCH if size is None else whole(size)

    def write(size):
        return None if size >= arguments.WHOLE_BATCH else size

    return Meaning(f"{part}.mbstd_group_size", read, write)


def _fields(part):
    return {
        "img_resolution": Meaning("data.resolution", whole),
        "img_channels": Meaning("data.channels", whole),
        "c_dim": Meaning("label_dim", whole),
        # Twice as large for the same network as in TensorFlow.
        "channel_base": Meaning(
            f"{part}.fmap_base", lambda base: whole(base) // 2, lambda base: 2 * base
        ),
        "channel_max": Meaning(f"{part}.fmap_max", whole),
        "resample_filter": Meaning(f"{part}.resample_kernel", arguments.taps, list),
        "conv_clamp": Meaning(
            f"{part}.conv_clamp", arguments.clamp, arguments.written_clamp
        ),
        "mapping.num_layers": Meaning(f"{part}.mapping_layers", whole),
        "mapping.lr_multiplier": Meaning(f"{part}.mapping_lr_mul", float),
    }


COMMON = {
    "fixed": {"activation": ("lrelu",), "use_noise": (True,)},
    "harmless": {
        **dict.fromkeys(["num_fp16_res", "use_fp16", "fp16_channels_last"], ROUNDING),
        **dict.fromkeys(["fused_modconv_default"], ROUNDING),
        "freeze_layers": TRAINING,
    },
    "shaped": frozenset(
        "architecture cmap_dim mapping.embed_features mapping.layer_features".split()
    ),
}
DEFAULTS = {
    "c_dim": 0,
    "img_channels": 3,
    "channel_base": 32768,
    "channel_max": 512,
    "resample_filter": [1, 3, 3, 1],
    "conv_clamp": None,
    "mapping.num_layers": 8,
    "mapping.lr_multiplier": 0.01,
}
GENERATOR = Signature(
    fields={
        "z_dim": Meaning("generator.z_dim", whole),
        "w_dim": Meaning("generator.w_dim", whole),
        **_fields("generator"),
        "mapping.activation": Meaning("generator.mapping_act"),
        "mapping.w_avg_beta": Meaning("generator.w_avg_decay", float),
    },
    defaults={
        **DEFAULTS,
        "mapping.activation": "lrelu",
        "mapping.w_avg_beta": 0.995,
    },
    constants={
        "generator.block": "modulated",
        "generator.conditioning": "ada",
        "generator.fmap_min": 1,
    },
    **COMMON,
)
DISCRIMINATOR = Signature(
    fields={
        **_fields("discriminator"),
        "mbstd_group_size": _group("discriminator"),
        "mbstd_num_channels": Meaning("discriminator.mbstd_num_features", whole),
    },
    defaults={**DEFAULTS, "mbstd_group_size": None, "mbstd_num_channels": 1},
    constants={
        "discriminator.block": "stylegan2",
        "discriminator.conditioning": "ada",
        "discriminator.fmap_min": 1,
    },
    **{
        **COMMON,
        "fixed": {
            **COMMON["fixed"],
            "mapping.activation": ("lrelu",),
            "mapping.w_avg_beta": (None,),
        },
    },
)
# {argument: attribute that tells it}
ATTRIBUTES = {
    "mapping.num_layers": "mapping.num_layers",
    "mapping.w_avg_beta": "mapping.w_avg_beta",
    "mbstd_group_size": "b4.mbstd.group_size",
    "mbstd_num_channels": "b4.mbstd.num_channels",
}
# Where arguments stand that are not those of the network itself.
NESTING = {
    "generator": dict.fromkeys(
        [
            *("channel_base", "channel_max", "resample_filter", "architecture"),
            "num_fp16_res",
            "conv_clamp",
        ],
        "synthesis_kwargs",
    ),
    "discriminator": {
        "resample_filter": "block_kwargs",
        "mbstd_group_size": "epilogue_kwargs",
        "mbstd_num_channels": "epilogue_kwargs",
    },
}
PATTERNS = structure.Patterns(
    rgb=r"(torgb|fromrgb)\.weight$",
    lod=r"(?!)",  # none grows
    skip=r"\bb\d+\.skip\.weight$",
    size=r"\bb(\d+)\.",
)


def read_generator(record, where):
    """`arguments.Reading` of the `nvidia_pickle.NetworkRecord` of a generator."""
    return _read(record, where, "Generator", GENERATOR, "generator")


def read_discriminator(record, where):
    """`arguments.Reading` of the `nvidia_pickle.NetworkRecord` of a discriminator."""
    reading = _read(record, where, "Discriminator", DISCRIMINATOR, "discriminator")
    arguments.check_label_mapping(reading.values, where)
    return reading


def write_generator(values):
    """(kind, version, arguments) of a generator with these fields.

    Raises ValueError where `Generator` is never such a network.
    """
    return "Generator", VERSION, _write(GENERATOR, values, "generator")


def write_discriminator(values):
    """(kind, version, arguments) of a discriminator, as `write_generator`."""
    given = _write(DISCRIMINATOR, values, "discriminator")
    epilogue = given["epilogue_kwargs"]
    if epilogue["mbstd_group_size"] == 0:  # no minibatch stddev
        epilogue["mbstd_num_channels"] = 0
    return "Discriminator", VERSION, given


def flat(given):
    """{name: value} of nested arguments, those of the mapping as "mapping.NAME"."""
    result = {}
    for name, value in given.items():
        if name in (MAPPING, *NESTED) and not isinstance(value, dict):
            raise ValueError(f"{name} must hold arguments; got {value!r}")
        if name == MAPPING:
            result |= {f"mapping.{key}": item for key, item in value.items()}
        elif name in NESTED:
            result |= flat(value)
        else:
            result[name] = value
    return result


def _read(record, where, kind, signature, part):
    if record.kind != kind:
        raise ValueError(f"{where} must be of class {kind}; got {record.kind!r}")
    given = flat(record.arguments)
    for name, attribute in ATTRIBUTES.items():
        if name in signature.fields and attribute in record.attributes:
            given.setdefault(name, record.attributes[attribute])
    if part == "discriminator" and given.get("mbstd_num_channels") == 0:
        given |= {"mbstd_group_size": 0, "mbstd_num_channels": 1}
    values, notes = signature.read(given, where)
    values[f"{part}.architecture"] = structure.checked(
        record.variables,
        PATTERNS,
        values,
        part=part,
        stated=given.get("architecture"),
        where=where,
    )
    return arguments.Reading(values, notes)


def _write(signature, values, part):
    architecture = values[f"{part}.architecture"]
    if architecture == "growing":
        raise ValueError("the published layout torch has no growing networks")
    (written,) = arguments.write_first({(): signature}, values, part)
    written |= {"architecture": architecture, "num_fp16_res": 0}
    result = {}
    for name, value in written.items():
        group, _, last = name.rpartition(".")
        group = MAPPING if group else NESTING[part].get(name)
        place = result if group is None else result.setdefault(group, {})
        place[last] = value
    return result
