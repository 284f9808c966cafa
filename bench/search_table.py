#!/usr/bin/env python3
"""Measures every point of a search table and writes it: per point its bytes and the divergence of each text. What a search
would have found with all the time in the world; search_replay plays searches over it.

  bench/search_table.py -m MODEL.gguf --text wiki.valid.raw --study FILE -o bench/results/search-table-NAME.csv [--set smollm2]

Three stages: a grid of one scheme for all layers; every layer alone at 2 bits, keys and values apart; schemes layer by layer, drawn
(seed 1) about what those layers bear. Regime: 512 tokens of prefill in chunks of 256, 128 scored ones, 4 texts, memory at 8192
tokens. What the study holds already is not measured again, so a run that was stopped goes on, over days if need be.
"""
import argparse
import csv
import json
import pathlib
import random
import sqlite3
import subprocess
import sys

REGIME = ["-c", "8192", "--prefill", "512", "--scored", "128", "--texts", "4"]
BATCH = 12  # points a run of the program: the model is loaded, and the baseline measured, once a run

SETS = {
    "smollm2": {
        "layers": 30,
        "keys": ["16", "8g32", "8g64", "8t64.pre", "4g32", "4g64", "4g32.had", "4g32.mean", "4t32", "4t32.pre", "4t64.pre",
                 "3g32.had", "3t32", "3t32.pre.fit", "3t64.pre.fit", "2g32", "2t32", "2t32.pre.fit", "2t64.pre.fit"],
        "values": ["16", "8g32", "8g64", "4g32", "4g64", "4g64.had", "3g32", "3g32.had.fit", "3g64.had.fit", "2g32",
                   "2g32.had.fit", "2g64.had.fit"],
        "layered": 200,
    },
    "qwen2.5-coder-0.5b": {
        "layers": 24,
        "keys": ["8g32", "8g32.pre.bias", "8t64.pre", "4g32", "4t32", "4t32.pre", "4t64.pre", "3t32.pre.fit", "3t64.pre.fit",
                 "2t32.pre.fit", "2t64.pre.fit"],
        "values": ["16", "8g32", "4g32", "4g64.had", "3g64.had.fit", "2g32.had.fit", "2g64.had.fit"],
        "layered": 90,
    },
}
KEY_FAMILY, VALUE_FAMILY = "t64.pre", "g64.had"  # of the schemes layer by layer


def side(letter, bits):
    family = KEY_FAMILY if letter == "k" else VALUE_FAMILY
    return f"{letter}{bits}{family}" + (".fit" if bits < 4 else "")


def grid(chosen):
    """In a drawn order: a table that is not complete yet is a fair sample of the grid."""
    pairs = [f"k{k}.v{v}" for k in chosen["keys"] for v in chosen["values"] if (k, v) != ("16", "16")]
    random.Random(1).shuffle(pairs)
    return ["k16v16"] + pairs


def probes(chosen):
    return [f"k16v16,{layer}:{side(letter, 2)}" for letter in "kv" for layer in range(chosen["layers"])]


def layered(chosen, loss):
    """Bits of every layer and side: the cheapest at a drawn price of a bit, by the losses of the probes, blurred, and a quarter
    of the loss for every bit more."""
    draw = random.Random(1)
    lists = []
    for _ in range(chosen["layered"]):
        price = 10 ** draw.uniform(-5.5, -1.5)
        overrides = []
        for layer in range(chosen["layers"]):
            parts = []
            for letter in "kv":
                base = loss[letter][layer] * draw.lognormvariate(0, 0.7)
                bits = min((2, 3, 4, 8), key=lambda b: base * 4.0 ** (2 - b) + price * b)
                parts.append(side(letter, bits))
            overrides.append((layer, parts))
        usual = max(((k, v) for _, (k, v) in overrides), key=[tuple(p) for _, p in overrides].count)
        text = f"{usual[0]}.{usual[1]}"
        for layer, (k, v) in overrides:
            change = ".".join(new for new, old in zip((k, v), usual) if new != old)
            text += f",{layer}:{change}" if change else ""
        lists.append(text)
    return lists


def rows(study):
    """Of every point measured, by its canonical scheme."""
    found = {}
    with sqlite3.connect(f"file:{study}?mode=ro", uri=True) as database:
        for (body,) in database.execute("SELECT body FROM measurements WHERE state = 'done' ORDER BY id"):
            measurement = json.loads(body)
            found[measurement["point"]] = measurement
    return found


def known_texts(options):
    """What was measured already under the texts that this script writes: not asked for again, so that a restart is quick."""
    kept = pathlib.Path(options.study + ".done")
    return set(kept.read_text(encoding="utf-8").split()) if kept.exists() else set()


def measure(options, schemes):
    done = known_texts(options)
    schemes = [scheme for scheme in schemes if scheme not in done]
    for begin in range(0, len(schemes), BATCH):
        command = [options.program, "eval", "-m", options.model, "--text", options.text, "--study", options.study, "--kv",
                   ",".join(schemes[begin:begin + BATCH]), "-o", "json"] + REGIME
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            sys.exit(f"search_table: the program failed at points {begin} to {begin + BATCH}; run again to go on")
        with open(options.study + ".done", "a", encoding="utf-8") as file:
            file.writelines(scheme + "\n" for scheme in schemes[begin:begin + BATCH])
        write(options)


def write(options):
    table = rows(options.study)
    with open(options.output, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["point", "peak_bytes", "kv_bytes", "effective_bits", "kld_mean"] + [f"kld_{i}" for i in range(4)])
        for point, m in table.items():
            values = {name: m["values"][name]["value"] for name in ("peak_bytes", "kv_bytes", "effective_bits", "kld_mean")}
            out.writerow([point, int(values["peak_bytes"]), int(values["kv_bytes"]), f"{values['effective_bits']:.4f}",
                          f"{values['kld_mean']:.6g}"] + [f"{x:.6g}" for x in m["texts"]["kld_mean"]])


def probe_losses(options, chosen):
    """[layer] of keys and of values, nats/token."""
    table = rows(options.study)
    loss = {"k": [], "v": []}
    for letter in "kv":
        for layer in range(chosen["layers"]):
            found = [m for point, m in table.items() if point.startswith(f"w16_k16v16,{layer}:{letter}2")]
            loss[letter].append(max(1e-6, found[0]["values"]["kld_mean"]["value"]))
    return loss


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--text", required=True, help="text to tune on, not what verifies")
    parser.add_argument("--study", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--set", default="smollm2", choices=sorted(SETS))
    parser.add_argument("--program", default=str(pathlib.Path(__file__).resolve().parent.parent / "build" / "kvpareto"))
    options = parser.parse_args()
    chosen = SETS[options.set]
    measure(options, grid(chosen))
    measure(options, probes(chosen))
    measure(options, layered(chosen, probe_losses(options, chosen)))
    print(f"{len(rows(options.study))} points in {options.output}")


if __name__ == "__main__":
    main()
