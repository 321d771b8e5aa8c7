"""The batches of a run, shared out over replicas and workers."""

from tfstylegan.data import pipeline
from tfstylegan.training import replicas


def batches(source, strategy, workers, *, batch_size, **options):
    """Iterator of {"image", "label"} for `strategy.run`, each of a global batch.

    Every worker reads the rows of its own replicas, in the order of `replicas`.

    Args:
      source: a `data.sources.Source`.
      strategy: where to train.
      workers: a `workers.Workers`.
      batch_size: global batch.
      **options: of `pipeline.training_stream`.
    """
    count = strategy.num_replicas_in_sync
    local = count // workers.count
    rows = replicas.order(batch_size, count, workers.index * local, local)
    stream = pipeline.training_stream(
        source, batch_size=batch_size, rows=rows, **options
    )
    if workers.count == 1:
        return iter(strategy.experimental_distribute_dataset(stream))
    stream = stream.rebatch(batch_size // count)  # one replica's after the other
    return iter(strategy.distribute_datasets_from_function(lambda context: stream))
