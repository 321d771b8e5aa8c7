"""The whole configuration: every field with its default and unit.

Plain dataclasses without TensorFlow, so that a wrong configuration is told at once;
`config_checks` holds what the values must fulfil. The defaults are those of StyleGAN2
config F unless a preset in `configs/` says otherwise.
"""

import dataclasses
import difflib
import json
import pathlib
import typing

from tfstylegan import config_checks

METRICS = config_checks.METRICS  # names that `train.metrics` may hold
# A run's workdir: its Config, which data it learns from, the folder of checkpoints.
CONFIG_FILE = "config.json"
DATA_FILE = "data.json"
CHECKPOINTS = "checkpoints"


@dataclasses.dataclass(kw_only=True, slots=True)
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


@dataclasses.dataclass(kw_only=True, slots=True)
class GeneratorConfig:
    """Mapping and synthesis network."""

    architecture: str = "skip"  # orig, skip or resnet
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8  # 0 (w is the normalised z) only without labels
    mapping_lr_mul: float = 0.01
    conditioning: str = "stylegan2"  # how labels enter: "stylegan2" or "ada"
    fmap_base: int = 16384  # feature maps at 2^r: fmap_base / 2^(r-1), within
    fmap_min: int = 1
    fmap_max: int = 512
    resample_kernel: tuple[int, ...] = (1, 3, 3, 1)
    style_mixing_prob: float = 0.9
    w_avg_decay: float = 0.995


@dataclasses.dataclass(kw_only=True, slots=True)
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
    mbstd_num_features: int = 1  # divides the maps of the coarsest level


@dataclasses.dataclass(kw_only=True, slots=True)
class LossConfig:
    """Non-saturating logistic loss and its lazy regularisers."""

    r1_gamma: float = 10.0  # penalty is gamma/2 |grad|^2; 0 switches it off
    r1_interval: int = 16  # in training steps
    pl_weight: float = 2.0  # path length regulariser; 0 switches it off
    pl_interval: int = 4  # in training steps
    pl_decay: float = 0.01
    pl_batch_shrink: int = 2  # path length sees batch_size / pl_batch_shrink samples


@dataclasses.dataclass(kw_only=True, slots=True)
class OptimizerConfig:
    """Adam of both networks, before the correction for lazy regularisation."""

    g_lr: float = 0.002
    d_lr: float = 0.002
    beta1: float = 0.0
    beta2: float = 0.99
    epsilon: float = 1e-8


@dataclasses.dataclass(kw_only=True, slots=True)
class TrainConfig:
    """Length of the run and what it writes. Time is images seen."""

    total_kimg: float = 25000.0
    batch_size: int = 32  # all replicas together
    tick_kimg: float = 4.0  # at least one batch
    ema_halflife_kimg: float = 10.0
    ema_rampup: float = 0.0  # half-life at most this part of the images seen; 0 = off
    checkpoint_ticks: int = 10
    keep_checkpoints: int = 3
    image_ticks: int = 10
    grid: tuple[int, int] = (8, 8)  # rows, columns of the sample grids
    metrics: tuple[str, ...] = ("pixel_frechet",)
    metric_ticks: int = 50  # also before the first and after the last tick
    metric_images: int = 10000  # generated images a metric looks at, at least 2


@dataclasses.dataclass(kw_only=True, slots=True)
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
        config_checks.check(self)
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
    file = pathlib.Path(path) / CONFIG_FILE
    if not file.is_file():
        raise ValueError(
            f"{path} holds no {CONFIG_FILE}: it must be a run's workdir or a model "
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
        config_checks.fail(where, "must be an object with fields", values)
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
