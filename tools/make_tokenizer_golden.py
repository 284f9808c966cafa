#!/usr/bin/env python3
"""Golden token ids for the tokenizer tests, made by Hugging Face's `tokenizers` (and `jinja2` for chat templates).

  make_tokenizer_golden.py [--models FOLDER] [--out testdata/text]

Writes tiny_<pre-tokenizer>.json (a vocabulary of 1000 tokens trained here, with ids) and, for each known model file found in
FOLDER, model_<name>.json (ids and chat renderings only: the vocabulary stays in the model file). The pre-tokenizers are built
here as the original models' tokenizer.json files have them: what transformers 5.23 makes of these GGUF files is not the same
(it gives SmolLM2 no single digits and Qwen2.5 no normalization). Needs the packages tokenizers, gguf and jinja2.
"""
import argparse
import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE

CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

MODELS = {
    "smollm2": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen2.5": "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
}

# What trains the tiny vocabularies. Written for this purpose; dull on purpose, so that words repeat.
TRAINING = """
The cache holds keys and values of every token that the model has read. A model reads a prompt in chunks, and each chunk
attends to the chunks before it. When memory is short, keys and values are stored in fewer bits: eight, four, or even two.
The question is how much is lost. We measure it, we don't guess it: the same text is read twice, once exactly and once
through the packed cache, and the difference of the two predictions is a number with an error. It's small when the keys
are smooth, and it isn't when a few channels are large. They've been measured in 2023, 2024 and 2025; we'll see about 2026.
I'm told that you'd rather see code, so here is some:
\tfor (int layer = 0; layer < layers; ++layer) {
\t\tif (cache.bytes() > limit) return false;
\t\tscores[layer] = attend(queries[layer], keys[layer], values[layer]);
\t}
def attend(queries, keys, values):
    scores = queries @ keys.transpose() / 8.0
    return softmax(scores) @ values  # shape: [tokens, heads, 64]
Der Speicher hält Schlüssel und Werte für jedes gelesene Wort. Größe, Güte und Geschwindigkeit hängen zusammen.
Le modèle garde les clés et les valeurs déjà calculées; la mémoire n'est pas gratuite, même à l'été.
La memoria guarda las claves y los valores; el niño pregunta cuánto cuesta, ¿verdad?
Модель хранит ключи и значения каждого слова. Память стоит дорого, а время ещё дороже.
模型保存每个词的键和值。内存很贵，时间更贵。モデルはキーと値を保存します。メモリは高いです。
يحفظ النموذج المفاتيح والقيم لكل كلمة. โมเดลเก็บคีย์และค่าของทุกคำ 모델은 키와 값을 저장합니다.
1 2 3 10 20 30 100 200 300 1000 4096 8192 32768 131072 3.14159 0.001 1e-5 12:30 2025-11-24 50% $100
😀 😃 🚀 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈
"""

