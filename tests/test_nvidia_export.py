"""Our networks under published names: the right ones, and the way there and back."""

import itertools
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from conftest import DATA, load_golden
from test_commands import ROOT, contents, fails, run
from test_networks_golden import networks_of

from tfstylegan import config as config_lib
from tfstylegan.interop import (
    arguments,
    naming,
    nvidia,
    nvidia_pickle,
    tensorflow_names,
)
from tfstylegan.networks import build, storage

ARCHITECTURES = ("orig", "skip", "resnet")
# Of each kind one; what differs from these in options alone is slow.
GROWING = [f"stylegan1_{row}" for row in "abcf"] + ["stylegan2_d"]
OPTIONS = [*"de", "mapping0", "mapping1", "traditional8"]
GROWING += [pytest.param(f"stylegan1_{o}", marks=pytest.mark.slow) for o in OPTIONS]


def small(preset, resolution=16, **fields):
    """A preset with tiny networks; fields as in generator__block="adain"."""
    config = config_lib.preset(preset)
    config.data.resolution = resolution
    for network in (config.generator, config.discriminator):
        network.fmap_base, network.fmap_max = 4 * resolution, 6
        network.mapping_layers = min(network.mapping_layers, 2)
    config.generator.z_dim = config.generator.w_dim = 5
    config.discriminator.mbstd_num_features = 2
    config.growing.initial_resolution = 0
    for field, value in fields.items():
        section, name = field.split("__")
        setattr(getattr(config, section), name, value)
    return config.validate()


def scrambled(config, labels=0, lod=None, seed=0):
    """Networks G_ema and D of a configuration, every variable a random number."""
    rng = np.random.default_rng(seed)
    networks = storage.Networks(
        G=None,
        D=build.build_discriminator(config, labels),
        G_ema=build.build_generator(config, labels),
        config=config,
    )
    for network in (networks.G_ema, networks.D):
        for variable in network.weights:
            value = rng.normal(size=variable.shape).astype(np.float32)
            if variable.path.endswith("conv/affine/bias"):
                value += np.float32(1)  # what TensorFlow's layout can hold
            variable.assign(value)
        if network.stage is not None:
            network.grow(1.25 if lod is None else lod)
    return networks


def checkpoint_of(networks, layout, parts=False):
    """What a reader gives of a file with the exported networks.

    With `parts` those of TensorFlow are split into components, as in a real file.
    """
    records = {}
    for name, state in nvidia.export_state(networks, layout).items():
        kind, version, given = nvidia.export_arguments(networks, layout, name)
        components = {}
        for part, prefix in tensorflow_names.PREFIXES.items() if parts else ():
            inside = {k[len(prefix) :]: v for k, v in state.items() if prefix in k}
            state = {k: v for k, v in state.items() if prefix not in k}
            if inside:
                components[part] = nvidia_pickle.NetworkRecord(
                    f"G_{part}", version, {}, {}, inside, {}
                )
        given = json.loads(json.dumps(given))  # as data, not as our objects
        records[name] = nvidia_pickle.NetworkRecord(
            kind, version, given, components, state, {}
        )
    return nvidia_pickle.Checkpoint(layout, records)


def assert_same_networks(found, expected):
    """The same variables, bit for bit, and the same mathematics around them."""
    for name in ("G_ema", "D"):
        a, b = getattr(found, name), getattr(expected, name)
        assert [v.path for v in a.weights] == [v.path for v in b.weights]
        for one, other in zip(a.weights, b.weights, strict=True):
            one, other = one.numpy(), other.numpy()
            assert one.dtype == other.dtype == np.float32
            assert one.tobytes() == other.tobytes(), name
    mapping = expected.G_ema.mapping
    z = np.random.default_rng(3).normal(size=[4, mapping.z_dim]).astype(np.float32)
    labels = np.eye(4, mapping.label_dim, dtype=np.float32)
    labels = labels if mapping.label_dim else None
    images = expected.G_ema(z, labels, noise_mode="const", truncation_psi=0.5)
    again = found.G_ema(z, labels, noise_mode="const", truncation_psi=0.5)
    assert np.array_equal(images, again)
    labels = labels if expected.D.label_dim else None
    assert np.array_equal(expected.D(images, labels), found.D(images, labels))


