#!/usr/bin/env python3
"""Writes the tiny random checkpoints that tests read. Needs the Python packages gguf and numpy.

    python3 testdata/tiny/make.py        # rewrites the *.gguf files beside this script; the same bytes every time

tiny-llama.gguf        llama architecture, tied embeddings, mixed tensor types
tiny-llama-hd64.gguf   the same with heads of 64 channels, which is not hidden / heads
tiny-qwen2.gguf        qwen2 architecture: biases on q, k, v, an output matrix of its own, and in layer 0 a few key
                       channels with a bias so large that keys of 4 bits are destroyed, as in the real models

Weights are random but scaled like a trained model's: normalised states have unit size, attention scores a standard
deviation near 2, every layer adds about as much as it finds, and logits have a standard deviation of 2 to 3.
"""
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

HIDDEN, HEADS, KV_HEADS, FFN, CONTEXT = 128, 4, 2, 256, 512
MERGES = ["Ġ t", "h e", "Ġ a", "i n", "r e", "Ġt he", "o n", "e r", "Ġ s", "a t", "n d", "Ġ w", "Ġ o", "e n", "i t", "i s",
          "o r", "e s", "Ġ b", "Ġ f", "e d", "in g", "Ġ p", "o u", "Ġa nd", "a l", "a r", "Ġt o", "Ġo f", "Ġ in", "Ġ h", "l l"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
                 "'<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")


def byte_tokens():
    """The 256 characters that stand for bytes in byte-level BPE, in the order GPT-2 lists them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + i) for i in range(len(rest))]


def vocabulary(special_first):
    plain = byte_tokens() + [merge.replace(" ", "") for merge in MERGES]
    tokens = SPECIAL + plain if special_first else plain + SPECIAL
    types = [gguf.TokenType.CONTROL if token in SPECIAL else gguf.TokenType.NORMAL for token in tokens]
    return tokens, types


def interleaved(rows, heads):
    """Rows of q and k as llama-architecture files have them: the two halves of a head that rotate together alternate."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


