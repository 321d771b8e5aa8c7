"""The whole configuration: every field with its default and unit.

Plain dataclasses without TensorFlow, so that a wrong configuration is told at once;
`config_checks` holds what the values must fulfil. The defaults are those of StyleGAN2
config F unless a preset in `configs/` says otherwise.
"""

import dataclasses
import difflib
import json
import pathlib
import runpy
import typing

from tfstylegan import config_checks

CONV_CLAMP = 256.0  # in 16 bits, unless a configuration says otherwise
# A run's workdir: its Config, which data it learns from, the folder of checkpoints.
CONFIG_FILE = "config.json"
DATA_FILE = "data.json"
CHECKPOINTS = "checkpoints"


@dataclasses.dataclass(kw_only=True, slots=True)
class DataConfig:
    """What the networks learn from."""

    source: str = "digits"  # "digits", a path or KIND:PATH; see README.md
    resolution: int = 32  # image height in pixels
    base_grid: tuple[int, int] = (4, 4)  # height, width; doubled up to `resolution`
    channels: int = 3
    labels: bool = False  # train a class-conditional network
    mirror: bool = False  # flip half of the images left to right
    skip_corrupt: bool = False  # name and leave out unreadable images
    max_images: int = 0  # the first ones only; 0 = all
    cache_mib: int = 1024  # all images stay in memory, or none: then decoded on demand

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

    architecture: str = "skip"  # orig, skip, resnet or growing
    # modulated (StyleGAN2), normalized (its figure 2c) or adain (StyleGAN), which goes
    # with architecture growing; the five switches below are options of adain.
    block: str = "modulated"
    styles: bool = True  # False: no style and no instance normalisation
    noise: bool = True
    const_input: bool = True  # False: a dense layer of w makes the first features
    pixel_norm: bool = False  # normalise each pixel after every activation
    spectral_norm: bool = False  # of convolutions; demodulation would undo it
    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8  # 0: w is the normalised z; labels then need "progan"
    mapping_act: str = "lrelu"  # lrelu or linear
    mapping_lr_mul: float = 0.01
    # How labels enter: embedded ("stylegan2", "ada"), or as they are ("progan"), where
    # without mapping layers w is as much wider than w_dim as there are labels.
    conditioning: str = "stylegan2"
    fmap_base: int = 16384  # feature maps at 2^r: fmap_base / 2^(r-1), within
    fmap_min: int = 1
    fmap_max: int = 512
    # FIR taps; of block adain the blur after up-convolutions: (1, 2, 1), or (1,)
    resample_kernel: tuple[int, ...] = (1, 3, 3, 1)
    # Limit of activations and images of levels; 0 = none, -1 = 256 where
    # precision.dtype has 16 bits, else none
    conv_clamp: float = -1.0
    style_mixing_prob: float = 0.9
    w_avg_decay: float = 0.995
    # Of finished models, unless a command is told otherwise; training and metrics have
    # no truncation.
    truncation_psi: float = 1.0
    truncation_cutoff: int = -1  # the first layers that it holds for; -1 = all

    def truncation(self, psi=None, cutoff=None):
        """(psi, cutoff) for the generator's call: for None the model's own, -1 is all.

        >>> GeneratorConfig(truncation_psi=0.7, truncation_cutoff=8).truncation(psi=0.5)
        (0.5, 8)
        """
        psi = self.truncation_psi if psi is None else psi
        cutoff = self.truncation_cutoff if cutoff is None else cutoff
        return psi, None if cutoff < 0 else cutoff


@dataclasses.dataclass(kw_only=True, slots=True)
class DiscriminatorConfig:
    """Discriminator network."""

    architecture: str = "resnet"  # orig, skip, resnet or growing
    block: str = "stylegan2"  # or "stylegan", which goes with architecture growing
    conditioning: str = "stylegan2"  # how labels enter: "stylegan2" or "ada"
    mapping_layers: int = 8  # of the label embedding, conditioning "ada" only
    fmap_base: int = 16384
    fmap_min: int = 1
    fmap_max: int = 512
    # FIR taps; of block stylegan the blur before down-convolutions: (1, 2, 1), or (1,)
    resample_kernel: tuple[int, ...] = (1, 3, 3, 1)
    mbstd_group_size: int = 4  # samples a minibatch-stddev group; 0 switches it off
    mbstd_num_features: int = 1  # divides the maps of the coarsest level
    spectral_norm: bool = False  # of every kernel but those that project labels
    conv_clamp: float = -1.0  # limit of activations; as of the generator
    # From the image on, that do not train: from_rgb, then two a level (Freeze-D).
    freeze_layers: int = 0


