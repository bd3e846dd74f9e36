"""Triton's `ModelConfig`, as far as exports use it: names, numbers and types of its model_config.proto.

Triton reads config.pbtxt as protobuf's text format, and so does this: an unknown field or a wrong type is an error.
`scripts/bench_targets.py` gives the same files to a real server.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

INT64, FP32, STRING = 9, 11, 13
_DATA_TYPES = {"TYPE_INVALID": 0, "TYPE_INT64": INT64, "TYPE_FP32": FP32, "TYPE_STRING": STRING}
_REPEATED = "repeated "
# Message: {field: (number, type)}; a type that is no word of protobuf is a message, or the enum DataType.
_MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "Tensor": {"name": (1, "string"), "data_type": (2, "DataType"), "dims": (3, "repeated int64")},
    "Output": {
        "name": (1, "string"),
        "data_type": (2, "DataType"),
        "dims": (3, "repeated int64"),
        "label_filename": (4, "string"),
    },
    "DynamicBatching": {
        "preferred_batch_size": (1, "repeated int32"),
        "max_queue_delay_microseconds": (2, "uint64"),
    },
    "Latest": {"num_versions": (1, "uint32")},
    "VersionPolicy": {"latest": (1, "Latest")},
    "Mapping": {"key": (1, "string"), "value": (2, "string")},
    "Step": {
        "model_name": (1, "string"),
        "model_version": (2, "int64"),
        "input_map": (3, "repeated Mapping"),
        "output_map": (4, "repeated Mapping"),
    },
    "Ensemble": {"step": (1, "repeated Step")},
    "ModelConfig": {
        "name": (1, "string"),
        "platform": (2, "string"),
        "version_policy": (3, "VersionPolicy"),
        "max_batch_size": (4, "int32"),
        "input": (5, "repeated Tensor"),
        "output": (6, "repeated Output"),
        "dynamic_batching": (11, "DynamicBatching"),
        "ensemble_scheduling": (15, "Ensemble"),
        "backend": (17, "string"),
    },
}


def parse(text: str) -> Any:
    """The configuration; raises text_format.ParseError for a text that Triton would refuse."""
    return text_format.Parse(text, _model_config()())


@cache
def _model_config() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
    enum = file.enum_type.add(name="DataType")
    for name, number in _DATA_TYPES.items():
        enum.value.add(name=name, number=number)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))


def _add(message: Any, name: str, number: int, kind: str) -> None:
    types = descriptor_pb2.FieldDescriptorProto
    bare = kind.removeprefix(_REPEATED)
    label = types.LABEL_REPEATED if kind != bare else types.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if bare[0].islower():
        field.type = getattr(types, f"TYPE_{bare.upper()}")
    else:
        field.type = types.TYPE_ENUM if bare == "DataType" else types.TYPE_MESSAGE
        field.type_name = f".inference.{bare}"
