"""What the arguments of the published TensorFlow functions mean.

Of ProGAN, StyleGAN, StyleGAN2 and StyleGAN2-ADA; see `arguments` for what a field is.
"""

from tfstylegan.interop import arguments, tensorflow_names
from tfstylegan.interop.arguments import ROUNDING, Meaning, Signature, whole

RUNTIME = "every call chooses it"
GRAPH = "it says how the graph is made, not what it computes"

DATA = {
    "resolution": Meaning("data.resolution", whole),
    "num_channels": Meaning("data.channels", whole),
    "label_size": Meaning("label_dim", whole),
}
HARMLESS = {
    **dict.fromkeys(["dtype", "num_fp16_res", "fused_modconv"], ROUNDING),
    **dict.fromkeys(["structure", "is_template_graph", "force_clean_graph"], GRAPH),
}
FIXED = {
    "fmap_decay": (1,),
    "nonlinearity": ("lrelu",),
    "normalize_latents": (True,),
    "use_wscale": (True,),
}


def _fmaps(part):
    names = ("fmap_base", "fmap_min", "fmap_max")
    return {name: Meaning(f"{part}.{name}", whole) for name in names}


def _kernel(part):
    return Meaning(f"{part}.resample_kernel", arguments.taps, list)


def _blur(part):
    def write(taps):
        return None if taps == (1,) else list(taps)

    return Meaning(f"{part}.resample_kernel", arguments.taps, write)


def _fused_from(scale):
    """Output size from which up-convolutions are fused."""
    sizes = {"auto": tensorflow_names.FUSED_FROM, True: 4, False: 1 << 30}
    if scale not in sizes:
        raise ValueError(f"must be 'auto', True or False; got {scale!r}")
    return sizes[scale]


def _or(default):
    """Reads None as `default`."""
    return lambda value: default if value is None else float(value)


def _clamp(part):
    return Meaning(f"{part}.conv_clamp", arguments.clamp, arguments.written_clamp)


FUSED_SCALE = Meaning("fused_from", _fused_from, lambda _: "auto")
G_FIELDS = {
    **DATA,
    **_fmaps("generator"),
    "latent_size": Meaning("generator.z_dim", whole),
    "dlatent_size": Meaning("generator.w_dim", whole),
    "mapping_layers": Meaning("generator.mapping_layers", whole),
    "mapping_lrmul": Meaning("generator.mapping_lr_mul", float),
    "mapping_nonlinearity": Meaning("generator.mapping_act"),
    "style_mixing_prob": Meaning("generator.style_mixing_prob", _or(0.0)),
    "dlatent_avg_beta": Meaning("generator.w_avg_decay", _or(1.0)),
    "truncation_psi": Meaning("generator.truncation_psi", _or(1.0)),
    "truncation_cutoff": Meaning(
        "generator.truncation_cutoff",
        lambda cutoff: -1 if cutoff is None else whole(cutoff),
        lambda cutoff: None if cutoff < 0 else cutoff,
    ),
}
G_DEFAULTS = {
    "num_channels": 3,
    "label_size": 0,
    "fmap_min": 1,
    "fmap_max": 512,
    "latent_size": 512,
    "dlatent_size": 512,
    "mapping_layers": 8,
    "mapping_lrmul": 0.01,
    "mapping_nonlinearity": "lrelu",
    "style_mixing_prob": 0.9,
    "dlatent_avg_beta": 0.995,
}
G_COMMON = {
    "fixed": FIXED,
    "harmless": {**HARMLESS, "randomize_noise": RUNTIME},
    "shaped": frozenset(
        (
            *("architecture", "mapping_fmaps", "dlatent_broadcast"),
            "mapping_func",
            "synthesis_func",
        )
    ),
}
G_STYLE = Signature(
    fields={
        **G_FIELDS,
        "use_styles": Meaning("generator.styles", bool),
        "use_instance_norm": Meaning("generator.styles", bool),
        "use_pixel_norm": Meaning("generator.pixel_norm", bool),
        "use_noise": Meaning("generator.noise", bool),
        "const_input_layer": Meaning("generator.const_input", bool),
        "blur_filter": _blur("generator"),
        "fused_scale": FUSED_SCALE,
    },
    defaults={
        **G_DEFAULTS,
        "fmap_base": 8192,
        "truncation_psi": 0.7,
        "truncation_cutoff": 8,
        "use_styles": True,
        "use_instance_norm": True,
        "use_pixel_norm": False,
        "use_noise": True,
        "const_input_layer": True,
        "blur_filter": [1, 2, 1],
        "fused_scale": "auto",
    },
    constants={
        "generator.block": "adain",
        "generator.conditioning": "stylegan2",
    },
    **G_COMMON,
)
G_MAIN = Signature(
    fields={**G_FIELDS, "resample_kernel": _kernel("generator")},
    defaults={
        **G_DEFAULTS,
        "fmap_base": 16384,
        "truncation_psi": 0.5,
        "truncation_cutoff": None,
        "resample_kernel": [1, 3, 3, 1],
    },
    constants={
        "generator.block": "modulated",
        "generator.conditioning": "stylegan2",
        "generator.conv_clamp": arguments.NO_CLAMP,
    },
    **G_COMMON,
)
G_ADA = Signature(
    fields={**G_MAIN.fields, "conv_clamp": _clamp("generator")},
    defaults={**G_MAIN.defaults, "truncation_psi": 1.0, "conv_clamp": None},
    constants={"generator.block": "modulated", "generator.conditioning": "ada"},
    **G_COMMON,
)
G_PAPER = Signature(
    fields={
        **DATA,
        **_fmaps("generator"),
        "latent_size": Meaning("generator.z_dim", whole),
        "fused_scale": FUSED_SCALE,
    },
    defaults={
        "num_channels": 3,
        "label_size": 0,
        "latent_size": 512,
        "fmap_base": 8192,
        "fmap_min": 1,
        "fmap_max": 512,
        "fused_scale": True,
    },
    constants={
        "generator.block": "adain",
        "generator.conditioning": "progan",
        "generator.styles": False,
        "generator.noise": False,
        "generator.const_input": False,
        "generator.pixel_norm": True,
        "generator.mapping_layers": 0,
        "generator.resample_kernel": (1,),
        "generator.style_mixing_prob": 0.0,
    },
    fixed=FIXED,
    harmless=HARMLESS,
    shaped=frozenset(),
)

