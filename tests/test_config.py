"""The configuration: defaults, checks, JSON and presets."""

import ast
import dataclasses
import importlib.util
import json
import pathlib

import pytest

from tfstylegan import config as config_lib
from tfstylegan import fmaps

CONFIGS = sorted((pathlib.Path(__file__).parents[1] / "configs").glob("*.py"))
NAN, INF = float("nan"), float("inf")


def changed(path, value):
    """The default configuration with one dotted field set."""
    config = config_lib.Config()
    *sections, name = path.split(".")
    node = config
    for section in sections:
        node = getattr(node, section)
    assert hasattr(node, name)
    setattr(node, name, value)
    return config


def leaves(node, where="config"):
    """(dotted path, value) of every field that is not a section."""
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{where}.{field.name}")
        else:
            yield f"{where}.{field.name}", value


def test_defaults_validate_and_return_the_config():
    config = config_lib.Config()
    assert config.validate() is config


def test_defaults_are_those_of_config_f():
    config = config_lib.Config()
    assert (config.generator.architecture, config.discriminator.architecture) == (
        "skip",
        "resnet",
    )
    for network in (config.generator, config.discriminator):
        assert (network.fmap_base, network.fmap_max) == (16384, 512)
        assert network.resample_kernel == (1, 3, 3, 1)
    assert config.generator.mapping_layers == 8
    assert config.generator.mapping_lr_mul == 0.01
    assert config.generator.w_avg_decay == 0.995
    assert config.generator.style_mixing_prob == 0.9
    assert (config.loss.r1_gamma, config.loss.r1_interval) == (10, 16)
    assert (config.loss.pl_weight, config.loss.pl_interval) == (2, 4)
    assert (config.loss.pl_decay, config.loss.pl_batch_shrink) == (0.01, 2)
    assert (config.optimizer.g_lr, config.optimizer.d_lr) == (0.002, 0.002)
    assert (config.optimizer.beta1, config.optimizer.beta2) == (0, 0.99)
    assert (config.train.batch_size, config.train.total_kimg) == (32, 25000)
    assert config.train.ema_halflife_kimg == 10


