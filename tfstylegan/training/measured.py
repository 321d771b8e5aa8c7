"""metrics.jsonl of a run: its metrics with what they were computed from."""

import errno
import json
import os
import pathlib

from tfstylegan import sampling

FILE = "metrics.jsonl"


class Measured:
    """A line for each metric of a run; `evaluate` adds lines of its own to the file.

    Args:
      workdir: folder of the run.
    """

    def __init__(self, workdir):
        self.workdir = pathlib.Path(workdir)
        self.file = self.workdir / FILE

    def append(self, result, cur_nimg):
        """Adds what `suite.Suite.compute` gave."""
        about = {"network": "trained", "model": str(self.workdir)}
        line = about | {"cur_nimg": cur_nimg, "during": "training"} | result
        append(self.file, line)

    def forget(self, stays):
        """Drops the run's own lines of which stays(metric, images seen) is false.

        A line that a kill has torn is dropped as well.
        """
        if not self.file.exists():
            return
        lines = self.file.read_text().splitlines(keepends=True)
        kept = [line for line in lines if _stays(line, stays)]
        if kept != lines:
            sampling.write_atomically(self.file, "".join(kept).encode())


def append(path, line):
    """Adds a dictionary as a line of JSON, whole or, with an OSError, not at all."""
    content = json.dumps(line).encode() + b"\n"
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            os.truncate(path, size)
            raise


def _stays(line, stays):
    try:
        read = json.loads(line)
    except ValueError:
        return False
    return read.get("during") != "training" or stays(read["metric"], read["cur_nimg"])
