"""Writes the GGUF files of a case."""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from . import metadata, vocabulary
from .tensors import encode, gguf_tensors


def write(case, model, folder: Path) -> list[str]:
    tensors = gguf_tensors(case, model)
    files = []
    for kind in case.types:
        path = folder / f"{case.name}-{kind}.gguf"
        writer = gguf.GGUFWriter(path, case.gguf_arch)
        metadata.add_to(writer, case, kind)
        vocabulary.add_to(writer)
        for t in tensors:
            if not t.is_matrix:
                writer.add_tensor(t.name, t.values)
            elif kind == "F16":
                writer.add_tensor(t.name, t.values.astype(np.float16))
            else:
                writer.add_tensor(t.name, encode(t.values, kind), raw_dtype=Type[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        files.append(path.name)
    return files
