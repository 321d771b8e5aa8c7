"""Names and layouts of the published TensorFlow networks.

StyleGAN (and ProGAN), StyleGAN2 and StyleGAN2-ADA. Kernels are [K, K, C, F], dense ones
[C, F], as ours. What a generator has is named with the prefix of its part; in a pickle
the parts stand on their own, without it.
"""

import numpy as np

from tfstylegan.interop import naming

PROGAN = "G_paper"
OWN = ("lod", "dlatent_avg")  # variables of a generator outside its parts
PREFIXES = {"mapping": "G_mapping/", "synthesis": "G_synthesis/"}
# StyleGAN's up-convolutions of this output size and larger run in one step with their
# upsampling, which reverses the stored kernel in space.
FUSED_FROM = 128
SIZES = [1 << k for k in range(3, 15)]

LAYER = {"kernel": ("weight", naming.SAME), "bias": ("bias", naming.SAME)}
TO_RGB = {
    "conv/kernel": ("weight", naming.SAME),
    "conv/affine/kernel": ("mod_weight", naming.SAME),
    "conv/affine/bias": ("mod_bias", naming.LESS_ONE),
    "bias": ("bias", naming.SAME),
}
STYLED = {**TO_RGB, "noise/strength": ("noise_strength", naming.SAME)}
EPILOGUE = {  # with its convolution, constant or dense layer
    "conv/kernel": ("weight", naming.SAME),
    "const": ("const", naming.NCHW),
    "dense/kernel": ("weight", naming.SAME),
    "bias": ("bias", naming.SAME),
    "noise/strength": ("Noise/weight", naming.SAME),
    "adain/affine/kernel": ("StyleMod/weight", naming.SAME),
    "adain/affine/bias": ("StyleMod/bias", naming.SAME),
}
CONVS = {
    "synthesis/4x4_conv": "G_synthesis/4x4/Conv",
    "synthesis/{r}x{r}_conv": "G_synthesis/{r}x{r}/Conv1",
    "synthesis/{r}x{r}_conv_up": "G_synthesis/{r}x{r}/Conv0_up",
}
COMMON = [
    ("w_avg", "dlatent_avg", naming.SAME),
    ("mapping/embedding", "G_mapping/LabelConcat/weight", naming.SAME),
    *naming.product({"mapping/embed": "G_mapping/LabelEmbed"}, LAYER, "/"),
    *naming.product({"mapping/dense{i}": "G_mapping/Dense{i}"}, LAYER, "/"),
    ("synthesis/lod", "G_synthesis/lod", naming.SAME),
]
MODULATED = [
    *COMMON,
    ("synthesis/const", "G_synthesis/4x4/Const/const", naming.NCHW),
    ("synthesis/{r}x{r}_conv_up/noise/fixed", "G_synthesis/noise{up}", naming.NCHW),
    ("synthesis/{r}x{r}_conv/noise/fixed", "G_synthesis/noise{one}", naming.NCHW),
    *naming.product(CONVS, STYLED, "/"),
    ("synthesis/{r}x{r}_skip/kernel", "G_synthesis/{r}x{r}/Skip/weight", naming.SAME),
]
ADAIN = [
    *COMMON,
    ("synthesis/4x4_start/noise/fixed", "G_synthesis/noise0", naming.NCHW),
    ("synthesis/{r}x{r}_conv_up/noise/fixed", "G_synthesis/noise{one}", naming.NCHW),
    ("synthesis/{r}x{r}_conv/noise/fixed", "G_synthesis/noise{two}", naming.NCHW),
    *naming.product(CONVS, EPILOGUE, "/"),
    *naming.product(
        {"synthesis/{r}x{r}_to_rgb": "G_synthesis/ToRGB_lod{lod}"}, LAYER, "/"
    ),
]
DISCRIMINATOR = naming.product(
    {
        "4x4_conv": "4x4/Conv",
        "{r}x{r}_conv": "{r}x{r}/Conv0",
        "{r}x{r}_conv_down": "{r}x{r}/Conv1_down",
        "{r}x{r}_skip": "{r}x{r}/Skip",
        "dense": "4x4/Dense0",
        "output/embed": "LabelEmbed",
        "output/dense{i}": "Mapping{i}",
        "output/output": "Output",
    },
    LAYER,
    "/",
)


def entries(network, fused_from=FUSED_FROM):
    """`naming.Entry` of every variable of a generator or discriminator.

    `fused_from` is the output size from which on StyleGAN's up-convolutions are fused.
    """
    growing = network.stage is not None
    if not hasattr(network, "synthesis"):
        rows = _discriminator(growing, network.block == "stylegan")
    elif network.synthesis.start is None:
        rgb = "ToRGB_lod{lod}" if growing else "{r}x{r}/ToRGB"
        modules = {"synthesis/{r}x{r}_to_rgb": f"G_synthesis/{rgb}"}
        rows = MODULATED + naming.product(modules, TO_RGB, "/")
    else:
        rows = _adain(network.synthesis.start.dense is None, fused_from)
    return naming.entries(network, rows, "tensorflow")


def _adain(const_input, fused_from):
    start = f"G_synthesis/4x4/{'Const' if const_input else 'Dense'}"
    return [
        *(
            (
                f"synthesis/{size}x{size}_conv_up/conv/kernel",
                f"G_synthesis/{size}x{size}/Conv0_up/weight",
                naming.HWIO_REVERSED,
            )
            for size in SIZES
            if size >= fused_from
        ),
        *naming.product({"synthesis/4x4_start": start}, EPILOGUE, "/"),
        *ADAIN,
    ]


def _discriminator(growing, stylegan):
    from_rgb = "FromRGB_lod{lod}" if growing else "{r}x{r}/FromRGB"
    modules = {"{r}x{r}_from_rgb": from_rgb}
    modules["output"] = "4x4/Dense1" if stylegan else "Output"
    lod = ("lod", "lod", naming.SAME)
    return [lod, *naming.product(modules, LAYER, "/"), *DISCRIMINATOR]


def collected(record):
    """{name: array} of a `nvidia_pickle.NetworkRecord`, its parts with their prefix.

    A part counts, where the network has a copy of what it holds. ProGAN's generator is
    one part without a prefix; here it gets that of the synthesis.
    """
    arrays = dict(record.variables)
    if record.kind == PROGAN:
        arrays = {
            name if name in OWN else f"{PREFIXES['synthesis']}{name}": array
            for name, array in arrays.items()
        }
    for name, part in record.components.items():
        prefix = PREFIXES.get(name, f"{name}/")
        arrays |= {prefix + key: value for key, value in part.variables.items()}
    return arrays


def completed(arrays, entries):
    """`arrays` with what not every kind of network stores: lod and dlatent_avg."""
    found = {}
    for name, variable, _ in entries:
        own = name.rpartition("/")[2]
        if own in OWN:
            found[name] = arrays.get(own, np.zeros(variable.shape, np.float32))
    return found | arrays


def published(arrays, kind, version):
    """`encoded` arrays of a generator as networks of this kind and version have them.

    These hold the lod twice, or not at all.
    """
    if version < 5:
        arrays = {
            "lod": arrays.get("G_synthesis/lod", np.zeros([], np.float32)),
            **arrays,
        }
    if kind == PROGAN:
        prefix = PREFIXES["synthesis"]
        arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    return arrays