@dataclasses.dataclass(kw_only=True, slots=True)
class LossConfig:
    """Adversarial losses and regularisers; a weight of 0 switches one off."""

    g_loss: str = "nonsaturating"  # nonsaturating, saturating or wasserstein
    d_loss: str = "logistic"  # logistic, wasserstein or hinge
    lazy: bool = True  # regularise at intervals, Adam corrected; False: in every step
    r1_gamma: float = 10.0  # penalty is gamma/2 |grad|^2 at real images
    r1_interval: int = 16  # of all regularisers of D, in training steps
    r2_gamma: float = 0.0  # as r1_gamma, at generated images
    gp_lambda: float = 0.0  # penalty is lambda (|grad| / target - 1)^2 in between
    gp_target: float = 1.0
    gp_drift: float = 0.0  # adds drift * logit^2 of real images
    pl_weight: float = 2.0  # path length regulariser
    pl_interval: int = 4  # in training steps of G
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
    batch_size: int = 32  # all devices together
    # Samples that a device has at once; a larger share is worked off in rounds, of
    # which it applies the summed gradients. 0 = its whole share.
    max_batch_per_device: int = 0
    # mirrored: all GPUs of this machine, or its CPU; multi_worker: several machines,
    # as the environment variable TF_CONFIG says; tpu; auto: mirrored, or multi_worker
    # where TF_CONFIG names several.
    strategy: str = "auto"
    tick_kimg: float = 4.0  # at least one batch
    ema_halflife_kimg: float = 10.0
    ema_rampup: float = 0.0  # half-life at most this part of the images seen; 0 = off
    d_first: bool = False  # within a step D before G (StyleGAN 1), not G before D
    d_steps: int = 1  # steps of D for one of G
    checkpoint_ticks: int = 10
    keep_checkpoints: int = 3
    image_ticks: int = 10
    grid: tuple[int, int] = (8, 8)  # rows, columns of the sample grids
    metrics: tuple[str, ...] = ("pixel_frechet",)  # see `metric_names`
    metric_ticks: int = 50  # also before the first and after the last tick
    metric_images: int = 10000  # generated images a metric looks at, at least 2
    detector_dir: str = ""  # the files of published metrics' networks
    keep_best: int = 0  # models that are best by the first metric, in best/
    # Gradients that are not finite: skip the step, zero them, or stop the run.
    nonfinite: str = "skip"
    # Of one phase in a row, with gradients or losses that are not finite; then the run
    # stops, or goes back to its last checkpoint, `rollbacks` times.
    nonfinite_steps: int = 10
    rollbacks: int = 0
    profile_ticks: tuple[int, ...] = ()  # traced for TensorBoard; numbered from 1


@dataclasses.dataclass(kw_only=True, slots=True)
class GrowingConfig:
    """Progressive growing, and what depends on the resolution that is trained.

    A table holds (resolution, value) pairs; other resolutions have the value of the
    field that it overrides.
    """

    initial_resolution: int = 0  # image height at the start; 0 = nothing grows
    train_kimg: float = 600.0  # at each resolution, before the next one is faded in
    fade_kimg: float = 600.0  # of each fading
    minibatch_repeats: int = 4  # training steps between updates of the schedule
    batch_size: tuple[tuple[int, int], ...] = ()  # overrides train.batch_size
    # Overrides train.max_batch_per_device.
    max_batch_per_device: tuple[tuple[int, int], ...] = ()
    lr: tuple[tuple[int, float], ...] = ()  # overrides optimizer.g_lr and d_lr
    tick_kimg: tuple[tuple[int, float], ...] = ()  # overrides train.tick_kimg