WRONG = [
    ("seed", -1),
    ("seed", 2**31),
    ("data.resolution", 0),
    ("data.resolution", 4),
    ("data.resolution", 33),
    ("data.resolution", 48),
    ("data.base_grid", (0, 4)),
    ("data.base_grid", (4, -4)),
    ("data.channels", 0),
    ("data.max_images", -1),
    ("data.cache_mib", -1),
    ("generator.architecture", "progressive"),
    ("generator.block", "stylegan2"),
    ("generator.styles", False),
    ("generator.noise", False),
    ("generator.const_input", False),
    ("generator.pixel_norm", True),
    ("generator.spectral_norm", True),
    ("generator.mapping_act", "relu"),
    ("generator.conditioning", "acgan"),
    ("generator.z_dim", 0),
    ("generator.w_dim", 0),
    ("generator.fmap_base", 0),
    ("generator.fmap_min", 0),
    ("generator.fmap_max", 0),
    ("generator.mapping_layers", -1),
    ("generator.mapping_lr_mul", 0.0),
    ("generator.mapping_lr_mul", NAN),
    ("generator.mapping_lr_mul", INF),
    ("generator.resample_kernel", (1,)),
    ("generator.resample_kernel", (1, -1)),
    ("generator.style_mixing_prob", -0.1),
    ("generator.style_mixing_prob", 1.1),
    ("generator.style_mixing_prob", NAN),
    ("generator.w_avg_decay", 1.5),
    ("generator.truncation_psi", NAN),
    ("generator.truncation_psi", -INF),
    ("generator.truncation_cutoff", -2),
    ("generator.conv_clamp", -2.0),
    ("generator.conv_clamp", NAN),
    ("discriminator.conv_clamp", INF),
    ("precision.dtype", "float64"),
    ("precision.dtype", "mixed_float16"),
    ("precision.num_fp16_res", 0),
    ("discriminator.architecture", ""),
    ("discriminator.block", "modulated"),
    ("discriminator.conditioning", "projection"),
    ("discriminator.conditioning", "progan"),
    ("discriminator.mapping_layers", -1),
    ("discriminator.fmap_base", 0),
    ("discriminator.fmap_min", 513),
    ("discriminator.fmap_max", 0),
    ("discriminator.resample_kernel", ()),
    ("discriminator.mbstd_group_size", -1),
    ("discriminator.mbstd_num_features", 0),
    ("discriminator.mbstd_num_features", 3),
    ("discriminator.mbstd_num_features", 1024),
    ("discriminator.freeze_layers", -1),
    ("discriminator.freeze_layers", 8),
    ("loss.r1_gamma", -1.0),
    ("loss.r1_gamma", NAN),
    ("loss.g_loss", "hinge"),
    ("loss.d_loss", "wgan"),
    ("loss.r1_interval", 0),
    ("loss.r2_gamma", -1.0),
    ("loss.gp_lambda", INF),
    ("loss.gp_target", 0.0),
    ("loss.gp_drift", -0.001),
    ("loss.pl_weight", -1.0),
    ("loss.pl_interval", 0),
    ("loss.pl_decay", 2.0),
    ("loss.pl_batch_shrink", 0),
    ("optimizer.g_lr", 0.0),
    ("optimizer.d_lr", -0.1),
    ("optimizer.beta1", 1.0),
    ("optimizer.beta2", -0.1),
    ("optimizer.epsilon", 0.0),
    ("train.total_kimg", 0.0),
    ("train.total_kimg", 0.0004),
    ("train.total_kimg", INF),
    ("train.batch_size", 0),
    ("train.batch_size", 30),
    ("train.tick_kimg", -1.0),
    ("train.tick_kimg", 0.031),
    ("train.ema_halflife_kimg", 0.0),
    ("train.ema_rampup", -0.5),
    ("train.checkpoint_ticks", 0),
    ("train.keep_checkpoints", 0),
    ("train.image_ticks", 0),
    ("train.grid", (0, 8)),
    ("train.metric_ticks", 0),
    ("train.metric_images", 1),
    ("train.d_steps", 0),
    ("train.max_batch_per_device", -1),
    ("train.strategy", "gpus"),
    ("train.keep_best", -1),
    ("train.nonfinite", "ignore"),
    ("train.nonfinite_steps", 0),
    ("train.rollbacks", -1),
    ("train.profile_ticks", (3, 0)),
    ("growing.initial_resolution", 2),
    ("growing.initial_resolution", 48),
    ("growing.initial_resolution", 64),
    ("growing.train_kimg", -1.0),
    ("growing.fade_kimg", INF),
    ("growing.minibatch_repeats", 0),
    ("growing.batch_size", ((8, 256), (8, 128))),
    ("growing.batch_size", ((12, 256),)),
    ("growing.batch_size", ((0, 256),)),
    ("growing.batch_size", ((8, 0),)),
    ("growing.batch_size", ((32, 30),)),
    ("growing.max_batch_per_device", ((8, 0),)),
    ("growing.lr", ((1024, 0.0),)),
    ("growing.lr", ((1024, INF),)),
    ("growing.tick_kimg", ((32, 0.03),)),
    ("augment.mode", "on"),
    ("augment.preset", "bcg"),
    ("augment.p", -0.1),
    ("augment.p", NAN),
    ("augment.target", 1.0),
    ("augment.target", NAN),
    ("augment.kimg", 0.0),
    ("augment.interval", 0),
]


@pytest.mark.parametrize("path, value", WRONG)
def test_wrong_values_are_named(path, value):
    with pytest.raises(ValueError) as error:
        changed(path, value).validate()
    message = str(error.value)
    # fmap_min above fmap_max is told as a fmap_max that is too small.
    if path.endswith("fmap_min") and value > 1:
        path = path.replace("fmap_min", "fmap_max")
        value = 512
    assert f"config.{path} must" in message
    assert f"got {value!r}" in message


