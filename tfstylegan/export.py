"""SavedModel for TF Serving: `python -m tfstylegan.export --model=M --outdir=D`.

The averaged generator as a graph of stock TensorFlow operations, so that an unchanged
model server loads it. Signatures:

  serving_default: z, truncation_psi (, labels) -> images, uint8; psi holds for the
    layers that the model truncates (config.generator.truncation_cutoff)
  mapping: z (, labels) -> ws, not truncated
  synthesis: ws -> images, uint8
"""

import errno
import pathlib
import shlex
import tempfile

from absl import flags, logging

from tfstylegan import cli


def export_saved_model(networks, outdir):
    """Writes G_ema as a SavedModel to `outdir/<version>`; returns that path.

    The version is one above the largest that `outdir` holds, at first 1: the layout
    that TensorFlow Serving watches. A version appears whole or not at all.

    With N any number of images, noise maps as stored (`noise_mode` "const", so equal
    inputs give equal images), float32 (a model in mixed precision too) but for the
    images, and labels [N, T] only for a
    class-conditional generator:

      serving_default: z [N, Z], truncation_psi [] (, labels) -> images [N, H, W, C]
      mapping: z [N, Z] (, labels) -> ws [N, L, D]
      synthesis: ws [N, L, D] -> images [N, H, W, C]

    Raises:
      ValueError: if `networks` has no G_ema, or `outdir` cannot be such a folder.
      OSError: if it cannot be written.
    """
    import tensorflow as tf  # takes seconds: only when used

    if networks.G_ema is None:
        raise ValueError("networks.G_ema must be a generator to export; got None")
    outdir = pathlib.Path(outdir)
    _check_outdir(outdir)
    _, cutoff = networks.config.generator.truncation()
    module, signatures = _trace(networks.G_ema, cutoff)
    outdir.mkdir(parents=True, exist_ok=True)
    # Beside its final place, hence on the same file system; servers read only numbers.
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=outdir) as partial:
        model = pathlib.Path(partial) / "model"
        # Nobody differentiates uint8 images.
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(model), signatures, options)
        return _publish(model, outdir)


def _trace(generator, cutoff):
    """(module that owns the weights, {name: concrete function}) of a generator.

    `cutoff` is the number of layers that truncation holds for, None for all.
    """
    import tensorflow as tf

    from tfstylegan import ops
    from tfstylegan.data import pipeline
    from tfstylegan.networks import generator as generator_lib

    generator = generator.in_float32()
    mapping, synthesis = generator.mapping, generator.synthesis

    def to_ws(z, labels=None):
        return {"ws": mapping(z, labels)}  # [N, L, D]

    def to_images(ws):
        count = tf.shape(ws)[0]
        # TensorFlow's depthwise convolution gets the shape of an empty batch wrong.
        spare = tf.cast(count == 0, tf.int32)
        ws = tf.pad(ws, [[0, spare], [0, 0], [0, 0]])
        images = synthesis(ws, noise_mode="const")
        return {"images": pipeline.to_uint8(images)[:count]}  # [N, H, W, C]

    def serving_default(z, truncation_psi, labels=None):
        ws = mapping(z, labels)
        ws = generator_lib.truncate(ws, generator.w_avg, truncation_psi, cutoff)
        return to_images(ws)

    def traced(function, **shapes):
        specs = {
            name: tf.TensorSpec(shape, tf.float32, name)
            for name, shape in shapes.items()
        }
        return tf.function(function).get_concrete_function(**specs)

    latents = {"z": [None, mapping.z_dim]}
    if mapping.label_dim:
        latents["labels"] = [None, mapping.label_dim]
    module = tf.Module()
    module.weights = {v.path: v.value for v in generator.variables}
    with ops.implementation("reference"):  # a server does not know the compiled ops
        return module, {
            "serving_default": traced(serving_default, truncation_psi=[], **latents),
            "mapping": traced(to_ws, **latents),
            "synthesis": traced(to_images, ws=[None, mapping.num_ws, mapping.w_dim]),
        }


def _check_outdir(outdir):
    """Raises ValueError where `outdir` cannot be made or must not be written to."""
    cli.check_outdir(outdir)
    for name, what in (
        ("saved_model.pb", "a single version; give the folder above it"),
        ("config.json", "a workdir or model directory; give a folder of its own"),
    ):
        if (outdir / name).exists():
            raise ValueError(f"outdir must hold versions only; {outdir} is {what}")


def _publish(model, outdir):
    """Renames `model` to the next version in `outdir`; returns its new path."""
    while True:
        names = [path.name for path in outdir.iterdir()]
        numbers = [int(name) for name in names if name.isdecimal()]
        try:
            return model.rename(outdir / str(max(numbers, default=0) + 1))
        except OSError as error:  # another export took the number: try the next
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _define_flags():
    # Not at import: the other commands have flags of the same names.
    cli.define_model()
    cli.define_outdir(
        "Folder for the SavedModel. Each export makes a version in it: 1, 2, ..."
    )


def main(argv):
    del argv
    outdir = pathlib.Path(flags.FLAGS.outdir)
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # TensorFlow tells of every file
    with cli.one_sentence():
        _check_outdir(outdir)
        networks = cli.load_model(flags.FLAGS.model)
        path = export_saved_model(networks, outdir)
    volume = shlex.quote(f"{outdir.resolve()}:/models/stylegan")
    print(f"SavedModel: {path}")
    print(
        "serve it:   docker run --rm -p 8501:8501 -e MODEL_NAME=stylegan "
        f"-v {volume} tensorflow/serving"
    )


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