def assert_round_trip(networks, layout, parts=False):
    """Export -> import -> export changes no bit; returns what was imported."""
    checkpoint = checkpoint_of(networks, layout, parts)
    found, notes = nvidia.convert(checkpoint, ["G_ema", "D"])
    assert not notes
    assert_same_networks(found, networks)
    again = checkpoint_of(found, layout, parts)
    for name in ("G_ema", "D"):
        record = checkpoint.networks[name]
        if layout == "torch" or networks.config.generator.conditioning != "ada":
            assert again.networks[name].arguments == record.arguments
        arrays = tensorflow_names.collected(again.networks[name])
        for key, array in tensorflow_names.collected(record).items():
            assert np.array_equal(arrays.pop(key), array), key
        assert not arrays
    return found


def shapes(state):
    return {name: list(array.shape) for name, array in state.items()}


@pytest.mark.parametrize("preset", GROWING)
def test_nvidia_export_round_trip_of_growing_networks(preset):
    parts = preset in ("stylegan1_f", "stylegan2_d")  # as in a real file
    networks = scrambled(small(preset))
    found = assert_round_trip(networks, "tensorflow", parts)
    assert found.G_ema.stage == found.D.stage == networks.D.stage
    expected, given = networks.config.generator, found.config.generator
    assert given.truncation() == expected.truncation() or preset == "stylegan1_a"


@pytest.mark.parametrize("layout", nvidia.LAYOUTS)
@pytest.mark.parametrize("kind", range(3))
def test_nvidia_export_round_trip_of_stylegan2(layout, kind):
    # Each architecture of G with each of D in three tests: the two are independent.
    pair = ARCHITECTURES[kind], ARCHITECTURES[kind - 1]
    config = small("stylegan2_f", discriminator__mbstd_group_size=kind)
    config.generator.architecture, config.discriminator.architecture = pair
    assert_round_trip(scrambled(config), layout)


@pytest.mark.slow
@pytest.mark.parametrize("layout", nvidia.LAYOUTS)
@pytest.mark.parametrize("pair", list(itertools.product(ARCHITECTURES, repeat=2)))
def test_nvidia_export_round_trip_of_all_pairs(layout, pair):
    config = small("stylegan2_e")
    config.generator.architecture, config.discriminator.architecture = pair
    assert_round_trip(scrambled(config), layout)


@pytest.mark.parametrize(
    ("preset", "conditioning", "layout"),
    [
        ("stylegan1_f", "stylegan2", "tensorflow"),
        ("stylegan1_a", "progan", "tensorflow"),
        ("stylegan2_d", "stylegan2", "tensorflow"),
        ("stylegan2_f", "stylegan2", "tensorflow"),
        ("stylegan2_f", "ada", "tensorflow"),
        ("stylegan2_f", "ada", "torch"),
    ],
)
def test_nvidia_export_round_trip_of_conditional_networks(preset, conditioning, layout):
    config = small(preset, generator__conditioning=conditioning)
    if conditioning == "ada":
        config.discriminator.conditioning = conditioning
    networks = assert_round_trip(scrambled(config, labels=3), layout)
    assert networks.config.data.labels
    assert networks.G_ema.mapping.label_dim == networks.D.label_dim == 3


def test_nvidia_export_is_what_was_imported():
    for name, layout in (
        ("stylegan1_u64", "tensorflow"),
        ("ada_torch_u32_skip", "torch"),
    ):
        path = DATA / "pickles" / f"{name}.pkl"
        networks, _ = nvidia.import_checkpoint(path)
        for network, state in nvidia.export_state(networks, layout).items():
            record = nvidia_pickle.read(path).networks[network]
            expected = tensorflow_names.collected(record)
            assert state.keys() == expected.keys()
            for key, array in expected.items():
                assert np.array_equal(state[key], array), key
                assert state[key].shape == array.shape


