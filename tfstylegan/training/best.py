"""The models that were best by a metric, each a model directory beside the run.

`best-000040` (kimg; `best-000040_512` with images beyond) holds networks and best.json;
`best` is a link to the best of them. A folder only has its name once it is complete.
"""

import json
import math
import os
import pathlib
import shutil

from tfstylegan.networks import storage

LINK = "best"
FILE = "best.json"
PARTIAL = ".best.partial"


class Best:
    """Keeps the models with the best values of a metric.

    Args:
      workdir: folder of the run.
      networks: a function that gives the `storage.Networks` as they are now.
      keep: how many.
      most: whether the greatest values are the best, not the least.
    """

    def __init__(self, workdir, networks, *, keep, most=False):
        self.workdir = pathlib.Path(workdir)
        self.networks = networks
        self.keep = keep
        self.most = most

    def offer(self, metric, value, cur_nimg):
        """Keeps the networks if they are among the best; whether they are.

        Those that have seen no image never are. A value of the same number of images
        replaces the old one. Raises OSError where they cannot be written; the others
        stay then.
        """
        if not (self.keep and cur_nimg and math.isfinite(value)):
            return False
        rivals = [x for x in self.entries(metric) if x["cur_nimg"] != cur_nimg]
        mine = {"metric": metric, "value": value, "cur_nimg": cur_nimg}
        ranked = sorted([*rivals, mine], key=self._rank)[: self.keep]
        if mine not in ranked:
            return False
        self._write(mine)
        partial = self.workdir / f"{PARTIAL}.link"
        partial.unlink(missing_ok=True)
        partial.symlink_to(_name(ranked[0]["cur_nimg"]))
        os.replace(partial, self.workdir / LINK)
        for path in self._folders():
            if path.name not in [_name(x["cur_nimg"]) for x in ranked]:
                _discard(path)
        return True

    def entries(self, metric):
        """{"metric", "value", "cur_nimg"} of the models that are kept, best first."""
        found = []
        for path in self._folders():
            if (path / FILE).exists():  # else its deletion was cut off
                entry = json.loads((path / FILE).read_text())
                if entry["metric"] == metric:  # another one compares with nothing
                    found.append(entry)
        return sorted(found, key=self._rank)

    def clear(self):
        """For a run that starts anew in a folder where one was broken off."""
        (self.workdir / LINK).unlink(missing_ok=True)
        for path in self._folders():
            _discard(path)

    def _write(self, entry):
        partial = self.workdir / PARTIAL
        shutil.rmtree(partial, ignore_errors=True)
        storage.save_networks(partial, self.networks())
        (partial / FILE).write_text(json.dumps(entry))
        final = self.workdir / _name(entry["cur_nimg"])
        if final.exists():
            _discard(final)
        partial.replace(final)

    def _rank(self, entry):
        value = -entry["value"] if self.most else entry["value"]
        return value, entry["cur_nimg"]

    def _folders(self):
        return sorted(self.workdir.glob(f"{LINK}-*"))


def _discard(path):
    """Deletes a model, best.json first: nothing half deleted counts."""
    (path / FILE).unlink(missing_ok=True)
    shutil.rmtree(path)


def _name(cur_nimg):
    kimg, rest = divmod(cur_nimg, 1000)
    return f"{LINK}-{kimg:06d}_{rest:03d}" if rest else f"{LINK}-{kimg:06d}"