def test_every_checked_number_has_a_wrong_value_here():
    """A new number without a check, or without a test of it, fails here."""
    numbers = {
        path.removeprefix("config.")
        for path, value in leaves(config_lib.Config())
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    assert numbers - {path for path, _ in WRONG} == set()


@pytest.mark.parametrize(
    "path, value",
    [(path.removeprefix("config."), v) for path, v in leaves(config_lib.Config())],
)
def test_wrong_types_are_named(path, value):
    with pytest.raises(ValueError, match=f"config.{path} must be"):
        changed(path, 7 if isinstance(value, str) else "seven").validate()
    with pytest.raises(ValueError, match=f"config.{path} must be"):
        changed(path, None).validate()


@pytest.mark.parametrize("path", ["data.channels", "train.batch_size", "seed"])
def test_a_bool_is_not_a_number(path):
    with pytest.raises(ValueError, match=f"config.{path} must be int; got True"):
        changed(path, True).validate()


def test_a_number_is_not_a_bool_and_a_float_is_not_an_int():
    with pytest.raises(ValueError, match="config.data.mirror must be bool; got 1"):
        changed("data.mirror", 1).validate()
    with pytest.raises(ValueError, match="config.train.batch_size must be int"):
        changed("train.batch_size", 32.0).validate()
    with pytest.raises(ValueError, match="config.loss.r1_gamma must be float"):
        changed("loss.r1_gamma", True).validate()
    changed("train.total_kimg", 100).validate()


def test_tuples_keep_their_length_and_item_type():
    for value in ((4,), (4, 4, 4), (4.0, 4), (True, 4), [4, 4]):
        with pytest.raises(ValueError, match="config.data.base_grid"):
            changed("data.base_grid", value).validate()
    changed("generator.resample_kernel", (1, 2, 1)).validate()


def test_tables_hold_pairs_of_their_types():
    for value in (((8, 256.0),), ((8,),), (8, 256), ((8.0, 256),), ([8, 256],)):
        with pytest.raises(ValueError, match="config.growing.batch_size must be tuple"):
            changed("growing.batch_size", value).validate()
    changed("growing.lr", ((128, 1), (4096, 0.003))).validate()


@pytest.mark.parametrize("preset", ["color", "bgc", "bgcfnc"])
def test_colours_are_augmented_where_there_are_colours(preset):
    config = changed("data.channels", 2)
    config.augment.preset = preset
    config.validate()
    config.augment.mode = "fixed"
    match = f"augment.preset must not change colours .* 2; got {preset!r}"
    with pytest.raises(ValueError, match=match):
        config.validate()
    config.augment.preset = "cutout"
    config.validate()


def stylegan_config():
    config = config_lib.Config()
    config.generator.block, config.discriminator.block = "adain", "stylegan"
    for network in (config.generator, config.discriminator):
        network.architecture, network.resample_kernel = "growing", (1, 2, 1)
    return config


@pytest.mark.parametrize("where", ["generator", "discriminator"])
def test_blocks_of_stylegan_are_for_growing_networks(where):
    config = stylegan_config()
    getattr(config, where).architecture = "skip"
    match = (
        f"{where}.architecture must be 'growing' with {where}.block '.*'; got 'skip'"
    )
    with pytest.raises(ValueError, match=match):
        config.validate()


@pytest.mark.parametrize("where", ["generator", "discriminator"])
def test_blur_of_stylegan_has_an_odd_number_of_taps(where):
    config = stylegan_config().validate()
    for taps in ((1,), (1, 4, 6, 4, 1)):
        getattr(config, where).resample_kernel = taps
        config.validate()
    for taps in ((1, 3, 3, 1), (1, -2, 1), ()):
        getattr(config, where).resample_kernel = taps
        with pytest.raises(ValueError, match=f"{where}.resample_kernel must .* odd"):
            config.validate()


def test_switches_of_adain_make_every_row_of_table_1():
    config = stylegan_config()
    switches = ("noise", "const_input", "styles", "pixel_norm")
    for name, value in zip(switches, (False, False, False, True), strict=True):
        setattr(config.generator, name, value)
        config.validate()
    config.generator.const_input = True
    with pytest.raises(ValueError, match="const_input must be False without gen"):
        config.validate()


def growing_config():
    """Batches and rates of StyleGAN at 1024x1024 on 8 GPUs."""
    config = changed("data.resolution", 1024)
    config.generator.architecture = config.discriminator.architecture = "growing"
    config.growing.initial_resolution = 8
    config.growing.batch_size = ((4, 512), (8, 256), (16, 128), (32, 64), (64, 32))
    config.growing.lr = ((128, 0.0015), (256, 0.002), (512, 0.003), (1024, 0.003))
    config.growing.tick_kimg = ((8, 140.0), (1024, 20.0))
    config.optimizer.g_lr, config.optimizer.d_lr = 0.001, 0.0005
    return config


def test_oracle_values_at_each_resolution():
    config = growing_config().validate()
    assert config.resolutions == [8, 16, 32, 64, 128, 256, 512, 1024]
    now = {r: config.at_resolution(r) for r in config.resolutions}
    batches = [now[r].batch_size for r in config.resolutions]
    assert batches == [256, 128, 64, 32, 32, 32, 32, 32]
    assert [now[r].g_lr for r in (8, 64, 128, 256, 512)] == [
        *(0.001, 0.001, 0.0015, 0.002, 0.003)
    ]
    assert [now[r].d_lr for r in (8, 1024)] == [0.0005, 0.003]
    assert [now[r].tick_kimg for r in (8, 16, 1024)] == [140, 4, 20]
    assert config_lib.from_json(config.to_json()) == config
    config.growing.initial_resolution = 0
    assert config.validate().resolutions == [1024]


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("generator.architecture", "skip", "generator.architecture must be 'growing'"),
        ("discriminator.architecture", "orig", "discriminator.architecture must be"),
        ("growing.batch_size", ((16, 6),), "growing.batch_size .* 4 .resolution 16.;"),
        ("train.batch_size", 30, r"train.batch_size .* 4 \(resolution 128\); got 30"),
        ("loss.pl_batch_shrink", 3, "growing.batch_size .* = 3 .resolution 8."),
        ("growing.tick_kimg", ((16, 0.1),), "tick_kimg .* 0.128 .resolution 16."),
        ("train.tick_kimg", 0.1, "train.tick_kimg .* 0.128 .resolution 16.; got 0.1"),
    ],
)
def test_what_cannot_work_at_some_resolution_is_told(path, value, message):
    config = growing_config()
    section, name = path.split(".")
    setattr(getattr(config, section), name, value)
    with pytest.raises(ValueError, match=message):
        config.validate()