class Checkpoint:
    def __init__(self, name, architecture, seed, layers, head_dim, tokens):
        self.random = np.random.default_rng(seed)
        self.path = pathlib.Path(__file__).parent / name
        self.writer = gguf.GGUFWriter(str(self.path), architecture)
        self.layers, self.head_dim, self.tokens = layers, head_dim, tokens
        self.llama = architecture == "llama"

    def matrix(self, rows, columns, size):
        """Gives outputs of standard deviation `size` for inputs of unit size."""
        return self.random.normal(0, size / np.sqrt(columns), (rows, columns)).astype(np.float32)

    def norm(self):
        return self.random.uniform(0.6, 1.4, HIDDEN).astype(np.float32)

    def add(self, name, values, type=Type.F32):
        self.writer.add_tensor(name, gguf.quants.quantize(values, type), raw_dtype=type)

    def write_metadata(self, freq_base, pre, types, beginning, end, padding):
        w = self.writer
        w.add_name(self.path.stem)
        w.add_block_count(self.layers)
        w.add_context_length(CONTEXT)
        w.add_embedding_length(HIDDEN)
        w.add_feed_forward_length(FFN)
        w.add_head_count(HEADS)
        w.add_head_count_kv(KV_HEADS)
        w.add_rope_freq_base(freq_base)
        w.add_layer_norm_rms_eps(1e-6)
        if self.llama:
            w.add_rope_dimension_count(self.head_dim)
            w.add_vocab_size(len(self.tokens))
        if self.head_dim != HIDDEN // HEADS:
            w.add_key_length(self.head_dim)
            w.add_value_length(self.head_dim)
        w.add_tokenizer_model("gpt2")
        w.add_tokenizer_pre(pre)
        w.add_token_list(self.tokens)
        w.add_token_types(types)
        w.add_token_merges(MERGES)
        w.add_bos_token_id(self.tokens.index(beginning))
        w.add_eos_token_id(self.tokens.index(end))
        w.add_pad_token_id(self.tokens.index(padding))
        w.add_add_bos_token(False)
        w.add_chat_template(CHAT_TEMPLATE)

    def write_layer(self, layer, biases):
        name = f"blk.{layer}."
        q_rows, kv_rows = HEADS * self.head_dim, KV_HEADS * self.head_dim
        q, k = self.matrix(q_rows, HIDDEN, 1.4), self.matrix(kv_rows, HIDDEN, 1.4)
        if self.llama:
            q, k = interleaved(q, HEADS), interleaved(k, KV_HEADS)
        self.add(name + "attn_norm.weight", self.norm())
        self.add(name + "attn_q.weight", q, Type.Q8_0)
        self.add(name + "attn_k.weight", k, Type.F16 if layer == 0 else Type.Q8_0)
        self.add(name + "attn_v.weight", self.matrix(kv_rows, HIDDEN, 1.0), Type.Q5_1)
        self.add(name + "attn_output.weight", self.matrix(HIDDEN, q_rows, 0.4), Type.Q4_1)
        if biases:
            self.write_biases(layer, q_rows, kv_rows)
        self.add(name + "ffn_norm.weight", self.norm())
        self.add(name + "ffn_gate.weight", self.matrix(FFN, HIDDEN, 1.5), Type.Q4_1)
        self.add(name + "ffn_up.weight", self.matrix(FFN, HIDDEN, 1.5), Type.Q4_0)
        self.add(name + "ffn_down.weight", self.matrix(HIDDEN, FFN, 0.3), Type.Q4_1)

    def write_biases(self, layer, q_rows, kv_rows):
        k = self.random.normal(0, 0.3, (KV_HEADS, self.head_dim)).astype(np.float32)
        if layer == 0:
            # The slowest rotating pairs: there a bias is nearly the same at every position and leaves attention as it
            # was, so the model is sound in 16 bits and only coarse keys suffer.
            half = self.head_dim // 2
            k[:, half - 1], k[:, 2 * half - 1], k[:, 2 * half - 2] = [52, -44], [-48, 60], [36, -56]
        name = f"blk.{layer}."
        self.add(name + "attn_q.bias", self.random.normal(0, 0.3, q_rows).astype(np.float32))
        self.add(name + "attn_k.bias", k.ravel())
        self.add(name + "attn_v.bias", self.random.normal(0, 0.3, kv_rows).astype(np.float32))

    def write(self, tied, biases):
        size = 2.5  # of logits
        self.add("token_embd.weight", self.matrix(len(self.tokens), HIDDEN, size), Type.Q8_0 if tied else Type.Q5_0)
        for layer in range(self.layers):
            self.write_layer(layer, biases)
        # With random signs a token is not its own likeliest successor although input and output matrix are one.
        signs = self.random.choice([-1, 1], HIDDEN).astype(np.float32) if tied else 1
        self.add("output_norm.weight", self.norm() * signs)
        if not tied:
            self.add("output.weight", self.matrix(len(self.tokens), HIDDEN, size), Type.Q8_0)
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()
        print(f"{self.path.name}: {self.path.stat().st_size} bytes")


def main():
    tokens, types = vocabulary(special_first=True)
    for name, seed, layers, head_dim in [("tiny-llama.gguf", 1, 3, 32), ("tiny-llama-hd64.gguf", 2, 2, 64)]:
        llama = Checkpoint(name, "llama", seed, layers, head_dim, tokens)
        llama.write_metadata(10000.0, "smollm", types, "<|im_start|>", "<|im_end|>", "<|im_end|>")
        llama.write(tied=True, biases=False)

    tokens, types = vocabulary(special_first=False)
    qwen2 = Checkpoint("tiny-qwen2.gguf", "qwen2", 3, 3, 32, tokens)
    qwen2.write_metadata(1000000.0, "qwen2", types, "<|endoftext|>", "<|im_end|>", "<|endoftext|>")
    qwen2.write(tied=False, biases=True)


main()
