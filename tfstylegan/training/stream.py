"""The batches of a run, shared out over replicas and workers."""

from tfstylegan.data import pipeline
from tfstylegan.training import replicas


class Stream:
    """Batches for `strategy.run` from any position of the run's stream of images.

    Every worker reads the rows of its own replicas, in the order of `replicas`.

    Args:
      source: a `data.sources.Source`.
      strategy: where to train.
      workers: a `workers.Workers`.
      mirror: whether half of the images are flipped.
    """

    def __init__(self, source, strategy, workers, *, mirror):
        self.source = source
        self.strategy = strategy
        self.workers = workers
        self.mirror = mirror
        self._key = self._batches = None

    def next(self, batch_size, seed, cur_nimg):
        """The global batch at `cur_nimg`, {"image", "label"}.

        With the batch size and seed of the call before it has to be the next one.
        Raises OSError where the data cannot be read.
        """
        if self._key != (batch_size, seed):
            self._key = batch_size, seed
            self._batches = self._from(batch_size, seed, cur_nimg)
        return pipeline.next_of(self._batches)

    def forget(self):
        """Before a call for another position."""
        self._key = self._batches = None

    def _from(self, batch_size, seed, cur_nimg):
        count, workers = self.strategy.num_replicas_in_sync, self.workers
        local = count // workers.count
        stream = pipeline.training_stream(
            self.source,
            batch_size=batch_size,
            rows=replicas.order(batch_size, count, workers.index * local, local),
            seed=seed,
            start_image=cur_nimg,
            mirror=self.mirror,
        )
        if workers.count == 1:
            return iter(self.strategy.experimental_distribute_dataset(stream))
        stream = stream.rebatch(batch_size // count)  # one replica's after the other
        return iter(self.strategy.distribute_datasets_from_function(lambda _: stream))