def test_a_resolution_needs_some_time():
    config = changed("growing.train_kimg", 0.0).validate()
    config.growing.fade_kimg = 0.0
    with pytest.raises(
        ValueError, match="growing.fade_kimg must be at least .*got 0.0"
    ):
        config.validate()
    config.growing.train_kimg = 1.0
    config.validate()


@pytest.mark.parametrize(
    "name, psi, cutoff",
    [
        ("stylegan1_f", 0.7, 8),
        ("stylegan2_a", 0.7, 8),
        ("stylegan1_b", 1.0, 8),
        ("stylegan2_b", 0.5, None),
        ("stylegan2_f", 0.5, None),
        ("digits32", 1.0, None),
    ],
)
def test_oracle_truncation_of_finished_models(name, psi, cutoff):
    generator = config_lib.preset(name).generator
    assert generator.truncation() == (psi, cutoff)
    assert generator.truncation(psi=0.0) == (0.0, cutoff)
    assert generator.truncation(cutoff=0) == (psi, 0)
    assert generator.truncation(cutoff=-1) == (psi, None)


def test_mapping_layers_zero_needs_equal_widths():
    config = changed("generator.mapping_layers", 0)
    config.validate()
    config.generator.w_dim = 256
    with pytest.raises(ValueError, match="w_dim must equal z_dim = 512 .*got 256"):
        config.validate()


def test_mapping_layers_zero_is_for_networks_without_labels():
    config = changed("generator.mapping_layers", 0)
    config.data.labels = True
    for conditioning in ("stylegan2", "ada"):
        config.generator.conditioning = conditioning
        match = "generator.mapping_layers must be at least 1 with data.labels that"
        with pytest.raises(ValueError, match=match):
            config.validate()
    config.generator.conditioning = "progan"
    config.validate()
    config.generator.mapping_layers = 1
    config.discriminator.mapping_layers = 0  # a label's embedding needs none
    config.validate()


