#!/usr/bin/env python3
"""Makes the golden logits that the engine is tested against: what an independent implementation answers.

The model is read from its GGUF file with the `gguf` package, put by hand into the model class of `transformers`, and run
over the first tokens of testdata/golden/prose.txt. Every matrix is rounded to bf16 first, because the engine holds its
weights so, and norms and biases stay f32; all arithmetic is f32. What then differs is the engine's own arithmetic.

  tools/make_golden_logits.py                   remakes every file of testdata/golden
  tools/make_golden_logits.py smollm2-135m      one of them (a model of tools/fetch_model.py, or a file of testdata/tiny)
  tools/make_golden_logits.py --model F.gguf --out F.logits [--positions 500] [--top 64]

Needs python packages that nothing else needs: torch, transformers, tokenizers, gguf.

The file: one line of JSON, then the arrays that its "arrays" lists, little-endian, row-major, one after another without
gaps. Each entry has name, type (i32, f16, f32), shape, and offset and bytes counted from the end of the line.

  tokens    i32 [positions]               what was fed; row t of the others is the answer after tokens 0..t
  ids       i32 [positions, top]          the likeliest next tokens, best first        (with --top)
  logprobs  f16 [positions, top]          their natural log-probabilities              (with --top)
  tail      f32 [positions]               log of the probability of all other tokens   (with --top)
  logits    f32 [positions, vocabulary]   everything                                   (without --top)

Divergence from a --top file: p = exp of logprobs and tail, divided by their sum (f16 leaves it a little beside 1);
q = the engine's probabilities of the same ids and of the rest; sum p (log p - log q). Putting tokens into one bucket can
only lower a divergence; how little is lost is seen in "tail_mass", the mean probability of the bucket.
"""
import argparse
import hashlib
import json
import math
import pathlib
import sys

import fetch_model

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "testdata" / "golden"
TINY = ROOT / "testdata" / "tiny"

# GGUF's names for the tensors of a layer, and transformers'.
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}

QWEN2_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
               r"\s+(?!\S)|\s+")


class Gguf:
    """A GGUF file as metadata without the architecture's prefix, and tensors as f32."""

    def __init__(self, path):
        import gguf
        reader = gguf.GGUFReader(path)
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.architecture = self.fields["general.architecture"]
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        self.dequantize = gguf.quants.dequantize

    def number(self, key, otherwise=None):
        value = self.fields.get(f"{self.architecture}.{key}", otherwise)
        if value is None:
            sys.exit(f"make_golden_logits: the file does not say {self.architecture}.{key}")
        return value

    def read(self, name):
        import torch
        tensor = self.tensors[name]
        return torch.from_numpy(self.dequantize(tensor.data, tensor.tensor_type).astype("float32"))


