"""Projections of many targets, batch by batch, of which nothing is lost."""

import dataclasses
import hashlib
import json
import pathlib
import shutil

import numpy as np

from tfstylegan.latents import codes as codes_lib
from tfstylegan.latents import files, nearest, projection, statistics

FOLDER = ".projection"  # of what is not yet complete, inside the results' folder
STATE = "projection"  # kind of file


@dataclasses.dataclass
class Projected:
    """What became of N targets.

    codes: `codes.Codes`, with noise where it was optimised.
    images: float32 [N, H, W, C], theirs.
    distances: float32 [N], from the targets.
    """

    codes: codes_lib.Codes
    images: np.ndarray
    distances: np.ndarray


class Projecting:
    """Projects targets to a generator; the same call again goes on where one stopped.

    Args:
      generator: a `Generator`.
      perceptual: a `perceptual.Perceptual`.
      options: `projection.Options`.
      outdir: folder in which a folder keeps what is not yet complete.
      candidates: samples of which the nearest is the start; 0: start at the mean.
      batch: targets at once.
      save_steps: how often the state is saved.
      tell: called with (batch, what, done, total) as work goes on.
      watch: called with (batch, `Projector`) before each step and after the last.
    """

    def __init__(
        self,
        generator,
        perceptual,
        options,
        outdir,
        *,
        candidates=10_000,
        batch=4,
        save_steps=100,
        tell=lambda *_: None,
        watch=lambda *_: None,
    ):
        self.generator = generator
        self.perceptual = perceptual
        self.options = options
        self.folder = pathlib.Path(outdir) / FOLDER
        self.candidates = candidates
        self.batch = batch
        self.save_steps = save_steps
        self.tell, self.watch = tell, watch
        self.w = statistics.sample_w(generator, max(candidates, statistics.SAMPLES))
        self.mean, self.spread = statistics.mean_and_spread(
            self.w[: statistics.SAMPLES]
        )
        self.projector = None  # of the batch that was worked on last

    def run(self, targets, names):
        """`Projected` of targets float32 [N, H, W, C] in [-1, 1] with N names."""
        self._check_folder(targets, names)
        found = []
        for start in range(0, len(targets), self.batch):
            rows = range(start, min(start + self.batch, len(targets)))
            found.append(self._batch(targets, names, rows))
        return _joined(found)

    def forget(self):
        """Removes what was kept in case of an interruption; call it at the end."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _batch(self, targets, names, rows):
        number = rows[0] // self.batch
        done = self.folder / f"{number:05d}.npz"
        if done.is_file():
            return self._read(done)
        projector = self._projector(targets[rows[0] : rows[-1] + 1], rows, number)
        self.projector = projector
        state = self.folder / f"{number:05d}-state.npz"
        if state.is_file():
            projector.restore(files.read(state, STATE)[0])
        total = self.options.steps
        while projector.steps_done < total:
            self.watch(number, projector)
            projector.step()
            self.tell(number, "steps", projector.steps_done, total)
            if projector.steps_done % self.save_steps == 0:
                files.write(state, STATE, projector.state(), {})
        self.watch(number, projector)
        images, distances = projector.measure()
        codes = codes_lib.Codes(
            ws=projector.ws(),
            names=[names[row] for row in rows],
            noise=projector.noise_maps(),
            about={"projection": self._about(), "distances": distances.tolist()},
        )
        codes_lib.save(done, codes)
        state.unlink(missing_ok=True)
        return Projected(codes, images, distances)

    def _projector(self, targets, rows, number):
        start_file = self.folder / f"{number:05d}-start.npz"
        start = np.tile(self.mean, [len(rows), 1])  # [T, D]
        if start_file.is_file():
            start = files.read(start_file, STATE)[0]["w"]
        elif self.candidates:
            looked = 0

            def progress(count):
                nonlocal looked
                looked += count
                self.tell(number, "samples", looked, self.candidates)

            start, _ = nearest.nearest(
                self.generator,
                self.perceptual,
                targets,
                self.w[: self.candidates],
                progress,
            )
            files.write(start_file, STATE, {"w": start}, {})
        return projection.Projector(
            self.generator,
            self.perceptual,
            targets,
            start,
            spread=self.spread,
            numbers=rows,
            options=self.options,
        )

    def _read(self, file):
        codes = codes_lib.load(file, self.generator)
        noise = codes.noise or [x.numpy() for x in self.generator.synthesis.fixed_noise]
        wide = self.generator.in_float32()
        images = wide.synthesis(codes.ws, noise=noise).numpy()
        return Projected(codes, images, np.array(codes.about["distances"], np.float32))

    def _about(self):
        return {
            **dataclasses.asdict(self.options),
            "candidates": self.candidates,
            **self.perceptual.manifest,
        }

    def _check_folder(self, targets, names):
        """Forgets what is there of other targets, options or another model."""
        digest = hashlib.sha256(json.dumps([self._about(), self.batch, names]).encode())
        digest.update(np.ascontiguousarray(targets).tobytes())
        for variable in self.generator.variables:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        told = self.folder / "digest"
        if told.is_file() and told.read_text() == digest.hexdigest():
            return
        self.forget()
        self.folder.mkdir(parents=True)
        told.write_text(digest.hexdigest())


def _joined(parts):
    """One `Projected` of several."""
    first = parts[0].codes
    noise = first.noise and [
        np.concatenate(maps) for maps in zip(*(part.codes.noise for part in parts))
    ]
    distances = np.concatenate([part.distances for part in parts])
    codes = codes_lib.Codes(
        ws=np.concatenate([part.codes.ws for part in parts]),
        names=[name for part in parts for name in part.codes.names],
        noise=noise,
        about={**first.about, "distances": distances.tolist()},
    )
    images = np.concatenate([part.images for part in parts])
    return Projected(codes, images, distances)