def test_stddev_features_divide_the_coarsest_maps():
    config = changed("discriminator.fmap_base", 41)  # 20 maps at the base grid
    for number in (1, 2, 4, 5, 10, 20):
        config.discriminator.mbstd_num_features = number
        config.validate()
    for number in (3, 6, 40, 41):
        config.discriminator.mbstd_num_features = number
        match = f"mbstd_num_features must divide the 20 feature maps .*; got {number}$"
        with pytest.raises(ValueError, match=match):
            config.validate()
    config.discriminator.fmap_max = 18
    config.discriminator.mbstd_num_features = 6
    config.validate()
    config.discriminator.fmap_base, config.discriminator.fmap_min = 1, 12
    config.validate()
    config.discriminator.mbstd_num_features = 7
    config.discriminator.mbstd_group_size = 0  # switched off: nothing to divide
    config.validate()


def test_a_tick_holds_a_batch():
    config = changed("train.tick_kimg", 0.032)
    config.validate()
    config.train.batch_size = 64
    with pytest.raises(ValueError, match="tick_kimg .*batch_size / 1000 = 0.064; got"):
        config.validate()
    config.train.tick_kimg = 0.064
    config.validate()
    config.train.total_kimg = 0.001  # less than a batch: one step
    config.validate()


def test_oracle_feature_maps_of_a_level():
    """Config F at 4x4 to 1024x1024, config E, and a base that is no power of two."""
    rows = [
        ((16384, 1, 512), [512, 512, 512, 512, 512, 256, 128, 64, 32]),
        ((8192, 1, 512), [512, 512, 512, 512, 256, 128, 64, 32, 16]),
        ((100, 7, 40), [40, 25, 12, 7, 7]),
        ((1, 1, 512), [1, 1]),
    ]
    for (fmap_base, fmap_min, fmap_max), expected in rows:
        limits = {"fmap_base": fmap_base, "fmap_min": fmap_min, "fmap_max": fmap_max}
        widths = [fmaps.at_level(i, **limits) for i in range(len(expected))]
        assert widths == expected


def test_batch_size_fits_the_stddev_groups_and_the_path_length_batch():
    config = changed("train.batch_size", 6)
    with pytest.raises(ValueError, match="batch_size .*mbstd_group_size = 4; got 6"):
        config.validate()
    config.discriminator.mbstd_group_size = 0
    config.validate()
    config.train.batch_size = 5
    with pytest.raises(ValueError, match="batch_size .*pl_batch_shrink = 2; got 5"):
        config.validate()
    config.loss.pl_weight = 0.0
    config.validate()
    changed("train.batch_size", 2).validate()  # smaller than a group: one group


@pytest.mark.parametrize(
    "grid, resolution, doublings, size",
    [
        ((4, 4), 32, 3, (32, 32)),
        ((4, 6), 32, 3, (32, 48)),
        ((3, 5), 24, 3, (24, 40)),
        ((6, 8), 384, 6, (384, 512)),
        ((4, 4), 1024, 8, (1024, 1024)),
        ((5, 1), 10, 1, (10, 2)),
    ],
)
def test_image_size_doubles_the_base_grid(grid, resolution, doublings, size):
    config = changed("data.base_grid", grid)
    config.data.resolution = resolution
    config.validate()
    assert config.data.doublings == doublings
    assert config.data.image_size == size


def test_json_round_trip_keeps_every_field():
    config = config_lib.Config()
    values = {
        "seed": 7,
        "data.base_grid": (4, 6),
        "data.labels": True,
        "generator.resample_kernel": (1, 2, 1),
        "train.metrics": (),
        "train.total_kimg": 12.5,
        "loss.r1_gamma": 0.1,
    }
    for path, value in values.items():
        node, _, name = path.rpartition(".")
        setattr(getattr(config, node) if node else config, name, value)
    again = config_lib.from_json(config.to_json())
    assert again == config
    assert again != config_lib.Config()
    assert dict(leaves(again)) == dict(leaves(config))


def test_json_of_versions_without_precision_is_read():
    old = json.loads(config_lib.Config(seed=7).to_json())
    del old["precision"], old["generator"]["conv_clamp"]
    del old["discriminator"]["conv_clamp"]
    assert config_lib.from_json(json.dumps(old)) == config_lib.Config(seed=7)


