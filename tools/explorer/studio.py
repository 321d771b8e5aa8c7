"""What the page does, without the page: pictures and files of a `View`."""

import io
import pathlib
import tempfile
import threading

import PIL.Image

from explorer import uploads, view
from tfstylegan import sampling
from tfstylegan.latents import codes as codes_lib

SMALLEST = 256  # side of an animation, whose pixels are enlarged to it
MAX_FRAMES = 60
FRAME_MS = 60


class Studio:
    """A model, its directions and its projection, shared by all users.

    It keeps nothing of any of them: a request brings its whole `View`. One image is
    made at a time.

    Args:
      model: as `local.LocalModel` describes it.
      directions: `Directions`, or None.
      projection: a `projecting.Projection`, or None.
      max_bytes: of an uploaded file.
    """

    def __init__(
        self, model, directions=None, projection=None, max_bytes=uploads.MAX_BYTES
    ):
        self.model = model
        self.directions = directions
        self.projection = projection
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def image(self, seen):
        """uint8 [H, W, C] of a `View`."""
        with self._lock:
            return self.model.image(seen, self.directions)

    def sources(self, seen):
        """The images of A and B, nothing done to them."""
        return self.image(seen.alone()), self.image(seen.alone(other=True))

    def image_file(self, seen):
        """(name, content) of the image as PNG."""
        return f"{seen.name}.png", sampling.png(self.image(seen))

    def latents_file(self, seen):
        """(name, content) of its codes, which every tool takes."""
        with self._lock:
            codes = self.model.codes(seen, self.directions)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "latents.npz"
            codes_lib.save(path, codes)
            return f"{seen.name}.npz", path.read_bytes()

    def target(self, path):
        """uint8 [H, W, C] of an uploaded file; ValueError with a sentence."""
        channels = self.model.generator.synthesis.channels
        return uploads.read(
            path, size=self.model.size, channels=channels, max_bytes=self._max_bytes
        )

    def animation(self, seen, frames):
        """Yields how many frames are done, at the end (name, GIF).

        The way goes from A to B and back; what else is done to the image stays.
        """
        if not isinstance(frames, int) or not 2 <= frames <= MAX_FRAMES:
            raise ValueError(f"frames must be from 2 to {MAX_FRAMES}; got {frames!r}")
        pictures = []
        for i in range(frames):
            image = self.image(view.along(seen, i / (frames - 1)))
            pictures.append(_enlarged(image))
            yield len(pictures)
        content = io.BytesIO()
        pictures += pictures[-2:0:-1]
        pictures[0].save(
            content,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=FRAME_MS,
            loop=0,
        )
        yield f"{view.along(seen, 1.0).name}.gif", content.getvalue()


def _enlarged(image):
    """Pillow's image of uint8 [H, W, C], its pixels squares where it is small."""
    picture = PIL.Image.open(io.BytesIO(sampling.png(image, 0))).convert("RGB")
    scale = max(1, SMALLEST // min(picture.size))
    size = tuple(side * scale for side in picture.size)
    return picture.resize(size, PIL.Image.Resampling.NEAREST)