D_FIELDS = {
    **DATA,
    **_fmaps("discriminator"),
    "mbstd_group_size": Meaning("discriminator.mbstd_group_size", whole),
    "mbstd_num_features": Meaning("discriminator.mbstd_num_features", whole),
}
D_DEFAULTS = {
    "num_channels": 3,
    "label_size": 0,
    "fmap_min": 1,
    "fmap_max": 512,
    "mbstd_group_size": 4,
    "mbstd_num_features": 1,
}
D_COMMON = {
    "fixed": FIXED,
    "harmless": {**HARMLESS, "fused_scale": ROUNDING},
    "shaped": frozenset(["architecture", "mapping_fmaps"]),
}
D_BASIC = Signature(
    fields={**D_FIELDS, "blur_filter": _blur("discriminator")},
    defaults={**D_DEFAULTS, "fmap_base": 8192, "blur_filter": [1, 2, 1]},
    constants={
        "discriminator.block": "stylegan",
        "discriminator.conditioning": "stylegan2",
    },
    **D_COMMON,
)
D_PAPER = Signature(
    # Labels were accepted and not used.
    fields={k: v for k, v in D_FIELDS.items() if k != "label_size"},
    defaults={**D_DEFAULTS, "fmap_base": 8192},
    constants={**D_BASIC.constants, "discriminator.resample_kernel": (1,)},
    **{**D_COMMON, "shaped": D_COMMON["shaped"] | {"label_size"}},
)
D_STYLEGAN2 = Signature(
    fields={**D_FIELDS, "resample_kernel": _kernel("discriminator")},
    defaults={**D_DEFAULTS, "fmap_base": 16384, "resample_kernel": [1, 3, 3, 1]},
    constants={
        "discriminator.block": "stylegan2",
        "discriminator.conditioning": "stylegan2",
        "discriminator.conv_clamp": arguments.NO_CLAMP,
    },
    **D_COMMON,
)
D_ADA = Signature(
    fields={
        **D_STYLEGAN2.fields,
        "mapping_layers": Meaning("discriminator.mapping_layers", whole),
        "mapping_lrmul": Meaning("discriminator.mapping_lr_mul", float),
        "conv_clamp": _clamp("discriminator"),
    },
    defaults={
        **D_STYLEGAN2.defaults,
        "mapping_layers": 0,
        "mapping_lrmul": 0.1,
        "conv_clamp": None,
    },
    constants={
        "discriminator.block": "stylegan2",
        "discriminator.conditioning": "ada",
    },
    **D_COMMON,
)
