"""Which levels of a network compute in 16 bits (StyleGAN2-ADA, appendix C).

Those of the highest resolutions, where the time and the memory go; never the base grid,
where minibatch statistics and dense layers are. Parameters, images and logits are
float32 throughout.
"""

DTYPES = ("bfloat16", "float16")


def check(half_dtype, num_fp16_res):
    """Raises ValueError for options of a network that mean nothing."""
    if half_dtype not in (None, *DTYPES):
        raise ValueError(
            f"half_dtype must be one of {', '.join(DTYPES)}, or None; got "
            f"{half_dtype!r}"
        )
    if num_fp16_res < 0:
        raise ValueError(f"num_fp16_res must be at least 0; got {num_fp16_res}")


def policy(network, level):
    """Keras' dtype policy of the layers at a level of a network.

    Of one with `doublings`, `num_fp16_res` and `half_dtype`, None for none.
    """
    first = max(network.doublings - network.num_fp16_res + 1, 1)
    if network.half_dtype is None or level < first:
        return network.dtype_policy
    return f"mixed_{network.half_dtype}"
