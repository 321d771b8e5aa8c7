"""The whole configuration: every field with its default, unit and check.

Plain dataclasses without TensorFlow, so that a wrong configuration is told at once.
Values are those of StyleGAN2 config F unless a preset in `configs/` says otherwise.
"""

import dataclasses
import difflib
import json
import pathlib
import typing

ARCHITECTURES = ("orig", "skip", "resnet")
CONDITIONINGS = ("stylegan2", "ada")
METRICS = ("pixel_frechet",)


@dataclasses.dataclass(kw_only=True)
class DataConfig:
    """What the networks learn from."""

    source: str = "digits"  # "digits", or a folder of PNG and JPEG images
    resolution: int = 32  # image height in pixels
    base_grid: tuple[int, int] = (4, 4)  # height, width; doubled up to `resolution`
    channels: int = 3
    labels: bool = False  # train a class-conditional network
    mirror: bool = False  # flip half of the images left to right
    skip_corrupt: bool = False  # name and leave out unreadable images

    @property
    def doublings(self):
        """How often the base grid is doubled to reach the image."""
        return (self.resolution // self.base_grid[0]).bit_length() - 1

    @property
    def image_size(self):
        """Image (height, width) in pixels."""
        return self.resolution, self.base_grid[1] << self.doublings


@dataclasses.dataclass(kw_only=True)
class GeneratorConfig:
    """Mapping and synthesis network."""

    architecture: str = "skip"  # orig, skip or resnet
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    mapping_lr_mul: float = 0.01
    conditioning: str = "stylegan2"  # how labels enter: "stylegan2" or "ada"
    fmap_base: int = 16384  # feature maps at 2^r: fmap_base / 2^(r-1), within
    fmap_min: int = 1
    fmap_max: int = 512
    resample_kernel: tuple[int, ...] = (1, 3, 3, 1)
    style_mixing_prob: float = 0.9
    w_avg_decay: float = 0.995


@dataclasses.dataclass(kw_only=True)
class DiscriminatorConfig:
    """Discriminator network."""

    architecture: str = "resnet"  # orig, skip or resnet
    conditioning: str = "stylegan2"  # how labels enter: "stylegan2" or "ada"
    mapping_layers: int = 8  # of the label embedding, conditioning "ada" only
    fmap_base: int = 16384
    fmap_min: int = 1
    fmap_max: int = 512
    resample_kernel: tuple[int, ...] = (1, 3, 3, 1)
    mbstd_group_size: int = 4  # samples a minibatch-stddev group; 0 switches it off
    mbstd_num_features: int = 1


@dataclasses.dataclass(kw_only=True)
class LossConfig:
    """Non-saturating logistic loss and its lazy regularisers."""

    r1_gamma: float = 10.0  # penalty is gamma/2 |grad|^2; 0 switches it off
    r1_interval: int = 16  # in training steps
    pl_weight: float = 2.0  # path length regulariser; 0 switches it off
    pl_interval: int = 4  # in training steps
    pl_decay: float = 0.01
    pl_batch_shrink: int = 2  # path length sees batch_size / pl_batch_shrink samples


@dataclasses.dataclass(kw_only=True)
class OptimizerConfig:
    """Adam of both networks, before the correction for lazy regularisation."""

    g_lr: float = 0.002
    d_lr: float = 0.002
    beta1: float = 0.0
    beta2: float = 0.99
    epsilon: float = 1e-8


@dataclasses.dataclass(kw_only=True)
class TrainConfig:
    """Length of the run and what it writes. Time is images seen."""

    total_kimg: float = 25000.0
    batch_size: int = 32  # all replicas together
    tick_kimg: float = 4.0
    ema_halflife_kimg: float = 10.0
    ema_rampup: float = 0.0  # half-life at most this part of the images seen; 0 = off
    checkpoint_ticks: int = 10
    keep_checkpoints: int = 3
    image_ticks: int = 10
    grid: tuple[int, int] = (8, 8)  # rows, columns of the sample grids
    metrics: tuple[str, ...] = ("pixel_frechet",)
    metric_ticks: int = 50  # also before the first and after the last tick
    metric_images: int = 10000  # generated images a metric looks at


@dataclasses.dataclass(kw_only=True)
class Config:
    """A complete training run."""

    seed: int = 1000
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(
        default_factory=DiscriminatorConfig
    )
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def validate(self):
        """Raises ValueError at the first field that cannot work; returns self."""
        _validate_types(self, "config")
        _validate_data(self.data)
        _validate_generator(self.generator)
        _validate_discriminator(self.discriminator)
        _validate_training(self)
        return self

    def to_json(self):
        """The configuration as JSON text; `from_json` is its inverse."""
        return json.dumps(dataclasses.asdict(self), indent=2)


def preset_path(name):
    """Path of the preset `configs/<name>.py`, in a checkout or inside the package."""
    package = pathlib.Path(__file__).parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / f"{name}.py").is_file():
            return folder / f"{name}.py"
    return None


