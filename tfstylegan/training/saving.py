"""The checkpoints of a run: what is saved when, read at a start, and gone back to."""

import pathlib

from tfstylegan import checkpoints, rng
from tfstylegan.training import safety, transfer

ROLLBACKS = "rollbacks"  # among the notes of a checkpoint


class Saves:
    """Checkpoints of a `state.State` in a folder, which the chief alone looks at.

    Beside the variables a checkpoint holds how often the run has gone back to one:
    random numbers depend on it, or it would fail again in the same way.

    All workers call the same methods: what the chief reads it shares.

    Args:
      state: a `state.State`.
      folder: where the checkpoints lie.
      workers: a `workers.Workers`.
      keep: how many, the newest ones, stay.
    """

    def __init__(self, state, folder, workers, *, keep):
        self.state = state
        self.folder = pathlib.Path(folder)
        self.workers = workers
        self.keep = keep
        self.checkpoint = state.checkpoint()
        self.newest = None  # images seen at the last checkpoint
        self.rollbacks = 0

    def restore(self, origin=""):
        """Puts a fresh state where the run stands; whether there is a checkpoint.

        `origin`: a run or model whose networks a new run starts with, "" without.
        """
        if self.workers.is_chief:
            self.newest = checkpoints.newest_sound(self.folder)
            if self.newest is not None:
                self._read()
                notes = checkpoints.notes_of(self.folder, self.newest)
                self.rollbacks = notes.get(ROLLBACKS, 0)
            elif origin:
                transfer.take_over(self.state, origin)
        return self._share()

    def go_back(self):
        """Reads the newest sound checkpoint again, and counts it; whether there is one.

        The count goes on from this process' own, not from what the checkpoint says.
        """
        if self.workers.is_chief:
            try:
                self.newest = checkpoints.newest_sound(self.folder)
            except ValueError:  # all are damaged, which has been logged
                self.newest = None
            if self.newest is not None:
                self._read()
                self.rollbacks += 1
        return self._share()

    def save(self, step, cur_nimg):
        """Writes a checkpoint unless this one is there.

        Raises OSError where it cannot be written, Diverged where the state is not
        finite, workers.Differ where the replicas are not equal: nothing that was there
        is lost.
        """
        self.workers.check_equal(self.state.variables(), cur_nimg)
        if self.newest == cur_nimg:
            return
        fault = safety.fault_of(self.state)
        if fault:
            raise safety.Diverged(f"no checkpoint was written: {fault}")
        self.state.step.assign(step)
        self.state.cur_nimg.assign(cur_nimg)
        if self.workers.is_chief:
            notes = {ROLLBACKS: self.rollbacks} if self.rollbacks else {}
            checkpoints.write(
                self.checkpoint, self.folder, cur_nimg, keep=self.keep, notes=notes
            )
        self.newest = cur_nimg

    def seed(self, base):
        """Of all random numbers: `base`, or one for each time that it has gone back."""
        again = self.rollbacks
        return rng.child(base, f"again/{again}") if again else base

    def describe(self):
        """One clause about the newest checkpoint."""
        if self.newest is None:
            return f"there is no sound checkpoint in {self.folder}"
        return (
            f"the newest checkpoint is of kimg {self.newest / 1000:g}: "
            f"{checkpoints.path_of(self.folder, self.newest)}"
        )

    def manifest(self):
        """The file that seals the newest checkpoint."""
        return pathlib.Path(checkpoints.path_of(self.folder, self.newest) + ".json")

    def _read(self):
        path = checkpoints.path_of(self.folder, self.newest)
        self.checkpoint.read(path).assert_consumed()

    def _share(self):
        """What the chief has; whether it was read of a checkpoint."""
        self.workers.share(self.state.variables().values())
        newest = self.workers.of_chief(-1 if self.newest is None else self.newest)
        self.newest = None if newest < 0 else newest
        self.rollbacks = self.workers.of_chief(self.rollbacks)
        return self.newest is not None
