"""What every metric asks of the arrays that it is given."""

import numpy as np


def features(name, values, *, at_least=1, dims=None):
    """float64 [N, D] of finite numbers, or a ValueError that names what is wrong."""
    values = np.asarray(values)
    if values.ndim != 2 or (dims is not None and values.shape[1] != dims):
        width = "D" if dims is None else dims
        raise ValueError(f"{name} must be [N, {width}], got {list(values.shape)}.")
    if len(values) < at_least:
        raise ValueError(
            f"{name} must have at least {at_least} rows, got {len(values)}."
        )
    bad = len(values) - np.count_nonzero(np.isfinite(values).all(axis=1))
    if bad:
        raise ValueError(
            f"{name} must be finite, got NaN or infinity in {bad} of {len(values)} "
            "rows."
        )
    return values.astype(np.float64, copy=False)
