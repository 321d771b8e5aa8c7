"""Where a run starts from: its newest checkpoint, or another run's networks."""

from tfstylegan import checkpoints
from tfstylegan.training import transfer


def restore(state, checkpoint, folder, origin, workers):
    """Puts a fresh state where the run stands, on all workers.

    Args:
      state: a `state.State`.
      checkpoint: its `tf.train.Checkpoint`.
      folder: of the run's checkpoints, which the chief alone looks at.
      origin: a run or model whose networks a new run starts with, "" without.
      workers: a `workers.Workers`.

    Returns the images seen at the checkpoint, None for a new run.
    """
    newest = None
    if workers.is_chief:
        newest = checkpoints.newest_sound(folder)
        if newest is not None:
            path = checkpoints.path_of(folder, newest)
            checkpoint.read(path).assert_consumed()
        elif origin:
            transfer.take_over(state, origin)
    workers.share(state.variables().values())
    number = workers.of_chief(-1 if newest is None else newest)
    return None if number < 0 else number
