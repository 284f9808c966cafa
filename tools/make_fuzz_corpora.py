#!/usr/bin/env python3
"""Writes seeds for the fuzz targets that read what lies in testdata anyway: testdata/NAME_corpus. No packages needed.

  safetensors      the files of testdata/folders without the data of tensors, and a whole tiny one
  hf_config        their config.json
  tokenizer_json   tokenizer.json of a few dozen tokens, one for each kind in testdata/folders
  jinja            the templates of testdata/chat
"""
import json
import pathlib
import struct

TESTDATA = pathlib.Path(__file__).resolve().parent.parent / "testdata"


def folder(name):
    made = TESTDATA / f"{name}_corpus"
    made.mkdir(exist_ok=True)
    for old in made.iterdir():
        old.unlink()
    return made


def small(tokenizer):
    """Of a byte-level vocabulary the first letters; of the other kind all bytes. Merges of what is left."""
    model = tokenizer["model"]
    kept = {t: i for t, i in model["vocab"].items() if i < (280 if model.get("byte_fallback") else 70)}
    merges = [m for m in model["merges"] if all(part in kept for part in m) and "".join(m) in kept]
    model["vocab"], model["merges"] = kept, merges
    for i, token in enumerate(tokenizer["added_tokens"]):
        token["id"] = kept.get(token["content"], 300 + i)
    return tokenizer


def main():
    safetensors, config, vocabulary, jinja = map(folder, ("safetensors", "hf_config", "tokenizer_json", "jinja"))
    header = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": {"format": "pt"}}).encode()
    (safetensors / "whole").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    for path in sorted((TESTDATA / "folders").iterdir()):
        if not path.is_dir():
            continue
        shard = sorted(path.glob("*.safetensors"))[0].read_bytes()
        (safetensors / path.name).write_bytes(shard[:8 + struct.unpack("<Q", shard[:8])[0]])
        (config / path.name).write_bytes((path / "config.json").read_bytes())
        tokenizer = small(json.loads((path / "tokenizer.json").read_text()))
        (vocabulary / path.name).write_text(json.dumps(tokenizer, ensure_ascii=False))
    for path in sorted((TESTDATA / "chat" / "templates").glob("*.jinja")):
        (jinja / path.stem).write_bytes(path.read_bytes())


main()