@pytest.mark.parametrize("name", ["stylegan2_f_u32", "ada_tf_u32"])
def test_nvidia_export_loses_only_what_the_1_takes(name):
    path = DATA / "pickles" / f"{name}.pkl"
    networks, _ = nvidia.import_checkpoint(path)
    assert_round_trip(networks, "tensorflow")
    state = nvidia.export_state(networks, "tensorflow", ["G_ema"])["G_ema"]
    expected = tensorflow_names.collected(nvidia_pickle.read(path).networks["G_ema"])
    assert state.keys() == expected.keys()
    for key, array in expected.items():
        tolerance = 2**-23 if key.endswith("mod_bias") else 0
        assert np.max(np.abs(state[key] - array)) <= tolerance, key


# Names and shapes, against lists that are written or were recorded independently


@pytest.mark.parametrize("name", ["u32_resnet", "c64_skip"])
def test_nvidia_export_torch_state_dicts_are_complete(name):
    meta = load_golden("networks_stylegan2")["meta"]["cfgs"][name]
    g, d = networks_of(meta, meta["g_arch"], meta["d_arch"])
    config = small("stylegan2_f", meta["res"])
    for part, network in ((config.generator, g), (config.discriminator, d)):
        part.conditioning = "ada"
        part.fmap_base, part.fmap_max = 256, 64
        part.architecture = meta["g_arch"] if network is g else meta["d_arch"]
    networks = storage.Networks(G=g, D=d, G_ema=None, config=config)
    states = nvidia.export_state(networks, "torch")
    assert shapes(states["G"]) == meta["G_shapes"]
    assert shapes(states["D"]) == meta["D_shapes"]
    taps = load_golden("networks_stylegan2")[f"{name}/weights/D/b32.resample_filter"]
    for key, array in (states["G"] | states["D"]).items():
        if key.endswith("resample_filter"):
            assert np.array_equal(array, taps) and array.dtype == taps.dtype


def stylegan1_names(top, channels, w, labels=0, start="Const", noise=True, styles=True):
    """Shapes of StyleGAN's variables, {resolution: channels}, from its name table."""
    found = {"lod": [], "G_synthesis/lod": [], "dlatent_avg": [w]}

    def epilogue(name, number, r):
        found[f"{name}/bias"] = [channels[r]]
        if noise:
            found[f"{name}/Noise/weight"] = [channels[r]]
            found[f"G_synthesis/noise{number}"] = [1, 1, r, r]
        if styles:
            found[f"{name}/StyleMod/weight"] = [w, 2 * channels[r]]
            found[f"{name}/StyleMod/bias"] = [2 * channels[r]]

    first, key = f"G_synthesis/4x4/{start}", {"Const": "const", "Dense": "weight"}
    shape = [1, channels[4], 4, 4] if start == "Const" else [w, 16 * channels[4]]
    found[f"{first}/{key[start]}"] = shape
    epilogue(first, 0, 4)
    below = 4
    for k, r in enumerate(channels, start=2):
        for i, layer in enumerate(["Conv"] if r == 4 else ["Conv0_up", "Conv1"]):
            name = f"G_synthesis/{r}x{r}/{layer}"
            found[f"{name}/weight"] = [3, 3, channels[below], channels[r]]
            epilogue(name, 2 * k - 4 + i + (r == 4), r)
            below = r
        rgb = f"G_synthesis/ToRGB_lod{top - k}"
        found |= {f"{rgb}/weight": [1, 1, channels[r], 3], f"{rgb}/bias": [3]}
    for i in range(2 if styles else 0):
        width = 2 * w if labels and not i else w
        found[f"G_mapping/Dense{i}/weight"] = [width, w]
        found[f"G_mapping/Dense{i}/bias"] = [w]
    if labels:
        found["G_mapping/LabelConcat/weight"] = [labels, w]
    return found


