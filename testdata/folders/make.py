#!/usr/bin/env python3
"""Makes tiny random checkpoints of every family, as Hugging Face folders and as GGUF files, with golden logits and token ids.

    python3 testdata/folders/make.py [NAME ...]     # rewrites all of it, or some; the same bytes with the same packages

Needs the Python packages torch, transformers, tokenizers, safetensors and gguf. Writes

  testdata/folders/NAME/             a Hugging Face folder
  testdata/folders/NAME.gguf         the same weights and tokenizer, as GGUF's converter lays them out (some families)
  testdata/golden/NAME.logits        transformers' answer in f32 to 40 random tokens; format: tools/make_golden_logits.py
  testdata/text/folder_NAME.json     what the tokenizers package makes of texts
  testdata/rope/values.txt           transformers' rotary frequencies

Weights are the same numbers in every format: bf16 without subnormals of f16. Keys (after RoPE) and values are rounded to
bf16 in the golden run, as the cache stores them, so that an f32 engine has nothing left to differ in but its sums.
"""
import hashlib
import json
import pathlib
import shutil
import sys

import gguf
import numpy as np
import safetensors.torch
import tokenizers
import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import make_tokenizer_golden as texts  # noqa: E402

SPACE = "\u2581"
POSITIONS = 40
HIDDEN, HEADS, HEAD_DIM, FFN, LAYERS = 64, 4, 32, 64, 2


def rounded_attention(module, query, key, value, *args, **kwargs):
    key, value = (x.to(torch.bfloat16).to(x.dtype) for x in (key, value))
    return eager_attention_forward(module, query, key, value, *args, **kwargs)


ALL_ATTENTION_FUNCTIONS.register("bf16_cache", rounded_attention)
transformers.AttentionInterface.register("bf16_cache", rounded_attention)
transformers.masking_utils.AttentionMaskInterface.register("bf16_cache", transformers.masking_utils.eager_mask)


# --- tokenizers

def byte_level(pre, special, size=320, template=None):
    normalizer, words, whole = texts.words_of(pre)
    tokenizer = Tokenizer(models.BPE(ignore_merges=whole))
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = words
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator([texts.TRAINING], trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    tokenizer.add_tokens([AddedToken("<tool_call>", normalized=False, special=False)])
    if template:
        tokenizer.post_processor = processors.Sequence([
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single=f"{template} $A", special_tokens=[(template, tokenizer.token_to_id(template))])])
    return tokenizer


def pieces(metaspace):
    """SentencePiece's BPE as transformers converts it: every cut of a piece into two pieces is a merge, best piece first."""
    trainee = Tokenizer(models.BPE())
    trainee.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always", split=True)
    trainee.train_from_iterator([texts.TRAINING], trainers.BpeTrainer(vocab_size=230, limit_alphabet=90, show_progress=False))
    model = json.loads(trainee.to_str())["model"]
    merged = ["".join(pair) for pair in model["merges"]]
    letters = sorted(set(model["vocab"]) - set(merged))
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + merged + letters
    vocab = {token: i for i, token in enumerate(tokens)}
    merges = [(piece[:i], piece[i:]) for piece in merged for i in range(1, len(piece))
              if piece[:i] in vocab and piece[i:] in vocab]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in tokens[:3]])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer, tokens, len(merged)


# --- models

class Variant:
    def __init__(self, name, config, tokenizer, dtype="bfloat16", shard=None, begin=None, end=None, ends=None, pre=None, pieces=None,
                 gguf_type=None, gguf_parts=1, awq_group=None):
        self.name, self.config, self.tokenizer, self.dtype, self.shard = name, config, tokenizer, dtype, shard
        self.begin, self.end, self.ends, self.pre, self.pieces = begin, end, ends, pre, pieces
        self.gguf_type, self.gguf_parts, self.awq_group = gguf_type, gguf_parts, awq_group
        self.packed = {}


def common(vocabulary, **more):
    return dict(vocab_size=vocabulary, hidden_size=HIDDEN, num_attention_heads=HEADS, num_key_value_heads=2, head_dim=HEAD_DIM,
                intermediate_size=FFN, num_hidden_layers=LAYERS, max_position_embeddings=512, rms_norm_eps=1e-5,
                bos_token_id=None, eos_token_id=None, pad_token_id=None) | more


