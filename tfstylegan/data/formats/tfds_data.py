"""A data set of tensorflow-datasets: `tfds:NAME[:SPLIT]`, as in `tfds:mnist:train`."""

import numpy as np

from tfstylegan.data import collection
from tfstylegan.data.tfrecords import tfrecord_file


class TfdsData:
    """The examples of a split in the order of its files, read from them at random."""

    def __init__(self, name: str, files: list, image: str, classes):
        self.root = f"tfds:{name}"
        self.description = f"tfds {name}"
        self._image = image
        self._places = []  # file, index of the record in it
        for instruction in files:
            file = tfrecord_file.TFRecordFile(instruction.filename)
            last = len(file)
            if instruction.take >= 0:
                last = min(last, instruction.skip + instruction.take)
            self._places += [(file, i) for i in range(instruction.skip, last)]
        self.names = [f"example {i}" for i in range(len(self))]
        self.labels = collection.no_labels(len(self))
        if classes is not None:
            labels = [self._label(i) for i in range(len(self))]
            self.labels = collection.one_hot(labels, classes.num_classes)

    def __len__(self) -> int:
        return len(self._places)

    def read(self, index: int) -> bytes:
        data = self._example(index)[self._image].bytes_list.value
        if len(data) != 1:
            raise ValueError(f"{len(data)} images in one example")
        return data[0]

    def _label(self, index: int) -> int:
        values = self._example(index)["label"].int64_list.value
        if len(values) != 1:
            raise ValueError(f"example {index} has {len(values)} labels")
        return values[0]

    def _example(self, index: int):
        file, place = self._places[index]
        return tfrecord_file.parse_example(file.read(place))


def open_collection(name: str, *, labels: bool = True) -> TfdsData:
    """Opens NAME[:SPLIT], SPLIT "train" unless given; prepares the data set if needed.

    The image is the feature "image", or the only one that is one; the feature "label",
    where it is a class, becomes one-hot labels. Raises ValueError for names that
    tensorflow-datasets does not know and for data sets without such an image.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError:
        raise ValueError(
            "needs the package tensorflow-datasets: pip install 'tfstylegan[data]'"
        ) from None
    dataset, _, split = name.partition(":")
    try:
        builder = tfds.builder(dataset)
        builder.download_and_prepare()
        files = builder.info.splits[split or "train"].file_instructions
    except (ValueError, KeyError, tfds.core.DatasetNotFoundError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise ValueError(
            f"is kept as {builder.info.file_format.value}, not as tfrecord"
        )
    features = dict(builder.info.features.items())
    found = [k for k, v in features.items() if isinstance(v, tfds.features.Image)]
    image = "image" if "image" in found else found[0] if len(found) == 1 else None
    if image is None or features[image].np_dtype != np.uint8:
        raise ValueError(f"has no 8-bit feature image, but {', '.join(features)}")
    classes = features.get("label") if labels else None
    if not isinstance(classes, tfds.features.ClassLabel):
        classes = None
    return TfdsData(name, files, image, classes)
