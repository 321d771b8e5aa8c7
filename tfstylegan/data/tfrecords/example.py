"""tf.train.Example without TensorFlow: one image with its name and label."""

import functools
from typing import NamedTuple

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

Field = descriptor_pb2.FieldDescriptorProto


class Example(NamedTuple):
    """What a record holds."""

    image: bytes  # a PNG or WebP file
    name: str
    label: int | np.ndarray | None  # class, float32 [T], or none


def encode(example: Example) -> bytes:
    """A serialised tf.train.Example; the same bytes for the same example."""
    proto = _message_class()()
    feature = proto.features.feature
    feature["image"].bytes_list.value.append(example.image)
    name = example.name.encode(errors="surrogateescape")
    feature["name"].bytes_list.value.append(name)
    if isinstance(example.label, int):
        feature["label"].int64_list.value.append(example.label)
    elif example.label is not None:
        feature["label"].float_list.value.extend(example.label.tolist())
    return proto.SerializeToString(deterministic=True)


def decode(data: bytes) -> Example:
    """Reverts `encode`; ValueError with a short reason for anything else."""
    try:
        feature = _message_class().FromString(data).features.feature
    except message.DecodeError:
        raise ValueError("holds no tf.train.Example") from None
    for key in ("image", "name"):
        if key not in feature or len(feature[key].bytes_list.value) != 1:
            raise ValueError(f"holds no {key}")
    label = None
    if "label" in feature:
        classes = feature["label"].int64_list.value
        numbers = feature["label"].float_list.value
        label = int(classes[0]) if classes else np.array(numbers, np.float32)
    name = feature["name"].bytes_list.value[0].decode(errors="surrogateescape")
    return Example(feature["image"].bytes_list.value[0], name, label)


@functools.cache
def _message_class():
    """The protobuf class, of TensorFlow's example.proto and feature.proto."""
    file = descriptor_pb2.FileDescriptorProto(
        name="tfstylegan/example.proto", package="tensorflow", syntax="proto3"
    )

    def add(parent, name, *fields):
        type_ = parent.add(name=name)
        for number, (field, kind, options) in enumerate(fields, 1):
            reference = {} if isinstance(kind, int) else {"type_name": kind}
            code = kind if isinstance(kind, int) else Field.TYPE_MESSAGE
            options = {"label": Field.LABEL_OPTIONAL, **options}
            type_.field.add(
                name=field, number=number, type=code, **reference, **options
            )
        return type_

    many, choice = {"label": Field.LABEL_REPEATED}, {"oneof_index": 0}
    add(file.message_type, "BytesList", ("value", Field.TYPE_BYTES, many))
    add(file.message_type, "FloatList", ("value", Field.TYPE_FLOAT, many))
    add(file.message_type, "Int64List", ("value", Field.TYPE_INT64, many))
    feature = add(
        file.message_type,
        "Feature",
        ("bytes_list", ".tensorflow.BytesList", choice),
        ("float_list", ".tensorflow.FloatList", choice),
        ("int64_list", ".tensorflow.Int64List", choice),
    )
    feature.oneof_decl.add(name="kind")
    entry = ".tensorflow.Features.FeatureEntry"
    features = add(file.message_type, "Features", ("feature", entry, many))
    pair = add(
        features.nested_type,
        "FeatureEntry",
        ("key", Field.TYPE_STRING, {}),
        ("value", ".tensorflow.Feature", {}),
    )
    pair.options.map_entry = True
    add(file.message_type, "Example", ("features", ".tensorflow.Features", {}))
    pool = descriptor_pool.DescriptorPool()  # its own: TensorFlow fills the common one
    pool.Add(file)
    return message_factory.GetMessageClass(
        pool.FindMessageTypeByName("tensorflow.Example")
    )