def variants():
    llama3_special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    chatml = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    llama3 = byte_level("llama-bpe", llama3_special, template="<|begin_of_text|>")
    smollm, qwen = byte_level("smollm", chatml), byte_level("qwen2", chatml)
    legacy, tokens, merged = pieces(False)
    meta, _, _ = pieces(True)
    size = lambda tokenizer: tokenizer.get_vocab_size() // 16 * 16 + 16
    eot = llama3.token_to_id("<|eot_id|>")
    rope = lambda theta, kind="default", **more: {"rope_type": kind, "rope_theta": theta, **more}
    c, t = common, transformers
    return [
        Variant("tiny-llama2", t.LlamaConfig(**c(len(tokens), num_key_value_heads=HEADS, bos_token_id=1, eos_token_id=2,
                                                 rope_parameters=rope(10000.0))), legacy, "float16",
                begin="<s>", end="</s>", pieces=(tokens, merged), gguf_type=gguf.GGMLQuantizationType.F16),
        Variant("tiny-llama3", t.LlamaConfig(**c(size(llama3), tie_word_embeddings=True, rope_parameters=rope(
            500000.0, "llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64))), llama3,
                shard="100KB", begin="<|begin_of_text|>", end="<|end_of_text|>", ends=[llama3.token_to_id("<|end_of_text|>"), eot],
                pre="llama-bpe", gguf_type=gguf.GGMLQuantizationType.BF16, gguf_parts=2),
        Variant("tiny-smollm", t.LlamaConfig(**c(size(smollm), tie_word_embeddings=True, rope_parameters=rope(10000.0, "linear", factor=2.0))),
                smollm, begin="<|im_start|>", end="<|im_end|>"),
        Variant("tiny-mistral-v01", t.MistralConfig(**c(len(tokens), sliding_window=48, bos_token_id=1, eos_token_id=2,
                                                        rope_parameters=rope(10000.0))), legacy, begin="<s>", end="</s>"),
        Variant("tiny-mistral-v03", t.MistralConfig(**c(len(tokens), sliding_window=None, bos_token_id=1, eos_token_id=2,
                                                        rope_parameters=rope(1000000.0))), meta, "float32", begin="<s>", end="</s>"),
        Variant("tiny-qwen25", t.Qwen2Config(**c(size(qwen), rms_norm_eps=1e-6, rope_parameters=rope(
            1000000.0, "yarn", factor=4.0, original_max_position_embeddings=32))), qwen, shard="80KB",
                end="<|im_end|>", ends=[qwen.token_to_id("<|im_end|>"), qwen.token_to_id("<|endoftext|>")], pre="qwen2",
                gguf_type=gguf.GGMLQuantizationType.F32),
        Variant("tiny-qwen3", t.Qwen3Config(**c(size(qwen), tie_word_embeddings=True, rms_norm_eps=1e-6, rope_parameters=rope(1000000.0))),
                qwen, end="<|im_end|>", pre="qwen2", gguf_type=gguf.GGMLQuantizationType.BF16),
        Variant("tiny-awq", t.Qwen2Config(**c(size(qwen), rms_norm_eps=1e-6, rope_parameters=rope(1000000.0))), qwen, "float16",
                end="<|im_end|>", awq_group=32),
    ]


# Sizes of outputs for inputs of unit size, so that the layers do about as much as a trained model's.
SIZES = {"q_proj": 1.4, "k_proj": 1.4, "v_proj": 1.0, "o_proj": 0.4, "gate_proj": 1.5, "up_proj": 1.5, "down_proj": 0.3,
         "embed_tokens": 2.5, "lm_head": 2.5}


def exact(values):
    values = values.to(torch.bfloat16).to(torch.float32)
    return torch.where(values.abs() < 2.0**-14, 0, values)


def model_of(variant, seed):
    config = variant.config
    config._attn_implementation = "bf16_cache"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="bf16_cache", dtype=torch.float32)
    random = np.random.default_rng(seed)
    signs = torch.from_numpy(random.choice([-1.0, 1.0], HIDDEN)).float() if config.tie_word_embeddings else 1
    for name, value in sorted(model.named_parameters()):
        stem = name.split(".")[-2]
        if stem.endswith("norm"):
            new = torch.from_numpy(random.uniform(0.6, 1.4, value.shape)).float()
            new = new * signs if name == "model.norm.weight" else new
        elif name.endswith("bias"):
            new = torch.from_numpy(random.normal(0, 0.3, value.shape)).float()
        else:
            new = torch.from_numpy(random.normal(0, SIZES[stem] / np.sqrt(value.shape[1]), value.shape)).float()
        value.data = exact(new)
    model.tie_weights()
    return model.eval()


# --- AWQ

ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # of output channels in a word, from the lowest nibble on (AutoAWQ's gemm packing)


def words(codes):
    """[n, outputs] of 4 bits as [n, outputs / 8] of 32."""
    codes = codes.reshape(codes.shape[0], -1, 8).astype(np.int64)
    packed = sum(codes[:, :, channel] << (4 * nibble) for nibble, channel in enumerate(ORDER))
    return torch.from_numpy(np.ascontiguousarray(packed).astype(np.uint32).view(np.int32))


def quantize(variant, model):
    """Round to nearest in groups of input channels; the model keeps what the codes say."""
    for name, value in model.named_parameters():
        if not name.endswith("proj.weight"):
            continue
        rows, columns = value.shape
        groups = value.data.numpy().reshape(rows, -1, variant.awq_group)
        low, high = np.minimum(groups.min(2), 0), np.maximum(groups.max(2), 0)
        scales = ((high - low) / 15).astype(np.float16)
        zeros = np.clip(np.round(-low / scales.astype(np.float32)), 0, 15)
        codes = np.clip(np.round(groups / scales.astype(np.float32)[:, :, None] + zeros[:, :, None]), 0, 15)
        value.data = torch.from_numpy((scales.astype(np.float32)[:, :, None] * (codes - zeros[:, :, None])).reshape(rows, columns).astype(np.float32))
        stem = name.removesuffix("weight")
        variant.packed |= {stem + "qweight": words(codes.reshape(rows, columns).T), stem + "qzeros": words(zeros.T),
                           stem + "scales": torch.from_numpy(scales.T.copy())}


def write_packed(variant, folder):
    path = folder / "model.safetensors"
    tensors = {name: value for name, value in safetensors.torch.load_file(path).items() if not name.endswith("proj.weight")}
    safetensors.torch.save_file(tensors | variant.packed, path, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "awq", "bits": 4, "group_size": variant.awq_group, "zero_point": True, "version": "gemm"}
    write_json(folder / "config.json", config)


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_folder(variant, model):
    folder = HERE / variant.name
    shutil.rmtree(folder, ignore_errors=True)
    variant.config.dtype = variant.dtype
    model.config.dtype = variant.dtype
    half = model.to(getattr(torch, variant.dtype))
    half.save_pretrained(folder, max_shard_size=variant.shard or "1GB")
    model.to(torch.float32)
    config = json.loads((folder / "config.json").read_text())
    for noise in ("transformers_version", "_attn_implementation"):
        config.pop(noise, None)
    # As checkpoints before transformers 5 have it; two keep the new form.
    if variant.name not in ("tiny-qwen3", "tiny-mistral-v03"):
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    if variant.name == "tiny-qwen25":
        config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")
    write_json(folder / "config.json", config)
    if variant.packed:
        write_packed(variant, folder)
    (folder / "tokenizer.json").write_text(variant.tokenizer.to_str(pretty=False) + "\n")
    write_json(folder / "tokenizer_config.json", {"bos_token": variant.begin, "eos_token": {"content": variant.end},
                                                  "chat_template": texts.TINY_CHAT})
    (folder / "generation_config.json").unlink(missing_ok=True)
    if variant.ends:
        write_json(folder / "generation_config.json", {"eos_token_id": variant.ends})


def write_golden(variant, model, seed):
    ids = torch.from_numpy(np.random.default_rng(1000 + seed).integers(0, variant.config.vocab_size, POSITIONS))
    with torch.inference_mode():
        logits = model(ids[None]).logits[0].float()
    perplexity = torch.nn.functional.cross_entropy(logits[:-1], ids[1:]).exp().item()
    arrays = {"tokens": ids.int().numpy().astype("<i4"), "logits": logits.numpy().astype("<f4")}
    entries, blocks, offset = [], [], 0
    for name, values in arrays.items():
        blocks.append(values.tobytes())
        entries.append({"name": name, "type": "i32" if name == "tokens" else "f32", "shape": list(values.shape), "offset": offset,
                        "bytes": len(blocks[-1])})
        offset += len(blocks[-1])
    weights = hashlib.sha256(b"".join(v.numpy().tobytes() for _, v in sorted(model.state_dict().items()))).hexdigest()
    header = {"format": "kvpareto-logits-1", "model": variant.name, "weights_sha256": weights, "positions": POSITIONS,
              "vocabulary": logits.shape[1], "perplexity": round(perplexity, 3), "weights": "bf16 numbers", "arithmetic":
              "f32, keys and values rounded to bf16", "made_with": f"torch {torch.__version__}, transformers {transformers.__version__}",
              "arrays": entries}
    (ROOT / "testdata/golden" / f"{variant.name}.logits").write_bytes(json.dumps(header).encode() + b"\n" + b"".join(blocks))
    print(f"{variant.name}: logits of standard deviation {logits.std():.2f}")


def write_ids(variant):
    rows = texts.cases(variant.tokenizer)
    for row in rows:
        row["decoded"] = variant.tokenizer.decode(row["plain"], skip_special_tokens=False)
        if row["decoded"] == row["text"]:
            del row["decoded"]
    texts.write(ROOT / "testdata/text" / f"folder_{variant.name}.json", {"made_with": f"tokenizers {tokenizers.__version__}", "cases": rows})


# --- GGUF

LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
         "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
OUTSIDE = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def gguf_tensors(variant, model):
    config = variant.config
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, suffix = name.rsplit(".", 1)
        parts = stem.split(".", 3)
        ours = OUTSIDE.get(stem) or f"blk.{parts[2]}.{LAYER[parts[3]]}"
        array = value.numpy()
        if config.model_type == "llama" and ours.endswith(("attn_q", "attn_k")):
            heads = config.num_attention_heads if ours.endswith("attn_q") else config.num_key_value_heads
            array = array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
        yield f"{ours}.{suffix}", array
    if config.rope_parameters["rope_type"] == "llama3":
        plain = config.rope_parameters["rope_theta"] ** -(np.arange(0, HEAD_DIM, 2) / HEAD_DIM)
        yield "rope_freqs.weight", (plain / model.model.rotary_emb.inv_freq.numpy()).astype(np.float32)


def write_gguf_metadata(writer, variant):
    config, rope = variant.config, variant.config.rope_parameters
    writer.add_block_count(LAYERS)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


def write_gguf_tokenizer(writer, variant):
    tokenizer, size = variant.tokenizer, variant.config.vocab_size
    added = {token.content: token.special for token in tokenizer.get_added_tokens_decoder().values()}
    tokens = [tokenizer.id_to_token(i) or f"[PAD{i}]" for i in range(size)]
    kinds = [3 if added.get(t) else 4 if t in added else 5 if t.startswith("[PAD") else 1 for t in tokens]
    if variant.pieces:
        merged = variant.pieces[1]
        kinds = [2, 3, 3] + [6] * 256 + [1] * (size - 259)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(merged)] + [-1e6] * (size - 259 - merged))
        writer.add_unk_token_id(0)
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(variant.pre)
        writer.add_token_list(tokens)
        merges = json.loads(tokenizer.to_str())["model"]["merges"]
        writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
        writer.add_add_bos_token(variant.begin is not None)
    writer.add_token_types(kinds)
    if variant.begin:
        writer.add_bos_token_id(tokenizer.token_to_id(variant.begin))
    writer.add_eos_token_id(tokenizer.token_to_id(variant.end))


