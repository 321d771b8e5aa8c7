"""What is wrong with a collection of images, told before it costs a training run."""

import collections
import dataclasses
import hashlib
import io
from collections.abc import Sequence
from typing import NamedTuple

from PIL import ImageCms

from tfstylegan.data import collection as collection_lib
from tfstylegan.data import images, recipe, similar

FEW_IMAGES = 1000
IMBALANCE = 10  # times that the largest class may have the images of the smallest


class Facts(NamedTuple):
    """Of one image; only `error` where it cannot be read."""

    error: str | None = None
    size: tuple[int, int] = (0, 0)  # H, W, upright
    mode: str = ""  # Pillow's
    transparent: bool = False
    turned: bool = False  # EXIF orientation
    frames: int = 1
    profile: str | None = None  # description of a colour profile other than sRGB
    pixels: bytes = b""  # hash of what is seen
    look: similar.Look | None = None


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `severity` "error" or "warning"."""

    kind: str
    severity: str
    text: str
    images: list[str]  # names


@dataclasses.dataclass(frozen=True)
class Report:
    """All findings; `keep` are the indices of the images that a cleaned set holds."""

    source: str
    images: int
    sizes: dict[str, int]
    modes: dict[str, int]
    classes: list[int]  # images of each; empty without classes
    findings: list[Finding]
    keep: list[int]

    def fails(self, *, strict: bool = False) -> bool:
        """Whether there are errors, or, where it is `strict`, any findings."""
        return any(strict or found.severity == "error" for found in self.findings)


def examine(
    source: collection_lib.Collection, *, radius: int = similar.RADIUS
) -> Report:
    """Looks at every image: `look` and then `diagnose`."""
    facts = [look(source, index) for index in range(len(source))]
    return diagnose(source, facts, radius=radius)


def look(source: collection_lib.Collection, index: int) -> Facts:
    """Decodes one image and says what it is."""
    try:
        data = source.read(index)
        image = recipe.decode(data)
    except (ValueError, OSError) as error:
        return Facts(error=str(error))
    colours = images.to_mode(image, "RGBA")
    content = hashlib.blake2b(repr(image.size).encode(), digest_size=16)
    content.update(colours.tobytes())
    return Facts(
        size=image.size[::-1],
        mode=image.mode,
        transparent=image.has_transparency_data,
        turned=isinstance(data, bytes) and image.format is None,
        frames=_frames(image),
        profile=_profile(image),
        pixels=content.digest(),
        look=similar.look(images.to_mode(image, "L")),
    )


def diagnose(
    source: collection_lib.Collection,
    facts: Sequence[Facts],
    *,
    radius: int = similar.RADIUS,
) -> Report:
    """Findings from the facts of all images.

    Perceptual copies are those within `radius` bits of the hash (`similar.copies`);
    a negative radius does not look for them.
    """
    good = [i for i, fact in enumerate(facts) if fact.error is None]
    exact = _exact_copies(facts, good)
    looks = [None if i in exact else fact.look for i, fact in enumerate(facts)]
    alike = similar.copies(looks, radius=radius) if radius >= 0 else {}
    sizes = collections.Counter("x".join(map(str, facts[i].size)) for i in good)
    modes = collections.Counter(facts[i].mode for i in good)
    classes = _class_counts(source.labels, good)
    findings = [
        _corrupt(source.names, facts),
        *_unlike(source.names, facts, good, sizes, modes),
        _copied("duplicate", "have the same pixels as", source, exact),
        _copied("similar", "look the same as", source, alike),
        *_few(len(good), classes),
    ]
    return Report(
        source=source.description,
        images=len(facts),
        sizes=dict(sizes.most_common()),
        modes=dict(modes.most_common()),
        classes=classes,
        findings=[finding for finding in findings if finding is not None],
        keep=[i for i in good if i not in exact and i not in alike],
    )


def _frames(image):
    try:
        return getattr(image, "n_frames", 1)
    except Exception:  # frames that nobody looks at may be broken in any way
        return 1


def _profile(image):
    """Description of an embedded colour profile other than sRGB."""
    data = image.info.get("icc_profile")
    if not data:
        return None
    try:
        text = ImageCms.getProfileDescription(io.BytesIO(data)).strip()
    except Exception:  # the profile may be anything
        return "unreadable"
    return None if "srgb" in text.lower() else text or "without a name"


def _exact_copies(facts, good):
    """{index: index of the first image with the same pixels}."""
    first, copies = {}, {}
    for i in good:
        original = first.setdefault(facts[i].pixels, i)
        if original != i:
            copies[i] = original
    return copies


def _class_counts(labels, good):
    one_hot = labels.shape[1] and ((labels == 0) | (labels == 1)).all()
    if not one_hot or not (labels.sum(axis=1) == 1).all():
        return []
    return labels[good].sum(axis=0).astype(int).tolist()


def _corrupt(names, facts):
    broken = [(names[i], fact.error) for i, fact in enumerate(facts) if fact.error]
    if not broken:
        return None
    text = f"cannot be read: {_list(f'{name} ({why})' for name, why in broken)}"
    return Finding("corrupt", "error", text, [name for name, _ in broken])


def _unlike(names, facts, good, sizes, modes):
    """Findings on what is not the same, or not plain, in all images."""
    common = [
        counter.most_common(1)[0][0] if counter else "" for counter in (sizes, modes)
    ]

    def finding(kind, text, holds):
        found = [names[i] for i in good if holds(facts[i])]
        return Finding(kind, "warning", text, found) if found else None

    def counted(counter):
        return (
            f"{len(counter)}: {_list(f'{x} ({n})' for x, n in counter.most_common())}"
        )

    profiles = collections.Counter(facts[i].profile for i in good if facts[i].profile)
    return [
        finding(
            "sizes",
            f"several sizes, {counted(sizes)}; named are those unlike the most",
            lambda fact: "x".join(map(str, fact.size)) != common[0],
        ),
        finding(
            "modes",
            f"several modes, {counted(modes)}; named are those unlike the most",
            lambda fact: fact.mode != common[1],
        ),
        finding(
            "transparency",
            "transparent images; laid over white unless there are 4 channels",
            lambda fact: fact.transparent,
        ),
        finding(
            "depth", "16 bits a pixel; reduced to 8", lambda f: f.mode.startswith("I")
        ),
        finding("animation", "only the first frame counts", lambda f: f.frames > 1),
        finding("rotation", "turned upright after their EXIF", lambda f: f.turned),
        finding(
            "profile",
            f"colour profiles other than sRGB, {counted(profiles)}; ignored unless "
            "converted with --srgb",
            lambda fact: fact.profile is not None,
        ),
    ]


def _copied(kind, relation, source, copies):
    if not copies:
        return None
    names, labels = source.names, source.labels
    pairs = sorted(copies.items())
    text = f"{relation} others: {_list(f'{names[i]} = {names[j]}' for i, j in pairs)}"
    clash = sum(bool((labels[i] != labels[j]).any()) for i, j in pairs)
    if clash:
        text += f"; {clash} of them with another label"
    return Finding(kind, "warning", text, [names[i] for i, _ in pairs])


def _few(count, classes):
    findings = []
    if not count:
        findings.append(Finding("few", "error", "no image can be read", []))
    elif count < FEW_IMAGES:
        text = f"{count} images are few: without augmentation D learns them by heart"
        findings.append(Finding("few", "warning", text, []))
    empty = [i for i, n in enumerate(classes) if not n]
    if empty:
        text = f"{len(empty)} classes have no image: {_list(map(str, empty))}"
        findings.append(Finding("classes", "warning", text, []))
    full = [n for n in classes if n]
    if full and max(full) > IMBALANCE * min(full):
        text = f"the largest class has {max(full)} images, the smallest {min(full)}"
        findings.append(Finding("balance", "warning", text, []))
    return findings


def _list(texts, most=3):
    texts = list(texts)
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")