@dataclasses.dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """Augmentation of everything that D sees (Karras et al. 2020)."""

    mode: str = "none"  # none; fixed: always p; adaptive: p follows D's overfitting
    # blit, geom, color, filter, noise, cutout; or several: bg, bgc, ..., bgcfnc
    preset: str = "bgc"
    p: float = 0.0  # probability of each transformation; where adaptive, at the start
    target: float = 0.6  # of the mean sign of D's logits of real images
    kimg: float = 500.0  # in which p moves by 1; 100 with resume_from
    interval: int = 4  # training steps between moves of p


@dataclasses.dataclass(kw_only=True, slots=True)
class PrecisionConfig:
    """Numbers that networks compute with. Parameters are float32 throughout."""

    # float32; or bfloat16 or float16 (with loss scaling) at the highest resolutions
    dtype: str = "float32"
    num_fp16_res: int = 4  # how many resolutions that are, the base grid apart
    tf32: bool = True  # GPUs may round factors of float32 products to 10 bits
    xla: bool = False  # compile the training steps with XLA, which needs one device


@dataclasses.dataclass(kw_only=True, frozen=True, slots=True)
class AtResolution:
    """What a run does while it trains at one resolution."""

    batch_size: int
    max_batch_per_device: int
    g_lr: float
    d_lr: float
    tick_kimg: float


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """A complete training run."""

    seed: int = 1000
    resume_from: str = ""  # a new run starts with the networks of this run or model
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    generator: GeneratorConfig = dataclasses.field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(
        default_factory=DiscriminatorConfig
    )
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    growing: GrowingConfig = dataclasses.field(default_factory=GrowingConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    precision: PrecisionConfig = dataclasses.field(default_factory=PrecisionConfig)

    @property
    def resolutions(self):
        """Image heights that are trained, in order; one where nothing grows."""
        full = self.data.resolution
        first = self.growing.initial_resolution or full
        steps = (full // first).bit_length()
        return [full >> lod for lod in reversed(range(steps))]

    @property
    def half_dtype(self):
        """The 16-bit type of the highest resolutions; None where all is float32."""
        dtype = self.precision.dtype
        return None if dtype == "float32" else dtype

    def conv_clamp(self, network):
        """Limit of activations of a network's section; None where there is none."""
        if network.conv_clamp < 0:
            return CONV_CLAMP if self.half_dtype else None
        return network.conv_clamp or None

    def at_resolution(self, resolution):
        """What holds while images of this height are trained."""
        growing, optimizer = self.growing, self.optimizer
        lr, most = dict(growing.lr), dict(growing.max_batch_per_device)
        return AtResolution(
            batch_size=dict(growing.batch_size).get(resolution, self.train.batch_size),
            max_batch_per_device=most.get(resolution, self.train.max_batch_per_device),
            g_lr=lr.get(resolution, optimizer.g_lr),
            d_lr=lr.get(resolution, optimizer.d_lr),
            tick_kimg=dict(growing.tick_kimg).get(resolution, self.train.tick_kimg),
        )

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


def preset(name):
    """A new configuration of the preset `configs/<name>.py`, to be changed at will."""
    path = preset_path(name)
    if path is None:
        raise ValueError(f"there is no preset configs/{name}.py")
    return runpy.run_path(str(path))["get_config"]()


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
            near = _nearest(name, names)
            near = repr(near) if near else _elsewhere(name)
            hint = f"did you mean {near}?" if near else f"it has {names}"
            return f"{where} has no field {name!r}; {hint}"
        where = f"{where}.{name}"
        cls = typing.get_type_hints(cls)[name]
        if not dataclasses.is_dataclass(cls):
            cls = _Leaf
    return None


def _nearest(name, names):
    """The most similar of the names, of equals the first; None where none is near."""
    ratios = [difflib.SequenceMatcher(None, other, name).ratio() for other in names]
    best = max(ratios, default=0)
    return names[ratios.index(best)] if best >= 0.5 else None


def _elsewhere(name):
    """The sections' fields of this name, "" without: 'train.batch_size' or ..."""
    types = typing.get_type_hints(Config)
    sections = {key: t for key, t in types.items() if dataclasses.is_dataclass(t)}
    return " or ".join(
        repr(f"{section}.{name}")
        for section, cls in sections.items()
        if name in [f.name for f in dataclasses.fields(cls)]
    )


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
        kwargs[name] = _tupled(value)
    return cls(**kwargs)


def _tupled(value):
    """JSON has lists where the configuration has tuples."""
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
