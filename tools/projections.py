"""What the tools that project share: flags, targets, progress, and how fast it was."""

import contextlib
import time

import numpy as np
import pictures
import tqdm
import video
from absl import flags

flags.disclaim_key_flags()

DISTANCES = ("auto", "lpips", "discriminator", "pixels")
FRAME_STEPS = 10  # between frames of a video
FPS = 25
PAIRS = 10  # timed steps at most, each beside the networks alone


def define():
    """Flags of how to project."""
    flags.DEFINE_enum("space", "w", ["w", "w+"], "One w for all layers, or one each.")
    flags.DEFINE_enum(
        "noise", "optimise", ["optimise", "const"], "Noise maps; const: the model's."
    )
    define_distance()
    flags.DEFINE_integer("steps", 1000, "Steps of each projection.", 1)
    flags.DEFINE_integer(
        "candidates",
        10_000,
        "Samples, of which the nearest is the start; 0: the mean.",
        0,
    )
    flags.DEFINE_integer(
        "batch", None, "Targets at once; by default what fits.", 1, 1024
    )
    flags.DEFINE_integer("save_steps", 100, "Steps between saved states.", 1)
    flags.DEFINE_integer("projection_seed", 0, "Seed of all noise.", 0)


def define_distance():
    """Flag --distance, and those of the files that it may need."""
    flags.DEFINE_enum("distance", "auto", DISTANCES, "What projections make small.")
    pictures.define_detectors()


def options():
    """`projection.Options` of the flags."""
    from tfstylegan.latents import projection

    return projection.Options(
        space=flags.FLAGS.space,
        optimise_noise=flags.FLAGS.noise == "optimise",
        steps=flags.FLAGS.steps,
        seed=flags.FLAGS.projection_seed,
    )


def generated(networks):
    """(images float32 [N, H, W, C], names) of the codes that flags tell."""
    from tfstylegan import code_flags
    from tfstylegan.latents import rendering

    codes = code_flags.codes(networks)
    return rendering.Renderer(networks.G_ema).codes(codes), codes.names


def perceptual(networks, wanted):
    """The `perceptual.Perceptual` of a name of `DISTANCES`.

    One line says what "auto" chose.
    """
    from tfstylegan.latents import perceptual as perceptual_lib
    from tfstylegan.metrics import detectors
    from tfstylegan.metrics.detectors import discriminator, lpips

    if wanted in ("auto", "lpips"):
        try:
            where, download = flags.FLAGS.detector_dir, flags.FLAGS.download
            return perceptual_lib.lpips(lpips.load(where, download=download))
        except detectors.Unavailable as error:
            if wanted == "lpips":
                raise
            print(f"distance: pixels, as LPIPS is not there: {error}", flush=True)
    if wanted == "discriminator":
        if networks.D is None:
            raise ValueError("the model has no discriminator")
        return perceptual_lib.discriminator(discriminator.Discriminator(networks.D))
    return perceptual_lib.pixels()


class Runner:
    """Projects with a progress bar, and knows how fast that was."""

    def __init__(self, networks, outdir, how, *, films=False):
        from tfstylegan import sampling
        from tfstylegan.latents import projecting

        generator = networks.G_ema
        self._bar = self._shown = None
        self._outdir, self._films = outdir, contextlib.ExitStack() if films else None
        self._filmed, self._appends = None, []
        self._projecting = projecting.Projecting(
            generator,
            perceptual(networks, flags.FLAGS.distance),
            how,
            outdir,
            candidates=flags.FLAGS.candidates,
            batch=flags.FLAGS.batch or max(1, sampling.batch_size(generator) // 4),
            save_steps=flags.FLAGS.save_steps,
            tell=self._tell,
            watch=self._watch if films else lambda *_: None,
        )

    def run(self, targets, names):
        """`projecting.Projected` of targets."""
        self._targets, self._names = targets, names
        with (
            tqdm.tqdm(unit=" steps") as self._bar,
            self._films or contextlib.nullcontext(),
        ):
            return self._projecting.run(targets, names)

    def forget(self):
        """Removes what was kept in case of an interruption."""
        self._projecting.forget()

    def tell_speed(self):
        """Prints steps a second beside the floor: both take turns."""
        projector = self._projecting.projector
        if projector is None:
            return  # everything had been done before
        pairs = min(PAIRS, projector.options.steps // 10)
        step, alone, part = speeds(projector, pairs)
        batch = projector.w.shape[0]
        print(
            f"{step:.2f} steps/s of {batch} targets; the networks' forward and "
            f"backward alone {alone:.2f}: {part:.2f} of it"
        )

    def _tell(self, batch, what, done, total):
        if self._shown != (batch, what):
            self._shown = batch, what
            self._bar.reset(total=total)
            self._bar.set_description(f"batch {batch + 1}, {what}")
        self._bar.update(done - self._bar.n)

    def _watch(self, batch, projector):
        """Frames of a batch: the target beside what is there so far."""
        if self._filmed != batch:
            self._films.close()  # of the batch before: its files are whole
            self._filmed = batch
            first = batch * self._projecting.batch
            names = self._names[first : first + projector.w.shape[0]]
            self._appends = [
                self._films.enter_context(
                    video.writer([self._outdir / f"{name}.mp4"], FPS)
                )
                for name in names
            ]
        if projector.steps_done % FRAME_STEPS == 0:
            from tfstylegan import sampling

            first = batch * self._projecting.batch
            images, _ = projector.measure()
            for i, append in enumerate(self._appends):
                pair = np.stack([self._targets[first + i], images[i]])
                append(sampling.grid(pictures.enlarged(sampling.to_uint8(pair)), 2))


def speeds(projector, pairs):
    """(steps a second, those of the networks alone, the first's part of the second).

    Medians of pairs that take turns. The second is the floor of a step: see
    `Projector.networks_alone`.
    """
    seconds = []
    for _ in range(1 + max(1, pairs)):
        pair = []
        for work in (projector.step, projector.networks_alone):
            start = time.perf_counter()
            _wait(work())
            pair.append(time.perf_counter() - start)
        seconds.append(pair)
    step, alone = np.transpose(seconds[1:])  # the first ones trace
    return 1 / np.median(step), 1 / np.median(alone), np.median(alone / step)


def _wait(tensors):
    """Until they are computed, on whatever device."""
    for tensor in tensors if isinstance(tensors, list) else [tensors]:
        tensor.numpy()


def psnr(a, b):
    """Peak signal-to-noise ratio of uint8 images in dB; 99 for equal ones."""
    power = np.mean(np.square(a.astype(np.float64) - b))
    return float(min(99, 10 * np.log10(255**2 / max(power, 1e-9))))
