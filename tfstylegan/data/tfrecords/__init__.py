"""Our own data sets: sharded TFRecords, written, read and checked."""