TEXTS = [
    "",
    " ",
    "a",
    "Hello, world!",
    "Hello  world   and    more     spaces ",
    "trailing spaces   ",
    "   leading spaces",
    "\n", "\r\n", "\t", "\n\n\n", "   \n   \n  x", "line one\r\nline two\r\n\r\nline four \r\n  indented",
    "tabs\tand\t\tmore\t\t\tof them\t \t",
    "I'm, you're, he's, we've, they'll, I'd, isn't; I'M, YOU'RE, HE'S, WE'VE, THEY'LL, I'D, ISN'T 'S 'Re 'lL",
    "'s't're've'm'll'd ''ss '\u017f \u017f 'x",
    "don\u2019t use \u2018typographic\u2019 \u201cquotes\u201d",
    "0 1 12 123 1234 12345 1234567890123456789012345678901234567890",
    "a1b22c333d4444 3.14159 1,000,000 1e-10 0xDEADBEEF 192.168.0.1 2025-11-24T01:02:03Z",
    "half \u00bd roman \u216b circled \u2460\u2461 superscript x\u00b2\u00b3 arabic \u0661\u0662\u0663\u0664 devanagari \u0967\u0968\u0969\u096a\u096b",
    "int main() {\n\tfor (int i = 0; i < 10; ++i) {\n\t\tprintf(\"%d\\n\", i);\n\t}\n\treturn 0;\n}\n",
    "def f(x):\n    if x:\n        return {'a': [1, 2, 3], \"b\": None}\n    # comment\n\n\nclass Foo_Bar(Base2):\n    pass\n",
    "<html>\n  <body class=\"x\">&nbsp;&amp;</body>\n</html>   \n\n",
    "a=b+c-d*e/f%g^h&i|j~k!l?m:n;o,p.q(r)s[t]u{v}w<x>y@z#$`\\",
    "!!!??? ... --- === *** /// \\\\\\ ((())) [[[]]] $$$\n\n$$$ \n!",
    "\U0001f600\U0001f603 \U0001f680\U0001f44d\U0001f3fd \U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 \U0001f1e9\U0001f1ea 1\ufe0f\u20e3",
    "caf\u00e9 cafe\u0301 \u00c5 A\u030a \u212b n\u0303o\u0302\u0323 q\u0307\u0323 q\u0323\u0307 \u1e9b\u0323 \u0344 \u2126 \ufb01",
    "e\u0301\u0301\u0301\u0301 Z\u0351\u0323\u0316a\u0334\u0301l\u0315g\u0340o\u0345",
    "\u6a21\u578b\u4fdd\u5b58\u6bcf\u4e2a\u8bcd\u7684\u952e\u548c\u503c\u3002\u5185\u5b58\u5f88\u8d35\uff0c\u65f6\u95f4\u66f4\u8d35\uff01 \u300c\u65e5\u672c\u8a9e\u300d\u3068\u30ab\u30bf\u30ab\u30ca\u3001\uff76\uff9e\uff77\uff9e \u304b\u3099",
    "\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "\u0627\u0644\u0633\u0644\u0627\u0645 \u0639\u0644\u064a\u0643\u0645 \u0645\u064e\u0631\u0652\u062d\u064e\u0628\u064b\u0627 \u06f1\u06f2\u06f3 \u200f\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd\u200e",
    "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a \u0e19\u0e49\u0e33 \u0e40\u0e01\u0e47\u0e1a\u0e04\u0e48\u0e32 \u0928\u092e\u0938\u094d\u0924\u0947 \u0915\u094d\u0937 \u0958 \u0b95\u0bc6\u0bbe",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440! \u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac \u0397\u0308\u0301 T\u00fcrk\u00e7e \u0130\u0131 \u0110\u1ecdc ti\u1ebfng Vi\u1ec7t \u01c5 \u02b0",
    "nul\0inside \0\0 \x01\x02\x03\x04\x05\x06 \x1b[31mred\x1b[0m \x7f\x80\x85\x9f bom\ufeffhere",
    "spaces:\u00a0\u1680\u180e\u2000\u2003\u200a\u200b\u2028\u2029\u202f\u205f\u3000end",
    "a\u00a0 b \u3000\u3000c\u3000 \n\u3000d\u0085e\u000bf\u000cg\u001ch",
    "\u2028\u2028x \u2028\n\u2028 y",
    "private \ue000\uf8ff\U000f0000\U00100000\U0010ffff non \ufffe\uffff replacement \ufffd",
    "\U0001d54f\U0001d7d8\U0001d7d9 \U00020000\U0002a6d6 \U00013000 \U0001f1e6 \U0001d15e",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|endoftext|><|endoftext|> <|endoftext|>x<|im_end|",
    "<tool_call>\n{\"name\": \"f\"}\n</tool_call> and <tool_calls> <<tool_call>>",
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|>",
    "cafe\u0301<|im_end|>\u0301<tool_call>\u0301",
    "<end><endless><ende <<end>> <end",
    " \t<|im_start|> a \n<end>\u3000 b <|im_end|> \u2003c<tool_call> \u180e d  <endless> \x1c e <end> <tool_call> <end> ",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "a" * 200 + " " * 70 + "b" * 33 + "\n" * 20 + "=" * 100 + "ab" * 50,
    "THE QUICK brown Fox_Jumps over_the lazyDog camelCaseWords snake_case_words kebab-case-words",
    "unreached unreached, unreachedly \u8a5e \u8a5e\u8a5e",
    "https://example.org/path/to?query=1&x=%20y#frag user@example.com C:\\Windows\\System32",
    "x " * 20 + "\t\n \t\n",
]

# Tokens that no merge makes: only a pre-tokenizer with "whole words first" finds them.
UNREACHED = ["\u0120unreached", "\u00e8\u00a9\u013a"]

# A mean mixture of everything, so that every boundary between kinds of characters occurs.
MIXTURE = ["a", "B", "'s", "'S", "'", " ", "  ", "\n", "\r\n", "\t", "1", "23", "\u0663", "\u00bd", "\u00e9", "e\u0301", "\u0301", "\u4e2d", "\u0627", "\u0e04\u0e48",
           "\U0001f600", "\u200d", "\u00a0", "\u3000", "\u180e", "\u0085", "!", "...", "_", "<end>", "<tool_call>", "<|im_end|>"]


def mixtures(count):
    state = 12345
    for _ in range(count):
        parts = []
        for _ in range(24):
            state = (state * 1103515245 + 12345) % 2**31
            parts.append(MIXTURE[(state >> 8) % len(MIXTURE)])
        yield "".join(parts)


ALL_TEXTS = TEXTS + list(mixtures(40))

# The chat template of the tiny checkpoints.
TINY_CHAT = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
             "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")

CHATS = [
    [],
    [("user", "What is 2+2?")],
    [("system", "Be brief."), ("user", " Hi  \n"), ("assistant", "Hello!"), ("user", "Bye\u3000")],
    [("user", "one"), ("system", "late system"), ("user", "two <|im_end|>")],
]


def words_of(pre):
    """(normalizer, pre-tokenizer, whole words first) of the original models."""
    split = lambda digits: pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(CL100K % digits), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    if pre == "smollm":
        return None, pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]), False
    if pre == "qwen2":
        return normalizers.NFC(), split(r"\p{N}"), False
    if pre == "llama-bpe":
        return None, split(r"\p{N}{1,3}"), True
    raise SystemExit(f"unknown pre-tokenizer {pre}")


