"""An LMDB of encoded images: LSUN's, and those of StyleGAN2's PyTorch ports (FFHQ)."""

import os
import pathlib
import re
import threading
import weakref

from tfstylegan.data import collection

DATA = "data.mdb"  # in the folder of a database
SIZED = re.compile(rb"(\d+)-\d+")  # 256-00000: image 0 with 256 pixels a side

_OPEN = weakref.WeakValueDictionary()  # databases by their real path
_LOCK = threading.Lock()


class LmdbFile:
    """The values of a database in the order of their keys."""

    def __init__(self, path: pathlib.Path, environment, keys: list[bytes]):
        self.root = str(path)
        self.description = f"lmdb {path}"
        self.names = [key.decode("ascii", "backslashreplace") for key in keys]
        self.labels = collection.no_labels(len(keys))
        self._environment = environment
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def read(self, index: int) -> bytes:
        with self._environment.begin(buffers=True) as transaction:
            value = transaction.get(self._keys[index])
            if value is None:
                raise ValueError("no longer in the database")
            collection.check_size(len(value))
            return bytes(value)


def is_dataset(path: str | os.PathLike) -> bool:
    """Whether a folder holds an LMDB."""
    return (pathlib.Path(path) / DATA).is_file()


def open_collection(path: str | os.PathLike) -> LmdbFile:
    """Opens a database: a folder with data.mdb, or a file.

    Where every key is `<size>-<number>`, but for "length", the largest size counts.
    Raises ValueError for what is no database or holds nothing.
    """
    try:
        import lmdb
    except ImportError:
        raise ValueError(
            "needs the package lmdb: pip install 'tfstylegan[data]'"
        ) from None
    path = pathlib.Path(path)
    if path.is_dir() and not is_dataset(path):
        raise ValueError(f"holds no {DATA}")
    try:
        environment = _environment(lmdb, path)
        with environment.begin() as transaction:
            keys = list(transaction.cursor().iternext(values=False))
    except lmdb.Error as error:
        raise ValueError(f"is no LMDB or a damaged one ({error})") from None
    keys = _largest(keys)
    if not keys:
        raise ValueError("holds no image")
    return LmdbFile(path, environment, keys)


def _environment(lmdb, path: pathlib.Path):
    """The open database; a process may open one only once."""
    key = os.path.realpath(path)
    with _LOCK:
        environment = _OPEN.get(key)
        if environment is None:
            environment = _OPEN[key] = lmdb.open(
                key,
                subdir=path.is_dir(),
                readonly=True,
                lock=False,  # read-only media; nobody writes while we train
                readahead=False,  # reads are in random order
                max_spare_txns=32,
            )
        return environment


def _largest(keys: list[bytes]) -> list[bytes]:
    sized = {key: SIZED.fullmatch(key) for key in keys if key != b"length"}
    if not all(sized.values()):
        return keys
    largest = max((int(match[1]) for match in sized.values()), default=0)
    return [key for key, match in sized.items() if int(match[1]) == largest]