def interleaved_to_halves(weight, heads):
    """Rows of q and k as transformers wants them. Files of architecture llama hold the two halves of a head interleaved,
    (0, n/2, 1, n/2 + 1, ...), for a rotation of neighbouring channels."""
    return weight.reshape(heads, weight.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(weight.shape)


def config_of(file):
    import transformers
    classes = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    }
    if file.architecture not in classes:
        sys.exit(f"make_golden_logits: architecture {file.architecture}; known are {', '.join(classes)}")
    heads, width = file.number("attention.head_count"), file.number("embedding_length")
    head_size = file.number("attention.key_length", width // heads)
    for key, wanted in {"attention.value_length": head_size, "rope.dimension_count": head_size}.items():
        if file.number(key, wanted) != wanted:
            sys.exit(f"make_golden_logits: {key} is {file.number(key)}; only the head size, {wanted}, is supported")
    if "rope_freqs.weight" in file.tensors or f"{file.architecture}.rope.scaling.type" in file.fields:
        sys.exit("make_golden_logits: scaled rotations are not supported")
    config_class, model_class = classes[file.architecture]
    config = config_class(
        vocab_size=file.tensors["token_embd.weight"].data.shape[0], hidden_size=width, num_attention_heads=heads,
        num_key_value_heads=file.number("attention.head_count_kv", heads), num_hidden_layers=file.number("block_count"),
        intermediate_size=file.number("feed_forward_length"), max_position_embeddings=file.number("context_length"),
        rms_norm_eps=file.number("attention.layer_norm_rms_epsilon"), tie_word_embeddings="output.weight" not in file.tensors,
        rope_parameters={"rope_type": "default", "rope_theta": float(file.number("rope.freq_base", 10000.0))},
        attn_implementation="eager", dtype="float32")
    config.head_dim = head_size
    return config, model_class


def model_of(file):
    import torch
    config, model_class = config_of(file)
    state = {}
    for name in file.tensors:
        weight = file.read(name)
        parts = name.split(".")
        if file.architecture == "llama" and parts[-2] in ("attn_q", "attn_k"):
            weight = interleaved_to_halves(
                weight, config.num_attention_heads if parts[-2] == "attn_q" else config.num_key_value_heads)
        if weight.dim() == 2:
            weight = weight.to(torch.bfloat16).to(torch.float32)
        stem = f"model.layers.{parts[1]}.{LAYER[parts[2]]}" if parts[0] == "blk" else OUTSIDE[parts[0]]
        state[f"{stem}.{parts[-1]}"] = weight
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = model_class(config)
    model.load_state_dict(state, strict=True)
    # The rotation is made from the configuration, not loaded: check that this version of transformers understood it.
    frequency = model.model.rotary_emb.inv_freq
    theta = float(file.number("rope.freq_base", 10000.0))
    expected = theta ** (-torch.arange(0, config.head_dim, 2) / config.head_dim)
    if frequency.shape != expected.shape or not torch.allclose(frequency, expected, rtol=1e-5):
        sys.exit("make_golden_logits: transformers rotates otherwise than the file says")
    return model.eval()


def tokens_of(file, text):
    import tokenizers
    from tokenizers import pre_tokenizers as pre
    words = {
        "smollm": [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)],
        "qwen2": [pre.Split(tokenizers.Regex(QWEN2_WORDS), "isolated"),
                  pre.ByteLevel(add_prefix_space=False, use_regex=False)],
    }
    kind = file.fields["tokenizer.ggml.pre"]
    if kind not in words:
        sys.exit(f"make_golden_logits: pre-tokenizer {kind}; known are {', '.join(words)}")
    vocabulary = {token: number for number, token in enumerate(file.fields["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in file.fields["tokenizer.ggml.merges"]]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre.Sequence(words[kind])
    return tokenizer.encode(text).ids


def top_arrays(logits, top):
    """The arrays of a --top file, and what the header says of them."""
    import torch
    logprobs = torch.log_softmax(logits.double(), -1)
    best, ids = logprobs.topk(top, -1)
    tail = torch.logsumexp(logprobs.scatter(-1, ids, -math.inf), -1)
    # The error of f16 itself, as a divergence: it has to stay far below what tests allow.
    kept = torch.log_softmax(torch.cat([best.half().double(), tail.float().double()[:, None]], -1), -1)
    exact = torch.cat([best, tail[:, None]], -1)
    error = (kept.exp() * (kept - exact)).sum(-1).mean().item()
    arrays = {"ids": ids.int(), "logprobs": best.half(), "tail": tail.float()}
    return arrays, {"top": top, "tail_mass": round(tail.exp().mean().item(), 6), "rounding_divergence": float(f"{error:.1e}")}


def make(path, out, positions, top):
    import torch
    import transformers
    file = Gguf(path)
    tokens = tokens_of(file, (GOLDEN / "prose.txt").read_text())[:positions]
    if len(tokens) < positions:
        sys.exit(f"make_golden_logits: the prose has {len(tokens)} tokens, {positions} are wanted")
    ids = torch.tensor(tokens)
    with torch.inference_mode():
        logits = model_of(file)(ids[None]).logits[0].float()
    perplexity = torch.nn.functional.cross_entropy(logits[:-1], ids[1:]).exp().item()

    arrays, facts = {"tokens": ids.int()}, {}
    if top:
        more, facts = top_arrays(logits, top)
        arrays |= more
    else:
        arrays["logits"] = logits
    blocks, entries, offset = [], [], 0
    for name, values in arrays.items():
        kind = {torch.int32: "i32", torch.float16: "f16", torch.float32: "f32"}[values.dtype]
        blocks.append(values.contiguous().numpy().astype({"i32": "<i4", "f16": "<f2", "f32": "<f4"}[kind]).tobytes())
        entries.append({"name": name, "type": kind, "shape": list(values.shape), "offset": offset, "bytes": len(blocks[-1])})
        offset += len(blocks[-1])
    header = {
        "format": "kvpareto-logits-1", "model": path.name, "model_bytes": path.stat().st_size,
        "model_sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "positions": positions,
        "vocabulary": logits.shape[-1], **facts, "perplexity": round(perplexity, 3), "weights": "bf16 matrices, f32 vectors",
        "arithmetic": "f32", "made_with": f"torch {torch.__version__}, transformers {transformers.__version__}",
        "arrays": entries,
    }
    out.write_bytes(json.dumps(header).encode() + b"\n" + b"".join(blocks))
    print(f"{out.name}: {positions} positions, perplexity {perplexity:.2f}, {out.stat().st_size} bytes", *facts.items())


def standard_files():
    """name: (model file, positions, top) of everything in testdata/golden."""
    files = {}
    for name in ("smollm2-135m", "qwen2.5-coder-0.5b"):
        model = next(model for model in fetch_model.MODELS if model.name == name)
        files[name] = (fetch_model.models_folder() / model.file, 500, 64)
    for path in sorted(TINY.glob("*.gguf")):
        files[path.stem] = (path, 40, 0)
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    files = standard_files()
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(files)} (default: all)")
    parser.add_argument("--model", type=pathlib.Path, help="another GGUF file")
    parser.add_argument("--out", type=pathlib.Path, help="where its golden file goes")
    parser.add_argument("--positions", type=int, default=500)
    parser.add_argument("--top", type=int, default=64, help="tokens kept a position; 0 keeps all logits (default: 64)")
    arguments = parser.parse_args()
    if (arguments.model is None) != (arguments.out is None) or (arguments.model and arguments.names):
        parser.error("--model and --out go together, without names")
    if arguments.model:
        make(arguments.model, arguments.out, arguments.positions, arguments.top)
        return
    unknown = [name for name in arguments.names if name not in files]
    if unknown:
        parser.error(f"no model is called {unknown[0]}; there are {', '.join(files)}")
    for name in arguments.names or files:
        path, positions, top = files[name]
        if not path.is_file():
            sys.exit(f"make_golden_logits: {path} is missing; tools/fetch_model.py {name} fetches it")
        make(path, GOLDEN / f"{name}.logits", positions, top)


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as missing:
        sys.exit(f"make_golden_logits: python package {missing.name} is missing; it needs torch, transformers, tokenizers, gguf")
