#!/usr/bin/env python3
"""Writes what a reader should find in some GGUF files. Needs the Python packages gguf and numpy.

    python3 testdata/checkpoint_values/make.py MODEL.gguf ...        # rewrites values.txt beside this script

Lines of values.txt: "file NAME TENSORS ARCHITECTURE TOKENS MERGES", then for some tensors of that file
"value TENSOR STORAGE ROWS COLUMNS ROW COLUMN F32" with the number in hexadecimal.
"""
import pathlib
import sys

import gguf
import numpy as np


def length(reader, key):
    return len(reader.fields[key].data) if key in reader.fields else 0


def describe(path):
    reader = gguf.GGUFReader(path)
    architecture = reader.fields["general.architecture"].contents()
    tokens, merges = length(reader, "tokenizer.ggml.tokens"), length(reader, "tokenizer.ggml.merges")
    yield f"file {path.name} {len(reader.tensors)} {architecture} {tokens} {merges}"
    random = np.random.default_rng(7)
    seen = {}
    for tensor in reader.tensors:
        seen[tensor.tensor_type] = seen.get(tensor.tensor_type, 0) + 1
        if seen[tensor.tensor_type] > 3:
            continue
        columns = int(tensor.shape[0])
        stored = tensor.data.reshape(-1, tensor.data.shape[-1])
        rows = stored.shape[0]
        for row in sorted({0, int(random.integers(rows)), rows - 1}):
            values = gguf.quants.dequantize(np.array(stored[row:row + 1]), tensor.tensor_type).ravel()
            column = int(random.integers(columns))
            value = float(np.float32(values[column]))
            yield f"value {tensor.name} {tensor.tensor_type.name} {rows} {columns} {row} {column} {value.hex()}"


def main():
    lines = [line for name in sys.argv[1:] for line in describe(pathlib.Path(name))]
    (pathlib.Path(__file__).parent / "values.txt").write_text("\n".join(lines) + "\n")


main()
