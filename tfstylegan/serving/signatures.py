"""Signatures of an exported generator and discriminator.

N is the number of images, H W C their size; Z, T, L, D are the widths of z and labels,
the layers and the width of w. Conditional networks take labels [N, T] as well.

  serving_default: z [N, Z] or seed, truncation_psi, truncation_cutoff, noise_seed
    -> images [N, H, W, C], uint8
  generate_png: the same -> png_bytes [N]
  style_mix: the same, other_z or other_seed, and layers [N, L], true where the other
    code has its styles -> images
  mapping: z -> ws [N, L, D], not truncated
  synthesis, synthesis_float: ws -> images, uint8 or float32, about [-1, 1]
  discriminate: images, uint8 -> logits [N, 1]

A seed is that of `generate --seeds`, a noise_seed that of its random noise; without,
noise is the stored one. An image is a function of its own row alone.
"""

import tensorflow as tf

from tfstylegan import mersenne, rng
from tfstylegan.data import pipeline
from tfstylegan.networks import generator as generator_lib
from tfstylegan.serving import inputs

PNG_CHANNELS = (1, 2, 3, 4)


class GeneratorSignatures:
    """Signatures of a `Generator`: `calls` has all of them.

    Args:
      generator: the `Generator`.
      synthesis: its synthesis network, or one that gives the same.
      images_of: (ws, noise=maps) -> its images: itself, or a faster way.
      truncation_psi, truncation_cutoff: defaults; a cutoff of -1 is all layers.
      max_batch: most images of a request.
    """

    def __init__(
        self,
        generator,
        synthesis,
        *,
        images_of,
        truncation_psi,
        truncation_cutoff,
        max_batch,
    ):
        self.w_avg = generator.w_avg
        self.max_batch = max_batch
        self.w_of = generator.mapping
        self.network = synthesis
        self._images_of = images_of
        # One copy in the graph, however many signatures call them.
        self._w_of = tf.function(generator.mapping, autograph=False)
        self._drawn = tf.function(self._draw, autograph=False)
        self._drawn_noise = tf.function(self._draw_noise, autograph=False)
        self._inputs = self._all_inputs(truncation_psi, truncation_cutoff)
        noise = [tf.TensorSpec([None, *x.shape[1:]]) for x in synthesis.fixed_noise]
        specs = [self._inputs["ws"].spec("ws"), noise]
        self._pixels = tf.function(
            self._synthesize, autograph=False, input_signature=specs
        )

    def calls(self):
        """[(method, its inputs {name: `inputs.Input`})], named as the signatures."""
        generation = self._chosen(
            *("z", "labels", "seed", "truncation_psi", "truncation_cutoff"),
            "noise_seed",
        )
        z = {"z": self._inputs["z"]._replace(default=None)}
        made = {
            self.serving_default: generation,
            self.generate_png: generation,
            self.style_mix: generation
            | self._chosen("other_z", "other_seed", "layers"),
            self.mapping: z | self._chosen("labels"),
            self.synthesis: self._chosen("ws"),
            self.synthesis_float: self._chosen("ws"),
        }
        if self.network.channels not in PNG_CHANNELS:
            del made[self.generate_png]
        return list(made.items())

    def _chosen(self, *names):
        return {name: x for name, x in self._inputs.items() if name in names}

    def _all_inputs(self, psi, cutoff):
        code, layers = inputs.code(self.w_of.z_dim), self.w_of.num_ws
        return {
            **code,
            **{f"other_{name}": x for name, x in code.items()},
            **label_input(self.w_of.label_dim),
            "layers": inputs.Input(tf.bool, [layers]),
            "ws": inputs.Input(tf.float32, [layers, self.w_of.w_dim]),
            "truncation_psi": inputs.Input(tf.float32, None, psi),
            "truncation_cutoff": inputs.Input(
                tf.int32, None, cutoff, bounds=(-1, layers)
            ),
            "noise_seed": inputs.seed(2**31),
        }

    def _read(self, given):
        return inputs.read(given, self._inputs, self.max_batch)

    def serving_default(self, **given):
        given, count = self._read(given)
        return self._pictures(self._ws(given), given, count)

    def generate_png(self, **given):
        images = self.serving_default(**given)["images"]
        # REST gives what is called so as base64.
        return {"png_bytes": tf.io.encode_png(images)}  # [N]

    def style_mix(self, **given):
        given, count = self._read(given)
        layers = given["layers"][:, :, tf.newaxis]  # [N, L, 1]
        ws = tf.where(layers, self._ws(given, "other_"), self._ws(given))
        return self._pictures(ws, given, count)

    def mapping(self, **given):
        given, count = self._read(given)
        return {"ws": self._ws(given)[:count]}  # [N, L, D]

    def synthesis(self, **given):
        images = self.synthesis_float(**given)["images"]
        return {"images": pipeline.to_uint8(images)}

    def synthesis_float(self, **given):
        given, count = self._read(given)
        noise = [tf.convert_to_tensor(x) for x in self.network.fixed_noise]
        return {"images": self._pixels(given["ws"], noise)[:count]}

    def _ws(self, given, prefix=""):
        """ws [N, L, D] of the code that `prefix` names, not truncated."""
        z_name, seed_name = f"{prefix}z", f"{prefix}seed"
        z, seed = given[z_name], given.get(seed_name)
        if seed is None:
            z = inputs.finite(z_name, z)
        else:
            taken = seed != inputs.NONE  # [N]
            when = f" where {seed_name} is not given"
            z = inputs.finite(z_name, z, ~taken, when)
            z = tf.cond(
                tf.reduce_any(taken),
                lambda: tf.where(taken[:, tf.newaxis], self._drawn(seed), z),
                lambda: z,
            )
        return self._w_of(z, given.get("labels"))

    def _pictures(self, ws, given, count):
        cutoff = given["truncation_cutoff"]
        cutoff = tf.where(cutoff < 0, self.w_of.num_ws, cutoff)[:, tf.newaxis]  # [N, 1]
        psi = given["truncation_psi"][:, tf.newaxis, tf.newaxis]  # [N, 1, 1]
        ws = generator_lib.truncate(ws, self.w_avg, psi, cutoff)
        images = self._pixels(ws, self._noise(given["noise_seed"], given["seed"]))
        return {"images": pipeline.to_uint8(images)[:count]}  # [N, H, W, C]

    def _noise(self, noise_seed, number):
        """Noise maps [N or 1, h, w, 1] of images: drawn where there is a seed."""
        fixed = [tf.convert_to_tensor(x) for x in self.network.fixed_noise]
        if not fixed:
            return fixed
        return tf.cond(
            tf.reduce_any(noise_seed != inputs.NONE),
            lambda: self._drawn_noise(noise_seed, number, fixed),
            lambda: fixed,
        )

    # What follows is traced.

    def _draw(self, seed):
        return mersenne.latents(tf.maximum(seed, 0), self.w_of.z_dim)  # [N, Z]

    def _draw_noise(self, noise_seed, number, fixed):
        drawn = random_noise(self.network.noise_sizes, noise_seed, number)
        taken = noise_seed != inputs.NONE  # [N]
        taken = taken[:, tf.newaxis, tf.newaxis, tf.newaxis]
        return [tf.where(taken, x, y) for x, y in zip(drawn, fixed)]

    def _synthesize(self, ws, noise):
        return tf.cast(self._images_of(ws, noise=noise), tf.float32)  # [N, H, W, C]