def build(pre, tokens, merges, types, strip_left=(), strip_right=(), single_word=()):
    normalizer, words, whole = words_of(pre)
    # Control and user-defined tokens keep their ids because the vocabulary has them already.
    model = BPE({t: i for i, t in enumerate(tokens)}, [tuple(m.split(" ")) for m in merges], ignore_merges=whole)
    tokenizer = Tokenizer(model)
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = words
    tokenizer.decoder = decoders.ByteLevel()
    added = lambda i, special: AddedToken(tokens[i], normalized=False, special=special, lstrip=i in strip_left, rstrip=i in strip_right,
                                       single_word=i in single_word)
    tokenizer.add_special_tokens([added(i, True) for i, k in enumerate(types) if k in (2, 3)])
    tokenizer.add_tokens([added(i, False) for i, k in enumerate(types) if k == 4])
    assert tokenizer.get_vocab_size() == len(tokens)
    return tokenizer


def cases(tokenizer):
    rows = []
    for text in ALL_TEXTS:
        row = {"text": text}
        tokenizer.encode_special_tokens = True
        row["plain"] = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        row["special"] = tokenizer.encode(text, add_special_tokens=False).ids
        if row["special"] == row["plain"]:
            del row["special"]
        rows.append(row)
    return rows


def render(template, messages):
    import jinja2.sandbox
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    turns = [{"role": role, "content": content} for role, content in messages]
    return environment.from_string(template).render(messages=turns, add_generation_prompt=True, bos_token="<|begin_of_text|>")


def chats(template):
    rows = []
    for messages in CHATS:
        try:
            rows.append({"messages": messages, "text": render(template, messages)})
        except Exception as error:  # noqa: BLE001 - a template may refuse, for instance, an empty conversation
            print(f"  template refuses {messages}: {error}")
    return rows


def write(path, value):
    """One case a line, so that a change of a golden file reads well."""
    lines = []
    for key, item in value.items():
        if isinstance(item, list) and item and isinstance(item[0], dict):
            rows = ",\n".join("  " + json.dumps(row, separators=(",", ":")) for row in item)
            lines.append(f" {json.dumps(key)}: [\n{rows}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(item, separators=(',', ':'))}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path}: {path.stat().st_size} bytes")


def make_tiny(pre, out, variant=""):
    normalizer, words, _ = words_of(pre)
    trainee = Tokenizer(BPE())
    if normalizer:
        trainee.normalizer = normalizer
    trainee.pre_tokenizer = words
    added = [("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), ("<tool_call>", 4), ("<end>", 4), ("<endless>", 3), (" of", 4)]
    trainer = trainers.BpeTrainer(vocab_size=1000 - len(added) - len(UNREACHED), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    trainee.train_from_iterator([TRAINING], trainer)
    model = json.loads(trainee.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get) + [text for text, _ in added]
    assert not set(UNREACHED) & set(tokens)
    tokens += UNREACHED
    merges = [" ".join(m) for m in model["merges"]]
    types = [1] * len(model["vocab"]) + [kind for _, kind in added] + [1] * len(UNREACHED)
    # Each kind of token with each flag.
    flags = {
        "": {},
        "_strips": {"strip_left": ["<|im_start|>", "<end>", "<endless>"], "strip_right": ["<|im_end|>", "<tool_call>", "<endless>"]},
        "_words": {"single_word": ["<|im_start|>", "<tool_call>", "<endless>", " of"], "strip_left": ["<tool_call>"]},
    }[variant]
    flags = {flag: [tokens.index(t) for t in texts] for flag, texts in flags.items()}
    write(out / f"tiny_{pre}{variant}.json",
          {"pre_tokenizer": pre, "tokens": tokens, "merges": merges, "token_types": types, **flags,
           "cases": cases(build(pre, tokens, merges, types, **flags))})


def make_model(name, path, out):
    import gguf
    fields = gguf.GGUFReader(path).fields
    get = lambda key: fields["tokenizer." + key].contents()
    tokens, merges, types = get("ggml.tokens"), get("ggml.merges"), get("ggml.token_type")
    value = {"file": path.name, "pre_tokenizer": get("ggml.pre"),
             "cases": cases(build(get("ggml.pre"), tokens, merges, types)), "chats": chats(get("chat_template"))}
    # No model with the llama-bpe words is small enough to test with, so this vocabulary stands in for its own.
    if name == "smollm2":
        value["llama_bpe_cases"] = cases(build("llama-bpe", tokens, merges, types))
    write(out / f"model_{name}.json", value)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--models", type=pathlib.Path, default=pathlib.Path.home() / ".cache/kvpareto/models")
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "testdata/text")
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for pre in ("smollm", "qwen2", "llama-bpe"):
        make_tiny(pre, options.out)
    make_tiny("qwen2", options.out, "_strips")
    make_tiny("qwen2", options.out, "_words")
    for name, file in MODELS.items():
        if (options.models / file).exists():
            make_model(name, options.models / file, options.out)
        else:
            print(f"{file} is not in {options.models}: model_{name}.json left as it is")


if __name__ == "__main__":
    main()
