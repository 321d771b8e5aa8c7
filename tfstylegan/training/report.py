"""What a run shows: progress, stats.jsonl, TensorBoard and sample pictures."""

import contextlib
import dataclasses
import json
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tqdm
from tensorboard.plugins.hparams import api as hparams

from tfstylegan import metric_names, sampling
from tfstylegan.training import measured

TENSORBOARD_SIDE = 2048  # pixels; larger pictures are thinned out, the PNG is not


class Report:
    """Writes about a run into its workdir; knows nothing of how training works.

    What cannot be written, as on a full disk, is left out with a warning.

    Args:
      workdir: folder of the run.
      config: a `config.Config`.
      cur_nimg: images seen so far.
      facts: what stands in every tick's line of stats.jsonl, hence once for each
        checkpoint, as a run may go on under other circumstances.
    """

    def __init__(self, workdir, config, cur_nimg, facts):
        self.workdir = pathlib.Path(workdir)
        self.config = config
        self.facts = facts
        (self.workdir / "samples").mkdir(exist_ok=True)
        self.stats_file = self.workdir / "stats.jsonl"
        self.measured = measured.Measured(self.workdir)
        self._told = set()  # (name, images seen), where the run goes on
        self._forget_after(cur_nimg)
        self._writer = None  # of TensorBoard, once something is written
        self.progress = tqdm.tqdm(
            total=config.train.total_kimg,
            initial=min(cur_nimg / 1000, config.train.total_kimg),
            unit="kimg",
            mininterval=0.5 if sys.stderr.isatty() else 10,  # seconds; logs stay short
            bar_format="{l_bar}{bar}| {n:.1f}/{total:g} kimg "
            "[{elapsed}<{remaining}, {rate_inv_fmt}{postfix}]",
        )
        if not cur_nimg:
            with self._sparing():
                self._configuration()

    def lines(self):
        """What stats.jsonl holds: a dictionary for each line."""
        if not self.stats_file.exists():
            return []
        return [json.loads(line) for line in self.stats_file.read_text().splitlines()]

    def go_back(self, cur_nimg):
        """For a run that repeats what came after so many images."""
        self._forget_after(cur_nimg)
        self.advance(cur_nimg)

    def _forget_after(self, cur_nimg):
        """Drops lines of ticks that the run is about to repeat."""
        lines = []
        if self.stats_file.exists():
            lines = self.stats_file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if cur_nimg and _seen(line) <= cur_nimg]
        for line in kept:
            if _seen(line) == cur_nimg:
                self._told |= {(name, cur_nimg) for name in json.loads(line)}
        if lines:
            sampling.write_atomically(self.stats_file, "".join(kept).encode())
        # What is told in stats.jsonl stays; the rest will be measured again.
        self.measured.forget(
            lambda name, seen: (
                seen < cur_nimg
                or seen == cur_nimg
                and self.has(f"metric/{metric_names.first_value(name)}", seen)
            )
        )

    def _configuration(self):
        text = self.config.to_json()
        flat = {}
        for section, values in dataclasses.asdict(self.config).items():
            if isinstance(values, dict):
                flat |= {f"{section}.{name}": v for name, v in values.items()}
            else:
                flat[section] = values
        flat = {k: str(v) if isinstance(v, tuple) else v for k, v in flat.items()}
        with self.writer.as_default(step=0):
            _preformatted("config", text)
            hparams.hparams(flat)

    @property
    def writer(self):
        """TensorBoard's; may raise what writing raises."""
        if self._writer is None:
            folder = str(self.workdir / "tensorboard")
            self._writer = tf.summary.create_file_writer(folder)
        return self._writer

    def _close(self):
        """A writer that fails is done with as well: the next one has a new file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    @contextlib.contextmanager
    def _sparing(self):
        """Around what is written: training goes on without what cannot be."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            self.say(f"warning: not reported: {reason}; training goes on")
            # TensorBoard reads no further in a file that a record is torn in.
            with contextlib.suppress(tf.errors.OpError):
                self._close()

    def advance(self, cur_nimg):
        """Moves the progress bar."""
        kimg = min(cur_nimg / 1000, self.progress.total)  # the last batch may overshoot
        with contextlib.suppress(OSError):
            self.progress.update(kimg - self.progress.n)

    def say(self, text):
        """Prints a line without disturbing the progress bar."""
        with contextlib.suppress(OSError):  # the log may be on a full disk itself
            self.progress.write(text)

    def tick(self, tick, cur_nimg, scalars, histograms):
        """One line of statistics, in stats.jsonl and in TensorBoard."""
        with self._sparing():
            self._write(cur_nimg, scalars, {"tick": tick}, self.facts)
            with self.writer.as_default(step=cur_nimg):
                for name, values in histograms.items():
                    tf.summary.histogram(name, values)
            self.writer.flush()
        shown = {
            "G": scalars.get("loss/g_main", np.nan),
            "D": scalars.get("loss/d_main", np.nan),
        }
        with contextlib.suppress(OSError):
            self.progress.set_postfix({k: f"{v:.3f}" for k, v in shown.items()})

    def metrics(self, result, cur_nimg):
        """A metric as `suite.Suite.compute` gives it.

        Its values are a line of their own in stats.jsonl, and with their circumstances
        one in metrics.jsonl and a text in TensorBoard.
        """
        values = result["values"]
        with self._sparing():
            self.measured.append(result, cur_nimg)  # first, see `_forget_after`
            with self.writer.as_default(step=cur_nimg):
                _preformatted(
                    f"metric/{result['metric']}/circumstances",
                    json.dumps(result, indent=2),
                )
        self.scalars({f"metric/{name}": v for name, v in values.items()}, cur_nimg)
        for name, value in values.items():
            self.say(f"kimg {cur_nimg / 1000:<8g} {name} {value:.4g}")

    def scalars(self, scalars, cur_nimg):
        """Values that are not told at every tick, a line of their own."""
        with self._sparing():
            self._write(cur_nimg, scalars, {}, {})

    def _write(self, cur_nimg, scalars, number, facts):
        line = {**number, "cur_nimg": cur_nimg, "kimg": cur_nimg / 1000}
        measured.append(self.stats_file, {**line, **facts, **scalars})
        with self.writer.as_default(step=cur_nimg):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)

    def has(self, name, cur_nimg):
        """Whether a scalar had been told of here before the run went on."""
        return (name, cur_nimg) in self._told

    def picture(self, name, images, columns, cur_nimg):
        """A grid of uint8 images [N, H, W, C], as PNG and in TensorBoard."""
        canvas = sampling.grid(images, columns)
        kimg, rest = divmod(cur_nimg, 1000)
        number = f"{kimg:06d}_{rest:03d}" if rest else f"{kimg:06d}"
        factor = -(-max(canvas.shape[:2]) // TENSORBOARD_SIDE)
        shown = canvas[
            np.newaxis, ::factor, ::factor, : 3 if canvas.shape[-1] > 2 else 1
        ]
        with self._sparing():
            sampling.write_png(self.workdir / "samples" / f"{name}{number}.png", canvas)
            with self.writer.as_default(step=cur_nimg):
                tf.summary.image(name, shown)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Flushes what is buffered."""
        with contextlib.suppress(OSError):
            self.progress.close()
        with self._sparing():
            self._close()


def _preformatted(name, text):
    """A text for TensorBoard, which is to keep its lines: Markdown for code."""
    tf.summary.text(name, "\n".join(f"    {line}" for line in text.splitlines()))


def _seen(line):
    """Images seen at a line of stats.jsonl; a torn last line counts as the future."""
    try:
        return json.loads(line)["cur_nimg"]
    except (ValueError, KeyError):
        return float("inf")
