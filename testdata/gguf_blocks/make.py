#!/usr/bin/env python3
"""Writes golden values of every GGUF block format. Needs the Python packages gguf and numpy.

    python3 testdata/gguf_blocks/make.py        # rewrites the *.golden files beside this script

A .golden file is 512 values' worth of random blocks, as they stand in a model file, then the same values as f32.
"""
import pathlib

import gguf
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type

VALUES = 512
# Where in a block its f16 factors lie; every other byte may be anything.
FACTORS = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
    Type.IQ4_NL: [0], Type.IQ4_XS: [0],
}


def random_blocks(random, type):
    values, size = GGML_QUANT_SIZES[type]
    if type in (Type.F32, Type.F16, Type.BF16):
        numbers = random.normal(0, 1, VALUES).astype(np.float32) * np.float32(2.0) ** random.integers(-20, 12, VALUES)
        numbers[:4] = [0.0, -0.0, 65504.0, -2.0**-24]  # with the ends of f16's range
        return gguf.quants.quantize(numbers.astype(np.float32), type).view(np.uint8).reshape(-1, size)
    blocks = random.integers(0, 256, (VALUES // values, size), dtype=np.uint8)
    for offset in FACTORS[type]:
        # From subnormal to large, of both signs: real files have the like.
        factors = random.normal(0, 1, len(blocks)) * 2.0 ** random.integers(-18, 4, len(blocks))
        blocks[:, offset:offset + 2] = factors.astype(np.float16).view(np.uint8).reshape(-1, 2)
    return blocks


def main():
    random = np.random.default_rng(20)
    for type in [Type.F32, Type.F16, Type.BF16, *FACTORS]:
        blocks = random_blocks(random, type)
        values = np.ascontiguousarray(gguf.quants.dequantize(blocks, type), dtype=np.float32)
        assert values.size == VALUES and np.isfinite(values).all()
        path = pathlib.Path(__file__).parent / f"{type.name}.golden"
        path.write_bytes(blocks.tobytes() + values.tobytes())
        print(f"{path.name}: {path.stat().st_size} bytes")


main()
