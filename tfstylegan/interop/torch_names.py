"""Names and layouts of stylegan2-ada-pytorch (also stylegan3's stylegan2 networks).

The state dicts of `Generator` and `Discriminator`. Kernels are [F, C, K, K], those of
up-convolutions reversed in space, dense ones [F, C]; the 1 of the modulation stands in
its bias.
"""

import re

import numpy as np

from tfstylegan.interop import naming

DENSE = {"kernel": ("weight", naming.TRANSPOSED), "bias": ("bias", naming.SAME)}
CONV = {"kernel": ("weight", naming.OIHW), "bias": ("bias", naming.SAME)}
TO_RGB = {
    "conv/kernel": ("weight", naming.OIHW),
    "bias": ("bias", naming.SAME),
    "conv/affine/kernel": ("affine.weight", naming.TRANSPOSED),
    "conv/affine/bias": ("affine.bias", naming.SAME),
}
STYLED = {
    **TO_RGB,
    "noise/strength": ("noise_strength", naming.SAME),
    "noise/fixed": ("noise_const", naming.HW),
}
STYLED_UP = {**STYLED, "conv/kernel": ("weight", naming.OIHW_REVERSED)}

GENERATOR = [
    ("w_avg", "mapping.w_avg", naming.SAME),
    *naming.product({"mapping/embed": "mapping.embed"}, DENSE, "."),
    *naming.product({"mapping/dense{i}": "mapping.fc{i}"}, DENSE, "."),
    ("synthesis/const", "synthesis.b4.const", naming.CHW),
    *naming.product(
        {"synthesis/{r}x{r}_conv_up": "synthesis.b{r}.conv0"}, STYLED_UP, "."
    ),
    *naming.product({"synthesis/{r}x{r}_conv": "synthesis.b{r}.conv1"}, STYLED, "."),
    *naming.product({"synthesis/{r}x{r}_to_rgb": "synthesis.b{r}.torgb"}, TO_RGB, "."),
    (
        "synthesis/{r}x{r}_skip/kernel",
        "synthesis.b{r}.skip.weight",
        naming.OIHW_REVERSED,
    ),
]
DISCRIMINATOR = [
    *naming.product(
        {
            "4x4_conv": "b4.conv",
            "{r}x{r}_from_rgb": "b{r}.fromrgb",
            "{r}x{r}_conv": "b{r}.conv0",
            "{r}x{r}_conv_down": "b{r}.conv1",
            "{r}x{r}_skip": "b{r}.skip",
        },
        CONV,
        ".",
    ),
    *naming.product(
        {
            "dense": "b4.fc",
            "output": "b4.out",
            "output/embed": "mapping.embed",
            "output/dense{i}": "mapping.fc{i}",
            "output/output": "b4.out",
        },
        DENSE,
        ".",
    ),
]
# Modules with a buffer of the FIR taps, by one of their parameters; blocks have one
# too, but for the last of D.
FILTERED = re.compile(r"(.*\bb\d+\.(?:conv|conv0|conv1|skip|fromrgb))\.weight")
BLOCK = re.compile(r"(.*\bb\d+)\.conv1\.weight")
# Where the taps that are stored make a difference.
RESAMPLES = re.compile(r"(?:synthesis\.)?b\d+\.resample_filter")


def entries(network):
    """`naming.Entry` of every variable of a generator or discriminator."""
    rows = GENERATOR if hasattr(network, "synthesis") else DISCRIMINATOR
    return naming.entries(network, rows, "torch")


def buffers(names, resample_kernel):
    """{name: taps [K, K]} of the FIR buffers that go with these parameters."""
    taps = filter_taps(resample_kernel)
    found = (p.fullmatch(name) for name in names for p in (FILTERED, BLOCK))
    return {f"{match[1]}.resample_filter": taps for match in found if match}


def filter_taps(resample_kernel):
    """FIR taps as the buffers hold them: [K, K], of sum 1."""
    taps = np.array(resample_kernel, np.float32)
    taps = np.outer(taps, taps)
    return taps / taps.sum()


def check_filters(arrays, resample_kernel, where):
    """Raises ValueError where stored taps are not those of `resample_kernel`."""
    taps = filter_taps(resample_kernel)
    for name, array in arrays.items():
        if RESAMPLES.fullmatch(name) and not (
            array.shape == taps.shape and np.allclose(array, taps, atol=1e-6)
        ):
            raise ValueError(
                f"{name} of {where} must hold the taps of {list(resample_kernel)}; "
                f"got {np.asarray(array).tolist()}"
            )
