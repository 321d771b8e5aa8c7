"""SavedModel for TF Serving: `python -m tfstylegan.export --model=M --outdir=D`.

The averaged generator as a graph of stock TensorFlow operations (unless `--ops` says
otherwise), so that an unchanged model server loads it; docs/serving.md tells of its
signatures. Beside the graph lie
requests to warm a server up, and model_card.json.
"""

import json
import pathlib
import shlex

from absl import flags, logging

from tfstylegan import cli

DTYPES = ("float32", "bfloat16", "float16")
OPS = ("stock", "compiled", "compiled_cpu")
LICENSE = (
    "not stated: the weights carry the licence of whoever trained them, and what the "
    "licence of their training data asks for"
)


def export_saved_model(
    networks,
    outdir,
    *,
    dtype="float32",
    ops="stock",
    discriminator=False,
    max_batch=128,
    license_note=LICENSE,
    metrics=(),
):
    """Writes G_ema as a SavedModel to `outdir/<version>`; returns that path.

    The version is one above the largest that `outdir` holds, at first 1, and appears
    whole or not at all. `serving.signatures` lists what it can be asked; inputs and
    outputs have the same types whatever `dtype` is. The same networks and arguments
    give the same bytes.

    Args:
      networks: as `load_networks` gives them, with their G_ema.
      outdir: folder of the versions.
      dtype: "float32", or the type in which the levels compute that
        `config.precision.num_fp16_res` names.
      ops: "compiled" takes the compiled ops where they are faster: for servers that
        have them linked in. "compiled_cpu" takes those too that are for CPUs with
        AVX-512 only.
      discriminator: whether D is there too, in float32.
      max_batch: most images of a request.
      license_note, metrics: what the model card says of the licence, and the results
        of metrics, dicts.

    Raises:
      ValueError: if `networks` has no G_ema (or D), `outdir` cannot be such a folder,
        or an argument means nothing.
      RuntimeError: where the compiled ops are asked for and not available.
      OSError: if it cannot be written.
    """
    _check_arguments(networks, dtype, ops, discriminator, max_batch)
    outdir = pathlib.Path(outdir)
    _check_outdir(outdir)
    from tfstylegan import ops as ops_lib  # TensorFlow takes seconds: only when used
    from tfstylegan.serving import card, inputs, saving, warmup

    implementation = "reference" if ops == "stock" else "compiled"
    target = "cpu" if ops == "compiled_cpu" else "any"
    with ops_lib.implementation(implementation, target=target):
        module, signatures = _signatures(networks, dtype, ops, discriminator, max_batch)
        calls = [pair for made in signatures for pair in made.calls()]
        functions = {call.__name__: inputs.function(call, x) for call, x in calls}

        def write(folder):
            saving.save(folder, module, functions)
            warmup.write(
                folder / warmup.PATH,
                [
                    (call.__name__, {name: x.rows(1) for name, x in kinds.items()})
                    for call, kinds in calls
                ],
            )
            about = {"dtype": dtype, "ops": ops, "max_batch": max_batch}
            about |= {"license": license_note, "metrics": list(metrics)}
            about["signatures"] = card.described(saving.read(folder).meta_graphs[0])
            card.write(folder / card.PATH, _card(networks) | about)

        return saving.publish(outdir, write)


def _signatures(networks, dtype, ops, discriminator, max_batch):
    """(module that owns the weights, what makes the signatures)."""
    import tensorflow as tf

    from tfstylegan import config as config_lib
    from tfstylegan.networks import inference_blocks, inference_samples
    from tfstylegan.serving import signatures

    generator = networks.G_ema
    if dtype == "float32":
        generator = generator.in_float32()
    else:
        # Without a limit float16 would overflow.
        clamp = config_lib.CONV_CLAMP if dtype == "float16" else None
        generator = generator.in_dtype(dtype, conv_clamp=clamp)
    synthesis = inference_blocks.fold(generator.synthesis)
    images_of = synthesis
    # TensorFlow joins the rest of a layer to a convolution of single images only; the
    # compiled op is that rest, of a batch.
    if ops == "stock":
        images_of = inference_samples.one_by_one(synthesis)
    psi, cutoff = networks.config.generator.truncation()
    made = [
        signatures.GeneratorSignatures(
            generator,
            synthesis,
            images_of=images_of,
            truncation_psi=psi,
            truncation_cutoff=-1 if cutoff is None else min(cutoff, synthesis.num_ws),
            max_batch=max_batch,
        )
    ]
    module = tf.Module()
    owned = [*generator.mapping.variables, generator.w_avg, *synthesis.variables]
    module.weights = {v.path: v.value for v in owned}
    if discriminator:
        network = networks.D.in_float32()
        module.critic_weights = {v.path: v.value for v in network.variables}
        shape = [*generator.synthesis.sizes[-1], generator.synthesis.channels]
        made.append(
            signatures.DiscriminatorSignature(
                network,
                image_shape=shape,
                label_dim=generator.mapping.label_dim,
                max_batch=max_batch,
            )
        )
    return module, made


