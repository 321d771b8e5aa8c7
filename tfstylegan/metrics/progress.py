"""How far a metric is, on standard error."""

import sys
from collections.abc import Callable, Iterable, Iterator

import tqdm

DELAY = 3  # seconds; what is over before shows no bar


def silent(batches: Iterable, *, title: str, total: int, size: Callable = len):
    """The batches, and nothing is shown."""
    del title, total, size
    return batches


def shown(
    batches: Iterable, *, title: str, total: int, size: Callable = len
) -> Iterator:
    """Yields the batches; a bar adds up their sizes, of `total` images in all."""
    interval = 0.1 if sys.stderr.isatty() else 30  # seconds; a log needs few lines
    with tqdm.tqdm(
        total=total, desc=title, unit=" images", mininterval=interval, delay=DELAY
    ) as bar:
        for batch in batches:
            yield batch
            bar.update(size(batch))
