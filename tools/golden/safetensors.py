# SPDX-License-Identifier: MIT
"""Reads and writes safetensors files with NumPy alone (Debian has no package for them)."""

import json
import os
import struct

import numpy as np

_TO_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
             "U8": "|u1"}
_TO_TAG = {np.dtype(code): tag for tag, code in _TO_NUMPY.items()}


def save(path, tensors, metadata=None):
    """Writes {name: array} and a {str: str} metadata to `path`, by way of a temporary file."""
    header, start = {}, 0
    if metadata:
        header["__metadata__"] = {str(k): str(v) for k, v in metadata.items()}
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    for name, array in arrays.items():
        end = start + array.nbytes
        header[name] = {"dtype": _TO_TAG[array.dtype], "shape": list(array.shape),
                        "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)     # tensors start on a multiple of 8
    with open(f"{path}.part", "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for array in arrays.values():
            file.write(array.tobytes())
    os.replace(f"{path}.part", path)


def load(path):
    """Returns ({name: array}, metadata) of the file at `path`."""
    with open(path, "rb") as file:
        data = file.read()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8:8 + size])
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + size + offset for offset in entry["data_offsets"])
        array = np.frombuffer(data[start:end], dtype=_TO_NUMPY[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"])
    return tensors, metadata
