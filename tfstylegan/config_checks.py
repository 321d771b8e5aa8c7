"""What the values of a configuration must fulfil; see `config.Config.validate`.

Every message names the field, the requirement and the value.
"""

import dataclasses
import operator
import typing

from tfstylegan import fmaps

ARCHITECTURES = ("orig", "skip", "resnet")
CONDITIONINGS = ("stylegan2", "ada")
METRICS = ("pixel_frechet",)


def check(config):
    """Raises ValueError at the first field of a `config.Config` that cannot work."""
    _types(config, "config")
    _require(config, "seed", 0 <= config.seed < 2**31, "must lie in [0, 2^31)")
    _data(config)
    _generator(config)
    _discriminator(config)
    _loss(config)
    _optimizer(config)
    _train(config)
    _batch_size(config)


def fail(path, requirement, value):
    """Raises the ValueError that every check of a configuration raises."""
    raise ValueError(f"{path} {requirement}; got {value!r}")


def _types(node, where):
    hints = typing.get_type_hints(type(node))
    for field in dataclasses.fields(node):
        value, hint = getattr(node, field.name), hints[field.name]
        path = f"{where}.{field.name}"
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, hint):
                fail(path, f"must be {hint.__name__}", value)
            _types(value, path)
        elif typing.get_origin(hint) is tuple:
            item, length = _tuple_shape(hint)
            good = isinstance(value, tuple) and all(_is_a(v, item) for v in value)
            if not good or length not in (None, len(value)):
                fail(path, f"must be {hint}", value)
        elif not _is_a(value, hint):
            fail(path, f"must be {hint.__name__}", value)


def _tuple_shape(hint):
    args = typing.get_args(hint)
    return (args[0], None) if args[-1] is Ellipsis else (args[0], len(args))


def _is_a(value, kind):
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _require(config, path, good, requirement):
    if not good:
        fail(f"config.{path}", requirement, operator.attrgetter(path)(config))


def _at_least(config, minimum, *paths):
    for path in paths:
        good = minimum <= operator.attrgetter(path)(config) < float("inf")
        _require(config, path, good, f"must be finite and at least {minimum}")


def _positive(config, *paths):
    for path in paths:
        good = 0 < operator.attrgetter(path)(config) < float("inf")
        _require(config, path, good, "must be positive and finite")


def _one_of(config, path, choices):
    good = operator.attrgetter(path)(config) in choices
    _require(config, path, good, f"must be one of {', '.join(choices)}")


def _data(config):
    data = config.data
    _at_least(config, 1, "data.resolution", "data.channels")
    good = min(data.base_grid) >= 1
    _require(config, "data.base_grid", good, "must hold positive numbers")
    height = data.base_grid[0]
    good = data.doublings >= 1 and height << data.doublings == data.resolution
    requirement = f"must be base_grid height {height} doubled once or more"
    _require(config, "data.resolution", good, requirement)


def _network(config, where):
    """What generator and discriminator share."""
    network = getattr(config, where)
    _one_of(config, f"{where}.architecture", ARCHITECTURES)
    _one_of(config, f"{where}.conditioning", CONDITIONINGS)
    _at_least(config, 1, f"{where}.fmap_base", f"{where}.fmap_min")
    _at_least(config, network.fmap_min, f"{where}.fmap_max")
    _at_least(config, 0, f"{where}.mapping_layers")
    kernel = network.resample_kernel
    good = len(kernel) >= 2 and sum(kernel) != 0
    requirement = "must hold two taps or more with a sum other than 0"
    _require(config, f"{where}.resample_kernel", good, requirement)


def _generator(config):
    generator = config.generator
    _network(config, "generator")
    _at_least(config, 1, "generator.z_dim", "generator.w_dim")
    _positive(config, "generator.mapping_lr_mul")
    for name in ("style_mixing_prob", "w_avg_decay"):
        good = 0 <= getattr(generator, name) <= 1
        _require(config, f"generator.{name}", good, "must lie in [0, 1]")
    if generator.mapping_layers == 0:
        requirement = "must be at least 1 with data.labels"  # z and label become one w
        good = not config.data.labels
        _require(config, "generator.mapping_layers", good, requirement)
        requirement = f"must equal z_dim = {generator.z_dim} without mapping layers"
        good = generator.z_dim == generator.w_dim
        _require(config, "generator.w_dim", good, requirement)


def _discriminator(config):
    discriminator = config.discriminator
    _network(config, "discriminator")
    _at_least(config, 1, "discriminator.mbstd_num_features")
    _at_least(config, 0, "discriminator.mbstd_group_size")
    width = fmaps.at_level(
        0,
        fmap_base=discriminator.fmap_base,
        fmap_min=discriminator.fmap_min,
        fmap_max=discriminator.fmap_max,
    )
    if discriminator.mbstd_group_size:
        good = width % discriminator.mbstd_num_features == 0
        requirement = f"must divide the {width} feature maps of the coarsest level"
        _require(config, "discriminator.mbstd_num_features", good, requirement)


def _loss(config):
    _at_least(config, 0, "loss.r1_gamma", "loss.pl_weight")
    _at_least(config, 1, "loss.r1_interval", "loss.pl_interval", "loss.pl_batch_shrink")
    good = 0 <= config.loss.pl_decay <= 1
    _require(config, "loss.pl_decay", good, "must lie in [0, 1]")


def _optimizer(config):
    _positive(config, "optimizer.g_lr", "optimizer.d_lr", "optimizer.epsilon")
    for name in ("beta1", "beta2"):
        good = 0 <= getattr(config.optimizer, name) < 1
        _require(config, f"optimizer.{name}", good, "must lie in [0, 1)")


def _train(config):
    train = config.train
    _positive(config, "train.tick_kimg", "train.ema_halflife_kimg")
    _at_least(config, 0.001, "train.total_kimg")  # one image
    _at_least(config, 0, "train.ema_rampup")
    _at_least(config, 1, "train.batch_size", "train.keep_checkpoints")
    for name in ("checkpoint_ticks", "image_ticks", "metric_ticks"):
        _at_least(config, 1, f"train.{name}")
    _at_least(config, 2, "train.metric_images")  # a covariance needs two
    for name in train.metrics:
        if name not in METRICS:
            fail("config.train.metrics", f"must be of {', '.join(METRICS)}", name)
    good = min(train.grid) >= 1
    _require(config, "train.grid", good, "must hold positive numbers")


def _batch_size(config):
    size, group = config.train.batch_size, config.discriminator.mbstd_group_size
    requirement = f"must be a multiple of discriminator.mbstd_group_size = {group}"
    good = not group or size <= group or size % group == 0
    _require(config, "train.batch_size", good, requirement)
    shrink = config.loss.pl_batch_shrink
    requirement = f"must be a multiple of loss.pl_batch_shrink = {shrink}"
    good = not config.loss.pl_weight or size % shrink == 0
    _require(config, "train.batch_size", good, requirement)
    # A step that skips a whole tick would skip what is due at it, checkpoints too.
    requirement = f"must be at least one batch, train.batch_size / 1000 = {size / 1000}"
    good = round(config.train.tick_kimg * 1000) >= size
    _require(config, "train.tick_kimg", good, requirement)