class DiscriminatorSignature:
    """The signature `discriminate`; `image_shape` is [H, W, C].

    Logits are those of the request's images together: minibatch standard deviation
    compares them.
    """

    def __init__(self, discriminator, *, image_shape, label_dim, max_batch):
        self.network = discriminator
        self.max_batch = max_batch
        self._inputs = {
            "images": inputs.Input(tf.uint8, image_shape),
            **label_input(label_dim),
        }

    def calls(self):
        """As `GeneratorSignatures.calls`."""
        return [(self.discriminate, self._inputs)]

    def discriminate(self, **given):
        given, count = inputs.read(given, self._inputs, self.max_batch)
        images = pipeline.to_float(given["images"])
        logits = self.network(images, given.get("labels"))
        return {"logits": tf.cast(logits, tf.float32)[:count]}  # [N, 1]


def label_input(label_dim):
    """{"labels": input [N, T]}, empty for networks without labels."""
    return {"labels": inputs.Input(tf.float32, [label_dim])} if label_dim else {}


def random_noise(sizes, noise_seed, number):
    """Noise maps [N, h, w, 1] of image `number` [N], -1 as 0, and `noise_seed` [N].

    Those of `generate --noise_mode=random --noise_seed`.
    """

    def one(row):
        base, counter = row
        key = rng.seed(base, "generate/noise", tf.maximum(counter, 0))
        keys = [tf.random.fold_in(key, i) for i in range(len(sizes))]
        return [rng.normal(key, [*size, 1]) for key, size in zip(keys, sizes)]

    kinds = [tf.TensorSpec([*size, 1]) for size in sizes]
    return tf.map_fn(one, (noise_seed, number), fn_output_signature=kinds)