def test_clamp_comes_with_16_bits_unless_told_otherwise():
    config = config_lib.Config()
    g, d = config.generator, config.discriminator
    assert config.half_dtype is config.conv_clamp(g) is config.conv_clamp(d) is None
    config.precision.dtype = "float16"
    assert config.half_dtype == "float16"
    assert config.conv_clamp(g) == config.conv_clamp(d) == 256
    g.conv_clamp, d.conv_clamp = 0.0, 12.5
    assert config.conv_clamp(g) is None and config.conv_clamp(d) == 12.5
    config.precision.dtype = "float32"
    assert config.conv_clamp(d) == 12.5


def test_xla_and_augmentation_exclude_each_other():
    config = config_lib.Config()
    config.precision.xla = True
    config.validate()
    config.augment.mode = "adaptive"
    with pytest.raises(ValueError, match="config.precision.xla must be False.*True"):
        config.validate()


def test_json_with_an_unknown_field_names_the_nearest():
    with pytest.raises(ValueError, match="config has no field 'trian'.*'train'"):
        config_lib.from_json('{"trian": {}}')
    with pytest.raises(ValueError, match="config.loss has no field 'gamma'.*r1_gamma"):
        config_lib.from_json('{"loss": {"gamma": 1.0}}')
    with pytest.raises(ValueError, match="config.data has no field 'zzzz'; it has"):
        config_lib.from_json('{"data": {"zzzz": 1}}')


@pytest.mark.parametrize("text", ['{"data": 3}', '{"data": null}', "[]", "3"])
def test_json_of_another_shape_is_a_value_error(text):
    with pytest.raises(ValueError, match="config"):
        config_lib.from_json(text)


def test_a_section_of_another_type_is_named():
    config = config_lib.Config()
    config.loss = {"r1_gamma": 1.0}
    with pytest.raises(ValueError, match="config.loss must be LossConfig"):
        config.validate()


def test_json_with_a_wrong_value_names_it():
    with pytest.raises(ValueError, match="config.train.batch_size must be int"):
        config_lib.from_json('{"train": {"batch_size": "many"}}')
    with pytest.raises(ValueError):
        config_lib.from_json("{broken")


@pytest.mark.parametrize(
    "path, hint",
    [
        ("trian.batch_size", "config has no field 'trian'; did you mean 'train'?"),
        (
            "train.batchsize",
            "config.train has no field 'batchsize'; did you mean 'batch_size'?",
        ),
        (
            "profile_ticks",
            "config has no field 'profile_ticks'; did you mean 'train.profile_ticks'?",
        ),
        (
            "data.batch_size",
            "config.data has no field 'batch_size'; did you mean 'train.batch_size' or "
            "'growing.batch_size'?",
        ),
        ("seed.x", "config.seed has no field 'x'; it has []"),
        ("train.batch_size", None),
        ("train", None),
    ],
)
def test_unknown_field_names_the_nearest(path, hint):
    assert config_lib.unknown_field(path) == hint


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_presets_validate_and_say_what_they_are(file):
    docstring = ast.get_docstring(ast.parse(file.read_text()))
    assert docstring and len(docstring.splitlines()) >= 3
    assert f"--config=configs/{file.name}" in docstring
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config()
    assert config.validate() is config
    assert config_lib.from_json(config.to_json()) == config
    assert module.get_config() is not config


def test_preset_path_finds_presets_only():
    assert {file.stem for file in CONFIGS} >= {"digits32", "yardstick32", "yardstick64"}
    for file in CONFIGS:
        assert config_lib.preset_path(file.stem).samefile(file)
    assert config_lib.preset_path("no_such_preset") is None


def test_misspelt_field_in_a_configuration_file_is_an_error():
    config = config_lib.Config()
    with pytest.raises(AttributeError, match="batchsize"):
        config.train.batchsize = 3


def test_the_best_is_not_chosen_by_what_does_not_rank():
    config = config_lib.Config()
    config.train.metrics = ("resolution_usage64", "pixel_frechet")
    config.validate()
    config.train.keep_best = 1
    with pytest.raises(ValueError, match="config.train.keep_best must be 0 where .* 1"):
        config.validate()
    config.train.metrics = ("pixel_frechet", "resolution_usage64")
    config.validate()
