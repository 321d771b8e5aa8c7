"""What every network checks of the labels that it is given."""


def check(labels, label_dim):
    """Raises ValueError unless `labels` fit a network with `label_dim` label entries.

    [N, label_dim]; for an unconditional network (label_dim 0) None or [N, 0].
    """
    if labels is None:
        if label_dim:
            raise ValueError(f"labels must be [N, {label_dim}]; got None")
        return
    shape = labels.shape
    if len(shape) != 2 or shape[1] not in (label_dim, None):
        wanted = f"[N, {label_dim}]" if label_dim else "None for this network"
        raise ValueError(f"labels must be {wanted}; got shape {tuple(shape)}")