def _card(networks):
    """What the model card says of the networks."""
    from tfstylegan.serving import card

    nimg = networks.cur_nimg
    return {
        "config": json.loads(networks.config.to_json()),
        "kimg": None if nimg is None else nimg / 1000,
        "program": card.program(),
        "weights_sha256": card.weights_sha256(networks.G_ema),
    }


def _check_arguments(networks, dtype, ops, discriminator, max_batch):
    if networks.G_ema is None:
        raise ValueError("networks.G_ema must be a generator to export; got None")
    if discriminator and networks.D is None:
        raise ValueError("networks.D must be there for discriminator=True; got None")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    if ops not in OPS:
        raise ValueError(f"ops must be one of {', '.join(OPS)}; got {ops!r}")
    if not 1 <= max_batch < 2**31:
        raise ValueError(f"max_batch must be at least 1, below 2^31; got {max_batch}")


def _check_outdir(outdir):
    """Raises ValueError where `outdir` cannot be made or must not be written to."""
    cli.check_outdir(outdir)
    for name, what in (
        ("saved_model.pb", "a single version; give the folder above it"),
        ("config.json", "a workdir or model directory; give a folder of its own"),
    ):
        if (outdir / name).exists():
            raise ValueError(f"outdir must hold versions only; {outdir} is {what}")


def measured(path, cur_nimg):
    """Results of `evaluate` that hold for the model `path` as it is now.

    Lines of its metrics.jsonl, without the path; what is no number is None.

    Raises ValueError for a damaged file.
    """
    file = pathlib.Path(path) / "metrics.jsonl"
    lines = file.read_text("utf-8").splitlines() if file.is_file() else []
    try:
        results = [json.loads(line, parse_constant=lambda _: None) for line in lines]
    except ValueError as error:
        raise ValueError(f"{file} must hold a result a line; {error}") from error
    return [
        {name: value for name, value in result.items() if name != "model"}
        for result in results
        if result.get("network") == "trained" and result.get("cur_nimg") == cur_nimg
    ]


def _define_flags():
    # Not at import: the other commands have flags of the same names.
    cli.define_model()
    cli.define_outdir(
        "Folder for the SavedModel. Each export makes a version in it: 1, 2, ..."
    )
    flags.DEFINE_enum(
        "dtype",
        "float32",
        DTYPES,
        "Type in which the highest resolutions compute "
        "(config.precision.num_fp16_res); inputs and outputs are the same.",
    )
    flags.DEFINE_enum(
        "ops",
        "stock",
        OPS,
        "compiled: with the ops of custom_ops/, for servers that have them linked in; "
        "compiled_cpu: with those too that are for CPUs with AVX-512 only.",
    )
    flags.DEFINE_bool("discriminator", False, "With the signature discriminate.")
    flags.DEFINE_integer("max_batch", 128, "Most images of a request.", 1)
    flags.DEFINE_string("license", LICENSE, "What the model card says of the licence.")


def main(argv):
    del argv
    path, outdir = pathlib.Path(flags.FLAGS.model), pathlib.Path(flags.FLAGS.outdir)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every file
    with cli.one_sentence((ValueError, OSError, RuntimeError)):
        _check_outdir(outdir)
        networks = cli.load_model(path)
        version = export_saved_model(
            networks,
            outdir,
            dtype=flags.FLAGS.dtype,
            ops=flags.FLAGS.ops,
            discriminator=flags.FLAGS.discriminator,
            max_batch=flags.FLAGS.max_batch,
            license_note=flags.FLAGS.license,
            metrics=measured(path, networks.cur_nimg),
        )
    print(f"SavedModel: {version}")
    if flags.FLAGS.ops != "stock":
        print("serve it:   with the custom ops linked in, see custom_ops/README.md")
        return
    volume = shlex.quote(f"{outdir.resolve()}:/models/stylegan")
    print(
        "serve it:   docker run --rm -p 8500:8500 -p 8501:8501 -e MODEL_NAME=stylegan "
        f"-v {volume} tensorflow/serving"
    )


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
