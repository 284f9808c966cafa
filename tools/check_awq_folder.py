#!/usr/bin/env python3
"""Whether other programs read the weights of a quantized folder as kvpareto wrote them, bit for bit.

    check_awq_folder.py DIR [--transformers]

Unpacks every matrix of an AWQ folder with the arithmetic that AutoAWQ and transformers use for `gemm` packing (numpy alone),
and compares the CRC-32 of the dequantized matrix, f32 [rows, columns], with the one in quantization_report.json, which
kvpareto made from its own codes. --transformers also loads config and tokenizer with that library and compares a text's
token count.
"""
import argparse
import json
import pathlib
import sys
import zlib

import numpy as np

# AutoAWQ unpacks the nibbles of an i32 in their order and then puts its columns in this one.
REVERSE_ORDER = np.array([0, 4, 1, 5, 2, 6, 3, 7])
TYPES = {"I32": np.int32, "F16": np.float16, "U8": np.uint8, "F32": np.float32}


def tensors_of(path):
    """Name -> array of a safetensors file; BF16 is left out."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    out = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in TYPES:
            continue
        begin, end = entry["data_offsets"]
        out[name] = np.frombuffer(data[8 + size + begin:8 + size + end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return out


def unpacked(packed):
    """i32 [n, m] -> u8 [n, 8 m], as AutoAWQ's unpack_awq and reverse_awq_order do."""
    nibbles = (packed[:, :, None] >> np.arange(0, 32, 4, dtype=np.int32)) & 15
    return nibbles[:, :, REVERSE_ORDER].reshape(packed.shape[0], -1).astype(np.int32)


def dequantized(qweight, qzeros, scales, group):
    """f32 [columns, rows]."""
    zeros = np.repeat(unpacked(qzeros), group, axis=0)
    steps = np.repeat(scales.astype(np.float32), group, axis=0)
    return (unpacked(qweight) - zeros).astype(np.float32) * steps


def check(folder):
    config = json.loads((folder / "config.json").read_text())
    quantization = config["quantization_config"]
    if quantization["quant_method"] != "awq":
        sys.exit(f"{folder}: quant_method is {quantization['quant_method']}, not awq")
    wanted = {}
    for layer in json.loads((folder / "quantization_report.json").read_text())["layers"]:
        for name, part in layer["linears"].items():
            wanted[name] = part["crc32"]
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    checked = 0
    for shard in sorted(set(index.values())):
        tensors = tensors_of(folder / shard)
        for name in [n[:-len(".qweight")] for n in tensors if n.endswith(".qweight")]:
            matrix = dequantized(*(tensors[f"{name}.{part}"] for part in ("qweight", "qzeros", "scales")),
                                 quantization["group_size"])
            found = zlib.crc32(np.ascontiguousarray(matrix.T).astype("<f4").tobytes())
            if found != wanted.pop(name):
                sys.exit(f"{folder}: {name}: other programs read other weights")
            checked += 1
    if wanted:
        sys.exit(f"{folder}: not found: {', '.join(sorted(wanted))}")
    print(f"{folder}: {checked} matrices are read bit for bit as they were written")


def check_with_transformers(folder):
    from transformers import AutoConfig, AutoTokenizer
    config = AutoConfig.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "Weights of four bits, 1234 of them;\n\ttabs and l'été too."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    if tokenizer.decode(ids) != text:
        sys.exit(f"{folder}: the tokenizer does not give its text back")
    print(f"{folder}: {config.model_type}, {config.quantization_config['quant_method']}, {len(ids)} tokens: {ids}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--transformers", action="store_true")
    arguments = parser.parse_args()
    check(arguments.folder)
    if arguments.transformers:
        check_with_transformers(arguments.folder)