def load(path):
    """Configuration of a run's workdir or of a model directory.

    Raises ValueError where `path` is neither.
    """
    file = pathlib.Path(path) / "config.json"
    if not file.is_file():
        raise ValueError(
            f"{path} holds no config.json: it must be a run's workdir or a model "
            "directory"
        )
    return from_json(file.read_text())


def from_json(text):
    """Reads `Config.to_json`; an unknown or ill-typed field is a ValueError."""
    return _from_dict(Config, json.loads(text), "config").validate()


def unknown_field(path, cls=Config):
    """Message for the first part of dotted `path` that `cls` lacks, else None.

    >>> unknown_field("trian.batch_size")
    "config has no field 'trian'; did you mean 'train'?"
    """
    where = "config"
    for name in path.split("."):
        names = [f.name for f in dataclasses.fields(cls)]
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {names}"
            return f"{where} has no field {name!r}; {hint}"
        where = f"{where}.{name}"
        cls = typing.get_type_hints(cls)[name]
        if not dataclasses.is_dataclass(cls):
            cls = _Leaf
    return None


@dataclasses.dataclass
class _Leaf:
    """Stands for a plain value: it has no fields of its own."""


def _from_dict(cls, values, where):
    if not isinstance(values, dict):
        _fail(where, "must be an object with fields", values)
    for name in values:
        message = unknown_field(name, cls)
        if message:
            raise ValueError(message.replace("config", where, 1))
    hints = typing.get_type_hints(cls)
    kwargs = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            value = _from_dict(hints[name], value, f"{where}.{name}")
        elif typing.get_origin(hints[name]) is tuple and isinstance(value, list):
            value = tuple(value)
        kwargs[name] = value
    return cls(**kwargs)


def _validate_types(node, where):
    hints = typing.get_type_hints(type(node))
    for field in dataclasses.fields(node):
        value, hint = getattr(node, field.name), hints[field.name]
        path = f"{where}.{field.name}"
        if dataclasses.is_dataclass(hint):
            if not isinstance(value, hint):
                _fail(path, f"must be {hint.__name__}", value)
            _validate_types(value, path)
        elif typing.get_origin(hint) is tuple:
            item, length = _tuple_shape(hint)
            good = isinstance(value, tuple) and all(_is_a(v, item) for v in value)
            if not good or length not in (None, len(value)):
                _fail(path, f"must be {hint}", value)
        elif not _is_a(value, hint):
            _fail(path, f"must be {hint.__name__}", value)


def _tuple_shape(hint):
    args = typing.get_args(hint)
    return (args[0], None) if args[-1] is Ellipsis else (args[0], len(args))


def _is_a(value, kind):
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _fail(path, requirement, value):
    raise ValueError(f"{path} {requirement}; got {value!r}")


def _at_least(section, where, minimum, *names):
    for name in names:
        value = getattr(section, name)
        if not minimum <= value < float("inf"):
            _fail(
                f"config.{where}.{name}",
                f"must be finite and at least {minimum}",
                value,
            )


def _positive(section, where, *names):
    for name in names:
        value = getattr(section, name)
        if not 0 < value < float("inf"):
            _fail(f"config.{where}.{name}", "must be positive and finite", value)


def _one_of(section, where, name, choices):
    if getattr(section, name) not in choices:
        _fail(
            f"config.{where}.{name}",
            f"must be one of {', '.join(choices)}",
            getattr(section, name),
        )


