"""Images of an exported model, in this process or on a server, by its signatures.

`docs/serving.md` has them. What they do not offer the page leaves out, and says why.
"""

import types

import numpy as np
import tensorflow as tf

from explorer import local
from explorer import view as views
from tfstylegan import rng, sampling
from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import interpolation, statistics
from tfstylegan.networks import generator as generator_lib
from tfstylegan.serving import inputs, saving

STEPS = 100  # of the arc between A and B
BATCH = 64  # codes that are mapped at once
NEEDED = ("style_mix", "mapping", "synthesis")
WAY = "Along the great arc from A to B in z."
PROJECTION = (
    "An exported model has no gradients, which projection follows. Open the model "
    "directory or workdir that it was exported from."
)
NO_LEVELS = "An exported model draws the noise of all resolutions anew, or of none."
NO_MEAN = (
    "A server does not tell the mean w that truncation pulls towards: directions work, "
    "and latents can be downloaded, at psi 1 only."
)
NO_NOISE = "With directions an exported model shows its own noise only."


class ServedModel:
    """An exported model, as `local.LocalModel` is one in this process.

    Args:
      ask: (signature, {input: array}) -> its output, an array.
      shapes: {signature: {input or output: [-1, ...]}}.
      title, kind: what the page calls it.
      psi, cutoff: its defaults.
      mean: w_avg [D]; None where it is not known.

    Raises ValueError where it lacks signatures that exported generators have.
    """

    way = WAY

    def __init__(self, ask, shapes, title, kind, *, psi=1.0, cutoff=-1, mean=None):
        lacking = [name for name in NEEDED if name not in shapes]
        if lacking:
            raise ValueError(
                f"{title} is no generator of ours: it has no signature {lacking[0]}"
            )
        self._ask = ask
        self.title, self.kind, self.psi = title, kind, psi
        self._cutoff, self._mean = cutoff, mean
        mix, mapping = shapes["style_mix"], shapes["mapping"]
        self._z_dim = mapping["z"][-1]
        num_ws, w_dim = shapes["synthesis"]["ws"][1:]
        self.label_dim = mapping["labels"][-1] if "labels" in mapping else 0
        self.size = tuple(mix["images"][1:3])
        self.generator = types.SimpleNamespace(
            mapping=types.SimpleNamespace(num_ws=num_ws, w_dim=w_dim)
        )
        levels = range(num_ws // 2 - 1, -1, -1)
        sizes = [tuple(side >> level for side in self.size) for level in levels]
        self.layer_names = local.layer_names(num_ws, sizes)
        self.noise_levels = ["all"]
        self.noise_kinds = (views.OWN, views.RANDOM)
        self.missing = {
            "projection": PROJECTION,
            "noise_levels": NO_LEVELS,
            "psi_of_w": NO_MEAN if mean is None else "",
        }

    def image(self, view, directions=None):
        """uint8 [H, W, C]."""
        if view.moves:
            if view.noise and view.noise[0].kind != views.OWN:
                raise ValueError(NO_NOISE)
            ws = self.codes(view, directions).ws
            return self._ask("synthesis", {"ws": ws})[0]
        noise = views.Noise() if not view.noise else view.noise[0]
        drawn = noise.number if noise.kind == views.RANDOM else inputs.NONE
        return self._ask(
            "style_mix",
            {
                "z": self._z(view),
                "other_z": self._latents(view.other_seed),
                "seed": np.array([inputs.NONE], np.int64),
                "other_seed": np.array([inputs.NONE], np.int64),
                "layers": self._taken(view),
                "truncation_psi": np.array([view.psi], np.float32),
                "truncation_cutoff": np.array([self._cutoff], np.int32),
                "noise_seed": np.array([drawn], np.int64),
                **self._labels(view),
            },
        )[0]

    def codes(self, view, directions=None):
        """`Codes` of the image, for its own noise.

        Raises ValueError where the model does not tell what they would be.
        """
        if view.psi != 1 and self._mean is None:
            raise ValueError(NO_MEAN)
        if any(x.kind == views.RANDOM for x in view.noise):
            raise ValueError(
                "An exported model does not tell its random noise: latents can be "
                "downloaded of images with its own noise."
            )
        z = np.concatenate([self._z(view), self._latents(view.other_seed)])
        labels = {k: np.repeat(x, 2, axis=0) for k, x in self._labels(view).items()}
        ws, other = np.float32(self._ask("mapping", {"z": z, **labels}))
        ws = np.where(self._taken(view)[0][:, np.newaxis], other, ws)[np.newaxis]
        if view.psi != 1:
            cutoff = None if self._cutoff < 0 else self._cutoff
            ws = generator_lib.truncate(ws, self._mean, view.psi, cutoff).numpy()
        for index, strength in view.moves:
            ws = directions.moved(ws, index, strength, view.moved)
        return codes_lib.Codes(ws=ws, names=[view.name], about=view.about())

    def sample_w(self, count):
        """w [N, D] of random z."""
        z = rng.seed_latent(statistics.SEED, count * self._z_dim).reshape(count, -1)
        labels = sampling.cycle_labels(count, self.label_dim)
        found = []
        for start in range(0, count, BATCH):
            rows = slice(start, start + BATCH)
            given = {"z": z[rows]} | (
                {} if labels is None else {"labels": labels[rows]}
            )
            found.append(np.float32(self._ask("mapping", given))[:, 0])
        return np.concatenate(found)

    def _latents(self, seed):
        return sampling.latents([seed], self._z_dim)

    def _z(self, view):
        """z [1, Z] of the point between A and B."""
        start, end = self._latents(view.seed), self._latents(view.other_seed)
        step = round(view.way * STEPS)
        if step in (0, STEPS):
            return end if step else start
        keys = np.concatenate([start, end])
        return interpolation.spherical(keys, STEPS, loop=False)[step : step + 1]

    def _taken(self, view):
        """bool [1, L], true for the layers that come from B."""
        return np.isin(np.arange(len(self.layer_names)), list(view.layers))[np.newaxis]

    def _labels(self, view):
        labels = local.condition(view.label, self.label_dim)
        return {} if labels is None else {"labels": labels}


def saved(path):
    """The `ServedModel` of one version of an exported model, in this process.

    Raises ValueError for another SavedModel or a damaged one.
    """
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise ValueError(f"the SavedModel {path} cannot be read: {error}") from error
    signatures = loaded.signatures
    shapes = {name: _shapes(call) for name, call in signatures.items()}
    psi, cutoff, mean = 1.0, -1, None
    if "style_mix" in shapes:
        variables = signatures["style_mix"].variables
        means = [x for x in variables if x.name.endswith("w_avg:0")]
        mean = means[0].numpy() if len(means) == 1 else None
        defaults = saving.default_inputs(path, "style_mix")
        psi = float(defaults["truncation_psi"][0])
        cutoff = int(defaults["truncation_cutoff"][0])

    def ask(signature, given, loaded=loaded):  # which keeps its variables alive
        tensors = {name: tf.constant(x) for name, x in given.items()}
        try:
            (output,) = loaded.signatures[signature](**tensors).values()
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(error.message) from error
        return output.numpy()

    return ServedModel(
        ask, shapes, path.name, "SavedModel", psi=psi, cutoff=cutoff, mean=mean
    )


def _shapes(call):
    """{input or output: [-1, ...]} of a signature."""
    tensors = call.structured_input_signature[1] | call.structured_outputs
    return {
        name: [-1 if d is None else d for d in x.shape]
        for name, x in tensors.items()
        if x.shape.rank is not None
    }


def remote(client, title, *, timeout=60.0, retries=1):
    """The `ServedModel` behind a client of `model_servers`."""
    import model_servers

    def ask(signature, given):
        return model_servers.patiently(
            lambda: client.predict(signature, given, timeout), retries
        )

    shapes = model_servers.patiently(lambda: client.shapes(timeout), retries)
    return ServedModel(ask, shapes, title, "model server")
