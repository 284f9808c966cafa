#!/usr/bin/env python3
"""Writes seeds for the fuzzer of the GGUF reader. Needs the Python packages gguf and numpy.

    python3 testdata/gguf_corpus/make.py        # rewrites the *.gguf files beside this script

header-*.gguf are the headers of testdata/tiny and some of testdata/folders without tensor data; whole.gguf is a complete file of a few kilobytes
with a tensor of every readable type, a vocabulary and metadata of every type.
"""
import pathlib

import gguf
import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type

HERE = pathlib.Path(__file__).parent
TYPES = [Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1, Type.Q8_0, Type.Q2_K, Type.Q3_K,
         Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_NL, Type.IQ4_XS]


def write_headers():
    # Of testdata/folders the one with SentencePiece's vocabulary, and the first of two parts.
    folders = [HERE.parent / "folders" / name for name in ("tiny-llama2.gguf", "tiny-llama3-00001-of-00002.gguf")]
    for path in sorted((HERE.parent / "tiny").glob("*.gguf")) + folders:
        begin = gguf.GGUFReader(path).data_offset
        (HERE / f"header-{path.name}").write_bytes(path.read_bytes()[:begin])


def write_whole():
    writer = gguf.GGUFWriter(str(HERE / "whole.gguf"), "llama")
    writer.add_block_count(1)
    writer.add_uint8("llama.u8", 1)
    writer.add_int8("llama.i8", -1)
    writer.add_uint16("llama.u16", 2)
    writer.add_int16("llama.i16", -2)
    writer.add_int32("llama.i32", -3)
    writer.add_uint64("llama.u64", 4)
    writer.add_int64("llama.i64", -4)
    writer.add_float64("llama.f64", 0.5)
    writer.add_rope_freq_base(10000.0)
    writer.add_custom_alignment(32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "b", "ab", "<|im_end|>"])
    writer.add_token_types([1, 1, 1, 3])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{{ messages }}")
    random = np.random.default_rng(4)
    for type in TYPES:
        values, size = GGML_QUANT_SIZES[type]
        writer.add_tensor(f"{type.name}.weight", random.integers(0, 256, (2, size), dtype=np.uint8), raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


write_headers()
write_whole()