def _validate_data(data):
    _at_least(data, "data", 1, "resolution", "channels")
    if min(data.base_grid) < 1:
        _fail("config.data.base_grid", "must hold positive numbers", data.base_grid)
    if data.doublings < 1 or data.base_grid[0] << data.doublings != data.resolution:
        _fail(
            "config.data.resolution",
            f"must be base_grid height {data.base_grid[0]} doubled once or more",
            data.resolution,
        )


def _validate_resample_kernel(section, where):
    kernel = section.resample_kernel
    if len(kernel) < 2 or sum(kernel) == 0:
        _fail(
            f"config.{where}.resample_kernel",
            "must hold two taps or more with a sum other than 0",
            kernel,
        )


def _validate_generator(generator):
    where = "generator"
    _one_of(generator, where, "architecture", ARCHITECTURES)
    _one_of(generator, where, "conditioning", CONDITIONINGS)
    _at_least(generator, where, 1, "z_dim", "w_dim", "fmap_base", "fmap_min")
    _at_least(generator, where, generator.fmap_min, "fmap_max")
    _at_least(generator, where, 0, "mapping_layers")
    _positive(generator, where, "mapping_lr_mul")
    _validate_resample_kernel(generator, where)
    for name in ("style_mixing_prob", "w_avg_decay"):
        if not 0 <= getattr(generator, name) <= 1:
            _fail(
                f"config.{where}.{name}",
                "must lie in [0, 1]",
                getattr(generator, name),
            )
    if generator.mapping_layers == 0 and generator.z_dim != generator.w_dim:
        _fail(
            f"config.{where}.w_dim",
            f"must equal z_dim = {generator.z_dim} without mapping layers",
            generator.w_dim,
        )


def _validate_discriminator(discriminator):
    where = "discriminator"
    _one_of(discriminator, where, "architecture", ARCHITECTURES)
    _one_of(discriminator, where, "conditioning", CONDITIONINGS)
    _at_least(discriminator, where, 1, "fmap_base", "fmap_min", "mbstd_num_features")
    _at_least(discriminator, where, discriminator.fmap_min, "fmap_max")
    _at_least(discriminator, where, 0, "mapping_layers", "mbstd_group_size")
    _validate_resample_kernel(discriminator, where)


def _validate_training(config):
    train, loss, optimizer = config.train, config.loss, config.optimizer
    if not 0 <= config.seed < 2**31:
        _fail("config.seed", "must lie in [0, 2^31)", config.seed)
    _at_least(loss, "loss", 0, "r1_gamma", "pl_weight")
    _at_least(loss, "loss", 1, "r1_interval", "pl_interval", "pl_batch_shrink")
    if not 0 <= loss.pl_decay <= 1:
        _fail("config.loss.pl_decay", "must lie in [0, 1]", loss.pl_decay)
    _positive(optimizer, "optimizer", "g_lr", "d_lr", "epsilon")
    for name in ("beta1", "beta2"):
        if not 0 <= getattr(optimizer, name) < 1:
            _fail(
                f"config.optimizer.{name}",
                "must lie in [0, 1)",
                getattr(optimizer, name),
            )
    _positive(train, "train", "total_kimg", "tick_kimg", "ema_halflife_kimg")
    _at_least(train, "train", 0, "ema_rampup")
    _at_least(
        train,
        "train",
        1,
        *("batch_size", "checkpoint_ticks", "keep_checkpoints", "image_ticks"),
        *("metric_ticks", "metric_images"),
    )
    for name in train.metrics:
        if name not in METRICS:
            _fail("config.train.metrics", f"must be of {', '.join(METRICS)}", name)
    if min(train.grid) < 1:
        _fail("config.train.grid", "must hold positive numbers", train.grid)
    group = config.discriminator.mbstd_group_size
    if group and train.batch_size > group and train.batch_size % group:
        _fail(
            "config.train.batch_size",
            f"must be a multiple of discriminator.mbstd_group_size = {group}",
            train.batch_size,
        )
    if loss.pl_weight and train.batch_size % loss.pl_batch_shrink:
        _fail(
            "config.train.batch_size",
            f"must be a multiple of loss.pl_batch_shrink = {loss.pl_batch_shrink}",
            train.batch_size,
        )