@pytest.mark.parametrize(
    ("preset", "options"),
    [
        ("stylegan1_f", {"labels": 3}),
        ("stylegan1_d", {"noise": False}),
        ("stylegan1_c", {"noise": False, "start": "Dense"}),
        ("stylegan1_b", {"noise": False, "start": "Dense", "styles": False}),
    ],
)
def test_nvidia_export_names_of_stylegan(preset, options):
    networks = scrambled(small(preset, 32), options.get("labels", 0))
    states = nvidia.export_state(networks, "tensorflow")
    channels = {4: 6, 8: 6, 16: 6, 32: 6}
    channels = {r: min(6, 128 // (r // 2)) for r in channels}
    expected = stylegan1_names(5, channels, 5, **options)
    assert shapes(states["G_ema"]) == expected
    if preset == "stylegan1_f":
        golden = load_golden("networks_stylegan1")
        prefix = "sg1_u32_lod/vars/D/"
        names = {k[len(prefix) :] for k in golden if k.startswith(prefix)}
        assert states["D"].keys() == names
        assert states["D"]["4x4/Dense1/weight"].shape == (6, 3)
        assert states["D"]["lod"] == states["G_ema"]["lod"] == 1.25


def stylegan2_names(kind, top, channels, w):
    """Shapes of StyleGAN2's G in TensorFlow, {resolution: channels}."""
    found = {"lod": [], "dlatent_avg": [w], "G_synthesis/4x4/Const/const": [1, 6, 4, 4]}

    def modulated(name, k, fan_in, fan_out):
        found[f"{name}/weight"] = [k, k, fan_in, fan_out]
        found[f"{name}/mod_weight"] = [w, fan_in]
        found[f"{name}/mod_bias"] = [fan_in]
        found[f"{name}/bias"] = [fan_out]

    below, number = 6, 0
    for k, (r, c) in enumerate(channels.items(), start=2):
        for layer in ["Conv"] if r == 4 else ["Conv0_up", "Conv1"]:
            name = f"G_synthesis/{r}x{r}/{layer}"
            if layer == "Conv0_up" and kind == "resnet":
                found[f"G_synthesis/{r}x{r}/Skip/weight"] = [1, 1, below, c]
            modulated(name, 3, below, c)
            found[f"{name}/noise_strength"] = []
            found[f"G_synthesis/noise{number}"] = [1, 1, r, r]
            below, number = c, number + 1
        if kind == "growing":
            modulated(f"G_synthesis/ToRGB_lod{top - k}", 1, c, 3)
        elif kind == "skip" or k == top:
            modulated(f"G_synthesis/{r}x{r}/ToRGB", 1, c, 3)
    for i in range(2):
        found[f"G_mapping/Dense{i}/weight"] = [w, w]
        found[f"G_mapping/Dense{i}/bias"] = [w]
    return found | ({"G_synthesis/lod": []} if kind == "growing" else {})


def stylegan2_d_names(kind, top, channels):
    """Shapes of StyleGAN2's D in TensorFlow, {resolution: channels}, two features."""
    found = {"lod": []} if kind == "growing" else {}

    def layer(name, shape):
        found[f"{name}/weight"], found[f"{name}/bias"] = shape, shape[-1:]

    for k, (r, c) in enumerate(channels.items(), start=2):
        if kind == "growing":
            layer(f"FromRGB_lod{top - k}", [1, 1, 3, c])
        elif kind == "skip" or k == top:
            layer(f"{r}x{r}/FromRGB", [1, 1, 3, c])
        if r > 4:
            layer(f"{r}x{r}/Conv0", [3, 3, c, c])
            layer(f"{r}x{r}/Conv1_down", [3, 3, c, channels[r // 2]])
            if kind == "resnet":
                found[f"{r}x{r}/Skip/weight"] = [1, 1, c, channels[r // 2]]
    layer("4x4/Conv", [3, 3, channels[4] + 2, channels[4]])
    layer("4x4/Dense0", [16 * channels[4], channels[4]])
    layer("Output", [channels[4], 1])
    return found


@pytest.mark.parametrize("kind", [*ARCHITECTURES, "growing"])
def test_nvidia_export_names_of_stylegan2(kind):
    config = small("stylegan2_d" if kind == "growing" else "stylegan2_f")
    for part in (config.generator, config.discriminator):
        part.architecture, part.fmap_base = kind, 16
    states = nvidia.export_state(scrambled(config), "tensorflow")
    channels = {4: 6, 8: 4, 16: 2}
    assert shapes(states["G_ema"]) == stylegan2_names(kind, 4, channels, 5)
    assert shapes(states["D"]) == stylegan2_d_names(kind, 4, channels)


def test_nvidia_export_names_of_conditional_networks():
    config = small("stylegan2_f")
    networks = scrambled(config, labels=3)
    states = nvidia.export_state(networks, "tensorflow")
    assert states["G_ema"]["G_mapping/LabelConcat/weight"].shape == (3, 5)
    assert states["G_ema"]["G_mapping/Dense0/weight"].shape == (10, 5)
    assert states["D"]["Output/weight"].shape == (6, 3)
    config.generator.conditioning = config.discriminator.conditioning = "ada"
    networks = scrambled(config, labels=3)
    states = nvidia.export_state(networks, "tensorflow")
    embed = {"weight": (3, 5), "bias": (5,)}
    for field, shape in embed.items():
        assert states["G_ema"][f"G_mapping/LabelEmbed/{field}"].shape == shape
    assert states["D"]["LabelEmbed/weight"].shape == (3, 6)
    assert states["D"]["Mapping1/weight"].shape == (6, 6)
    assert "lod" not in states["G_ema"]
    state = nvidia.export_state(networks, "torch", ["D"])["D"]
    assert state["mapping.embed.weight"].shape == (6, 3)


def test_nvidia_export_layouts_by_hand():
    networks = scrambled(small("stylegan2_f"))
    g, d = networks.G_ema, networks.D
    state = nvidia.export_state(networks, "torch")
    up, conv = g.synthesis.up_convs[1].conv, g.synthesis.convs[1].conv
    theirs = state["G_ema"]["synthesis.b16.conv0.weight"]
    assert theirs[1, 2, 0, 2] == up.kernel[2, 0, 2, 1]  # reversed in height and width
    theirs = state["G_ema"]["synthesis.b8.conv1.weight"]
    assert theirs[1, 2, 0, 2] == conv.kernel[0, 2, 2, 1]
    assert (
        state["D"]["b16.conv1.weight"][1, 2, 0, 2]
        == (d.down_convs[1].kernel[0, 2, 2, 1])
    )
    assert (
        state["G_ema"]["synthesis.b8.conv1.affine.weight"][3, 4]
        == (conv.affine.kernel[4, 3])
    )
    noise = g.synthesis.convs[2].noise.fixed
    assert state["G_ema"]["synthesis.b16.conv1.noise_const"][3, 9] == noise[0, 3, 9, 0]
    assert (
        state["G_ema"]["synthesis.b4.const"][5, 1, 3] == g.synthesis.const[0, 1, 3, 5]
    )
    state = nvidia.export_state(networks, "tensorflow")
    theirs = state["G_ema"]["G_synthesis/16x16/Conv0_up/weight"]
    assert np.array_equal(theirs, up.kernel)
    bias = state["G_ema"]["G_synthesis/16x16/Conv0_up/mod_bias"]
    assert np.array_equal(bias + np.float32(1), up.affine.bias)
    noise = state["G_ema"]["G_synthesis/noise4"]
    assert np.array_equal(noise[0, 0], g.synthesis.convs[2].noise.fixed[0, :, :, 0])


def test_nvidia_export_reverses_fused_up_convolutions():
    config = small("stylegan1_f", 256)
    for part in (config.generator, config.discriminator):
        part.fmap_base, part.fmap_max = 128, 2
    networks = scrambled(config, lod=0)
    state = nvidia.export_state(networks, "tensorflow")["G_ema"]
    for i, size in enumerate([8, 16, 32, 64, 128, 256]):
        ours = networks.G_ema.synthesis.up_convs[i].conv.kernel.numpy()
        theirs = state[f"G_synthesis/{size}x{size}/Conv0_up/weight"]
        ours = ours[::-1, ::-1] if size >= 128 else ours
        assert np.array_equal(theirs, ours)
    assert_round_trip(networks, "tensorflow")
    checkpoint = checkpoint_of(networks, "tensorflow")
    for scale, first in ((True, 8), (False, 512)):  # other thresholds can be read
        checkpoint.networks["G_ema"].arguments["fused_scale"] = scale
        found, _ = nvidia.convert(checkpoint, ["G_ema"])
        ours = found.G_ema.synthesis.up_convs[3].conv.kernel.numpy()
        theirs = state["G_synthesis/64x64/Conv0_up/weight"]
        assert np.array_equal(ours, theirs[::-1, ::-1] if first == 8 else theirs)


def test_fused_up_convolution_is_the_reversed_kernel():
    """The published fused form, written out, against what the import relies on."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=[1, 5, 6, 2]).astype(np.float32)
    kernel = rng.normal(size=[3, 3, 2, 4]).astype(np.float32)
    padded = np.pad(kernel, [(1, 1), (1, 1), (0, 0), (0, 0)])
    fused = padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]
    expected = tf.nn.conv2d_transpose(
        x, fused.transpose(0, 1, 3, 2), [1, 10, 12, 4], 2, "SAME"
    )
    ours = naming.HWIO_REVERSED.decode(kernel)
    repeated = x.repeat(2, axis=1).repeat(2, axis=2)
    found = tf.nn.conv2d(repeated, ours, 1, "SAME")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_codecs_are_each_others_inverse():
    rng = np.random.default_rng(2)
    for codec, shape in (
        (naming.TRANSPOSED, [2, 3]),
        (naming.NCHW, [1, 2, 3, 4]),
        (naming.CHW, [2, 3, 4]),
        (naming.HW, [3, 4]),
        (naming.OIHW, [2, 3, 4, 5]),
        (naming.OIHW_REVERSED, [2, 3, 4, 5]),
        (naming.HWIO_REVERSED, [2, 3, 4, 5]),
    ):
        array = rng.normal(size=shape)
        assert np.array_equal(codec.encode(codec.decode(array)), array)
    values = rng.normal(size=10**5).astype(np.float32) * 2
    ours = naming.LESS_ONE.decode(values)
    back = naming.LESS_ONE.encode(ours)
    assert np.array_equal(naming.LESS_ONE.decode(back), ours)


# What cannot be said


@pytest.mark.parametrize(
    ("preset", "fields", "layout", "words"),
    [
        ("stylegan2_d", {}, "torch", "no growing networks"),
        ("stylegan2_f", {"generator__block": "normalized"}, "torch", "normalized"),
        ("stylegan2_f", {"generator__block": "normalized"}, "tensorflow", "normalized"),
        ("stylegan2_f", {"generator__fmap_min": 3}, "torch", "fmap_min = 3"),
        ("stylegan1_f", {"generator__spectral_norm": True}, "tensorflow", "counterpar"),
        ("stylegan2_f", {"data__base_grid": (8, 4)}, "torch", "start at 4x4"),
    ],
)
def test_nvidia_export_refuses_what_was_never_published(preset, fields, layout, words):
    config = small(preset, **fields)
    network = build.build_generator(config)
    networks = storage.Networks(G=None, D=None, G_ema=network, config=config)
    with pytest.raises(ValueError, match=words):
        nvidia.export_state(networks, layout)


def test_nvidia_export_refuses_labels_that_select():
    networks = scrambled(small("stylegan2_f"), labels=3)
    for name in ("G_ema", "D"):
        with pytest.raises(ValueError, match="conditioning = 'stylegan2'"):
            nvidia.export_state(networks, "torch", [name])
    with pytest.raises(ValueError, match="has none of G"):
        nvidia.export_state(networks, "tensorflow", ["G"])
    with pytest.raises(ValueError, match="layout must be"):
        nvidia.export_state(networks, "jax")


def test_nvidia_import_refuses_another_label_mapping():
    config = small("stylegan2_f", generator__conditioning="ada")
    config.discriminator.conditioning = "ada"
    checkpoint = checkpoint_of(scrambled(config, labels=3), "tensorflow")
    checkpoint.networks["D"].arguments["mapping_lrmul"] = 0.1
    with pytest.raises(ValueError, match="2 label mapping layers of D.*got 0.1"):
        nvidia.convert(checkpoint)
    checkpoint.networks["D"].arguments["mapping_layers"] = 0
    with pytest.raises(ValueError, match="D holds what has no place: Mapping0"):
        nvidia.convert(checkpoint)


def test_nvidia_export_writes_the_whole_batch_as_none():
    size = arguments.WHOLE_BATCH
    config = small("stylegan2_f", discriminator__mbstd_group_size=size)
    found = assert_round_trip(scrambled(config), "torch")
    _, _, given = nvidia.export_arguments(found, "torch", "D")
    assert given["epilogue_kwargs"]["mbstd_group_size"] is None


# The command


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    networks = scrambled(small("stylegan2_f"))
    path = tmp_path_factory.mktemp("model") / "m"
    storage.save_networks(path, networks)
    return path, networks


@pytest.mark.slow
def test_export_nvidia_writes_a_state_dict(model, tmp_path):
    path, networks = model
    outfile = tmp_path / "below" / "g.npz"
    result = run("tools/export_nvidia.py", f"--model={path}", f"--outfile={outfile}")
    assert result.returncode == 0, result.stderr
    expected = nvidia.export_state(networks, "torch", ["G_ema"])["G_ema"]
    with np.load(outfile) as found:
        assert found.files == list(expected)
        for name, array in expected.items():
            assert found[name].shape == array.shape
            assert np.array_equal(found[name], array)
    said = json.loads(result.stdout.splitlines()[-1].removeprefix("G_ema: "))
    assert said["function"] == "Generator"
    assert said["arguments"]["synthesis_kwargs"]["channel_base"] == 128
    assert [p.name for p in outfile.parent.iterdir()] == ["g.npz"]


def test_export_nvidia_writes_safetensors(model, monkeypatch):
    safetensors = pytest.importorskip("safetensors.numpy")
    monkeypatch.syspath_prepend(ROOT / "tools")
    import export_nvidia

    states = nvidia.export_state(model[1], "tensorflow")
    arrays = export_nvidia.flat(states)
    name = pathlib.Path("g.safetensors")
    export_nvidia.check_outfile(name)
    found = safetensors.load(export_nvidia.content(name, arrays, "tensorflow", {}))
    for network, state in states.items():
        for name, array in state.items():
            loaded = found.pop(f"{network}/{name}")
            assert loaded.shape == array.shape and np.array_equal(loaded, array)
    assert not found


def test_export_nvidia_fails_in_one_sentence(model, tmp_path):
    tool, path = "tools/export_nvidia.py", f"--model={model[0]}"
    for flags, *words in (
        ([path, f"--outfile={tmp_path}/g.pt"], ".npz or .safetensors", "g.pt"),
        ([path, f"--outfile={tmp_path}/g.npz", "--which=E"], "--which", "E"),
        ([f"--model={tmp_path}", f"--outfile={tmp_path}/g.npz"], "config.json"),
    ):
        fails(run(tool, *flags), *words)
    assert not contents(tmp_path)
