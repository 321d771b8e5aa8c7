"""What the names of metrics say: fid50k_full, classifier_kid5k, ppl2_wend.

Pure text: a wrong name is told before TensorFlow is loaded.
"""

import dataclasses
import re

DETECTORS = ("inception", "vgg16", "lpips", "celebahq")  # of the published metrics
DETECTORS += ("pixels", "classifier", "discriminator")  # that need no weights
# kind: what it measures, its published detector, what it needs of a detector
KINDS = {
    "pixel_frechet": ("Frechet distance of projected pixels", "pixels", "features"),
    "fid": ("Frechet inception distance", "inception", "features"),
    "kid": ("kernel inception distance", "inception", "features"),
    "is": ("inception score", "inception", "probabilities"),
    "pr": ("precision and recall", "vgg16", "features"),
    "dc": ("density and coverage", "vgg16", "features"),
    "ppl": ("perceptual path length", "lpips", "distance"),
    "ls": ("linear separability", "celebahq", "attributes"),
    "resolution_usage": ("part of each resolution in the image", None, None),
}
BY_ONE_NAME = ("pixel_frechet", "resolution_usage")  # with no choice of detector
COUNT = r"(?P<count>[1-9]\d*k?)"
# pr50k3 as published; pr3_500, as the k would be read as thousands in pr500k3
NEIGHBOURS = (
    r"(?:(?P<thousands>[1-9]\d*k)(?P<k>[1-9]\d*)"
    rf"|(?P<k_>[1-9]\d*)_{COUNT})(?P<full>_full)?"
)
NAMES = {
    "pixel_frechet": r"pixel_frechet",
    "fid": rf"fid{COUNT}(?P<full>_full)?",
    "kid": rf"kid{COUNT}(?P<full>_full)?",
    "is": rf"is{COUNT}",
    "pr": rf"pr{NEIGHBOURS}",
    "dc": rf"dc{NEIGHBOURS}",
    "ppl": rf"ppl(?P<uncropped>2?)_(?P<space>[zw])(?P<where>full|end)(_{COUNT})?",
    "ls": rf"ls(_{COUNT})?",
    "resolution_usage": rf"resolution_usage{COUNT}?",
}
EXAMPLES = "pixel_frechet, fid50k, fid50k_full, kid50k, is50k, pr50k3, dc50k5, "
EXAMPLES += "ppl_zfull, ppl2_wend, ls, resolution_usage; other numbers of images as in "
EXAMPLES += "fid5k, ppl2_wend_1k, pr3_500"
# Images where the name gives no number.
SAMPLES = {"ppl": 50_000, "ls": 200_000, "resolution_usage": 1024}
# What follows the name in that of the first value, where there are several.
FIRST = {"is": "_mean", "pr": "_precision", "dc": "_density", "ls": "_w"}
FIRST |= {"resolution_usage": "_finest"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """A parsed name.

    count: generated images, of path lengths pairs of them; None: as the caller says.
    full: all real images instead of as many as generated ones, and none mirrored.
    k: neighbour whose distance is the radius of a ball.
    """

    name: str
    kind: str
    detector: str | None  # None: the networks themselves are looked at
    count: int | None
    full: bool = False
    k: int | None = None
    space: str | None = None  # of paths: "z" or "w"
    ends: bool = False  # of paths, only their beginning
    crop: bool = False  # to the face, before distances are taken

    @property
    def needs(self):
        """What the detector must give."""
        return KINDS[self.kind][2]

    @property
    def description(self):
        return KINDS[self.kind][0]

    @property
    def more_is_better(self):
        """Whether the best generator is the one with the greatest value."""
        return self.kind in ("is", "pr", "dc")

    @property
    def ranks(self):
        """Whether it tells the better of two generators."""
        return self.kind != "resolution_usage"


def parse(name):
    """The `Metric` of a name; raises ValueError for one that says nothing.

    A prefix DETECTOR_ takes another detector than the published one, so that a plain
    name always means the published metric.
    """
    prefix, _, rest = name.partition("_")
    detector, plain = (prefix, rest) if prefix in DETECTORS else (None, name)
    matches = {kind: re.fullmatch(NAMES[kind], plain) for kind in KINDS}
    kind = next((kind for kind, match in matches.items() if match), None)
    if kind is None:
        raise ValueError(f"there is no metric {name!r}; there are {EXAMPLES}")
    found = matches[kind].groupdict()
    published = KINDS[kind][1]
    count = found.get("count") or found.get("thousands")
    k = found.get("k") or found.get("k_")
    if detector and (detector == published or kind in BY_ONE_NAME):
        raise ValueError(f"metric {name!r} is called {plain!r}")
    if detector in ("lpips", "celebahq"):
        raise ValueError(f"metric {name!r}: {detector} has no {KINDS[kind][2]} for it")
    return Metric(
        name=name,
        kind=kind,
        detector=detector or published,
        count=_number(count) or SAMPLES.get(kind),
        full=bool(found.get("full")),
        k=int(k) if k else None,
        space=found.get("space"),
        ends=found.get("where") == "end",
        crop=kind == "ppl" and not found["uncropped"],
    )


def first_value(name):
    """Name of a metric's first value, the one that stands for it."""
    return name + FIRST.get(parse(name).kind, "")


def _number(text):
    """12 of "12", 12000 of "12k"; None of None."""
    if text is None:
        return None
    return int(text[:-1]) * 1000 if text.endswith("k") else int(text)
