#!/usr/bin/env python3
"""Writes a qwen2 GGUF model again, decoded to bf16, as the same function with other groups of weights: channels of the
residual stream, of every feed-forward layer and of every value head in random order (seed 1).

  bench/permuted_model.py MODEL.gguf PERMUTED.gguf

Codes of the file's own type cannot be judged against what they decode to, since whatever quantizes that again finds their
grid; against the permuted model they can: `eval -m REQUANTIZED.gguf -w stored --reference PERMUTED.gguf`. Needs the Python
package gguf.
"""
import sys

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

BF16 = gguf.GGMLQuantizationType.BF16


class Orders:
    def __init__(self, fields):
        self.random = np.random.default_rng(1)
        self.hidden, self.wide, self.heads, self.kv_heads = (
            fields[f"qwen2.{name}"] for name in ("embedding_length", "feed_forward_length", "attention.head_count",
                                                 "attention.head_count_kv"))
        self.head_dim = self.hidden // self.heads
        self.residual = self.random.permutation(self.hidden)
        self.layers = {}

    def of_layer(self, layer):
        """Of the feed-forward layer's channels, of the rows of v and of the columns of o."""
        if layer not in self.layers:
            wide = self.random.permutation(self.wide)
            heads = [self.random.permutation(self.head_dim) for _ in range(self.kv_heads)]
            group = self.heads // self.kv_heads
            values = np.concatenate([k * self.head_dim + heads[k] for k in range(self.kv_heads)])
            outputs = np.concatenate([q * self.head_dim + heads[q // group] for q in range(self.heads)])
            self.layers[layer] = wide, values, outputs
        return self.layers[layer]

    def apply(self, name, x):
        if name in ("token_embd.weight", "output.weight"):
            return x[:, self.residual]
        if name.endswith("norm.weight"):
            return x[self.residual]
        wide, values, outputs = self.of_layer(int(name.split(".")[1]))
        kind = name.split(".", 2)[2]
        if kind in ("attn_q.bias", "attn_k.bias"):
            return x
        return {"attn_q.weight": lambda: x[:, self.residual], "attn_k.weight": lambda: x[:, self.residual],
                "attn_v.weight": lambda: x[values][:, self.residual], "attn_v.bias": lambda: x[values],
                "attn_output.weight": lambda: x[self.residual][:, outputs],
                "ffn_gate.weight": lambda: x[wide][:, self.residual],
                "ffn_up.weight": lambda: x[wide][:, self.residual],
                "ffn_down.weight": lambda: x[self.residual][:, wide]}[kind]()


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    reader, writer = gguf.GGUFReader(sys.argv[1]), gguf.GGUFWriter(sys.argv[2], "qwen2")
    fields = {field.name: field.contents() for field in reader.fields.values() if not field.name.startswith("GGUF.")}
    if fields["general.architecture"] != "qwen2":
        sys.exit(f"permuted_model: wanted a qwen2 model, found {fields['general.architecture']}")
    for name, value in fields.items():
        if name in ("general.architecture", "general.file_type"):
            continue
        kind = reader.fields[name].types[0]
        if kind == gguf.GGUFValueType.ARRAY:
            writer.add_array(name, value)
        else:
            writer.add_key_value(name, value, kind)
    orders = Orders(fields)
    for tensor in reader.tensors:
        x = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        x = np.ascontiguousarray(orders.apply(tensor.name, x))
        if x.ndim == 1:
            writer.add_tensor(tensor.name, x)
        else:
            writer.add_tensor(tensor.name, quantize(x, BF16), raw_dtype=BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
