"""Inference speed of what `export` writes, beside the network itself, on this machine.

    python tools/bench_inference.py --config=configs/stylegan2_f.py \\
        --config.data.resolution=256 --config.generator.fmap_base=8192
    python tools/bench_inference.py --config=configs/yardstick32.py --batches=32,1

A generator of that configuration, untrained, is exported in every `--dtype` with every
choice of `--ops`, and the signature `serving_default` is called with z in batches of
each size. In turn with it runs "keras": the network as it is trained, with the ops that
it takes by default. Figures are medians over the rounds, in each of which everything
runs: images/s; the same per GFLOP/s of a float32 matrix product measured in the same
round, which compares machines of unlike speed; seconds of processors an image, which
tells more where others work on the machine; the speed as a multiple of keras'; and the
time of an image as a multiple of that in the first of the batches.
"""

import itertools
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags, logging
from training_cycles import matmul_gflops

from tfstylegan import cli, export

ROW = "{:<22}{:>6}{:>12}{:>22}{:>20}{:>11}{:>18}"


def main(argv):
    del argv
    with cli.one_sentence():
        config = _CONFIG.value.validate()
        batches = parse_batches(_BATCHES.value)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every file
    from tfstylegan import ops
    from tfstylegan.networks import build, storage
    from tfstylegan.training import allocator

    allocator.keep_freed_memory()
    generator = build.build_generator(config)
    networks = storage.Networks(G=None, D=None, G_ema=generator, config=config)
    callers = {"keras": _of_network(generator)}
    with tempfile.TemporaryDirectory() as folder:
        for dtype, kind in itertools.product(_DTYPES.value, _OPS.value):
            path = export.export_saved_model(networks, folder, dtype=dtype, ops=kind)
            callers[f"{dtype} {kind}"] = _of_export(path)
    name = pathlib.Path(flags.FLAGS["config"].config_filename).stem
    print(f"config {name}, keras' ops: {ops.library.describe()}")
    heads = ("images/s", "images/s per GFLOP/s", "processor s/image", "of keras")
    print(ROW.format("what", "batch", *heads, "of first batch's"))
    figures = measure(callers, generator.mapping.z_dim, batches, _ROUNDS.value)
    for (batch, what), (speed, relative, processor, *ratios) in figures.items():
        row = f"{speed:.2f}", f"{relative:.4f}", f"{processor:.4f}"
        print(ROW.format(what, batch, *row, *(f"{ratio:.2f}" for ratio in ratios)))


def measure(callers, z_dim, batches, rounds):
    """{(batch, name): (images/s, per GFLOP/s, processor seconds an image,
    speed by "keras", time of an image by that in batches[0])}.

    `callers` {name: function of z [N, Z]} and batches take turns.
    """
    import tensorflow as tf

    numbers = np.random.default_rng(0)
    codes = {
        n: tf.constant(numbers.normal(size=[n, z_dim]), "float32") for n in batches
    }
    found = {key: [] for key in itertools.product(batches, callers)}
    for batch, name in found:
        callers[name](codes[batch])  # traces and warms up
    for _ in range(rounds):
        gflops, seconds = matmul_gflops(), {}
        for batch, name in found:
            wall, processor = time.perf_counter(), time.process_time()
            callers[name](codes[batch]).numpy()
            seconds[batch, name] = (time.perf_counter() - wall) / batch
            processor = (time.process_time() - processor) / batch
            image = seconds[batch, name]
            of_keras = seconds[batch, "keras"] / image
            of_first = image / seconds[batches[0], name]
            row = 1 / image, 1 / image / gflops, processor, of_keras, of_first
            found[batch, name].append(row)
    return {key: np.median(rows, axis=0) for key, rows in found.items()}


def _of_network(generator):
    import tensorflow as tf

    from tfstylegan.data import pipeline

    @tf.function
    def images(z):
        return pipeline.to_uint8(generator(z, truncation_psi=0.7, noise_mode="const"))

    return images


def _of_export(path):
    import tensorflow as tf

    from tfstylegan.serving import saving

    # The model has to live as long as its signature.
    model = tf.saved_model.load(str(path))
    given = saving.default_inputs(path, "serving_default")
    given["truncation_psi"] = tf.constant([0.7])

    def images(z):
        return model.signatures["serving_default"](**given | {"z": z})["images"]

    return images


def parse_batches(values):
    if not values or not all(value.isdecimal() and int(value) for value in values):
        raise ValueError(f"--batches must be numbers above 0; got {','.join(values)!r}")
    if max(map(int, values)) > 128:
        raise ValueError(f"--batches must be at most 128; got {','.join(values)}")
    return [int(value) for value in values]


if __name__ == "__main__":
    _CONFIG = cli.define_config()
    _BATCHES = flags.DEFINE_list("batches", ["8", "1"], "Images a request.")
    _DTYPES = flags.DEFINE_multi_enum(
        "dtype", ["float32", "bfloat16"], export.DTYPES, "Types of exports, repeated."
    )
    _OPS = flags.DEFINE_multi_enum(
        "ops", ["stock"], export.OPS, "Ops of exports, repeated."
    )
    _ROUNDS = flags.DEFINE_integer("rounds", 5, "Rounds of the clock.", 1)
    cli.run(main)