def write_gguf(variant, model):
    for old in HERE.glob(f"{variant.name}*.gguf"):
        old.unlink()
    tensors = list(gguf_tensors(variant, model))
    parts = variant.gguf_parts
    for part in range(parts):
        name = f"{variant.name}.gguf" if parts == 1 else f"{variant.name}-{part + 1:05d}-of-{parts:05d}.gguf"
        writer = gguf.GGUFWriter(str(HERE / name), variant.config.model_type)
        if parts > 1:
            writer.add_uint16("split.no", part)
            writer.add_uint16("split.count", parts)
            writer.add_int32("split.tensors.count", len(tensors))
        if part == 0:
            write_gguf_metadata(writer, variant)
            write_gguf_tokenizer(writer, variant)
        share = -(-len(tensors) // parts)
        for tensor, values in tensors[part * share:(part + 1) * share]:
            kind = variant.gguf_type if values.ndim == 2 else gguf.GGMLQuantizationType.F32
            writer.add_tensor(tensor, gguf.quants.quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


# --- rotary frequencies

def write_rope():
    lines = ["# KIND KEY=VALUE ... | magnitude | radians a token of each pair; by transformers " + transformers.__version__]
    base = dict(hidden_size=512, num_attention_heads=4)
    for theta, head_dim, rope in [
            (10000.0, 128, {"rope_type": "linear", "factor": 4.0}),
            (500000.0, 128, {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
            (500000.0, 64, {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
            (1000000.0, 128, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}),
            (10000.0, 64, {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096, "beta_fast": 64.0, "beta_slow": 2.0, "attention_factor": 1.5})]:
        config = transformers.LlamaConfig(**base, head_dim=head_dim, max_position_embeddings=131072, rope_parameters={"rope_theta": theta, **rope})
        frequencies, magnitude = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS[rope["rope_type"]](config, "cpu")
        keys = " ".join(f"{key}={value}" for key, value in rope.items() if key != "rope_type")
        lines.append(f"{rope['rope_type']} rope_theta={theta} head_dim={head_dim} {keys} | {magnitude!r} | "
                     + " ".join(repr(float(f)) for f in frequencies))
    (ROOT / "testdata/rope").mkdir(exist_ok=True)
    (ROOT / "testdata/rope/values.txt").write_text("\n".join(lines) + "\n")


def main():
    torch.manual_seed(0)
    for seed, variant in enumerate(variants(), 1):
        if sys.argv[1:] and variant.name not in sys.argv[1:]:
            continue
        model = model_of(variant, seed)
        if variant.awq_group:
            quantize(variant, model)
        write_golden(variant, model, seed)
        if variant.gguf_type is not None:
            write_gguf(variant, model)
        write_folder(variant, model)
        if not variant.packed:
            write_ids(variant)
    if not sys.argv[1:]:
        write_rope()


main()
