#!/usr/bin/env python3
"""Measures every point of a search space and writes a table: per point its bytes and the divergence of each text. What a search
would have found with all the time in the world; search_replay plays searches over it.

  bench/search_table.py -m MODEL.gguf --text wiki.valid.raw --study FILE -o bench/results/search-table-NAME.csv [--set smollm2]

The space: weights x keys x values x prefill chunk, the same in all layers. The regime is cheap, so that thousands of points can be
measured: few tokens of prefill, 4 texts of which a search sees one, two or all; memory at 8192 tokens. Points are
measured in a drawn order of schemes, so that a table that is not complete yet is a fair sample. What the study holds already is
not measured again: a run that was stopped goes on, over days if need be.
"""
import argparse
import csv
import json
import pathlib
import random
import sqlite3
import subprocess
import sys

TEXTS = 4
BATCH = 11  # schemes a run of the program: weights are prepared once a run

SETS = {
    "smollm2": {
        "regime": ["--prefill", "128", "--scored", "64"],
        "weights": ["w16", "w8g128e8", "w4g128e8"],
        "keys": ["16", "8g64", "8t64.pre", "4g64", "4g32.had", "4t32", "4t64.pre", "3g32.had", "3t64.pre.fit", "2t32.pre.fit",
                 "2t64.pre.fit"],
        "values": ["16", "8g64", "4g32", "4g64.had", "3g32.had.fit", "3g64.had.fit", "2g32.had.fit", "2g64.had.fit"],
        "chunks": ["256", "64"],
    },
    "qwen2.5-coder-0.5b": {
        "regime": ["--prefill", "128", "--scored", "64"],
        "weights": ["w16", "w8g128e8", "w4g128e8"],
        "keys": ["8g64", "8g64.pre.bias", "8t64.pre", "4g64", "4t32.pre", "4t64.pre", "3t32.pre.fit", "3t64.pre.fit", "2t32.pre.fit",
                 "2t64.pre.fit"],
        "values": ["16", "8g64", "4g64.had", "4g32", "3g64.had.fit", "2g32.had.fit", "2g64.had.fit"],
        "chunks": ["256"],
    },
}


def batches(chosen):
    """(weights, schemes): a part of the schemes under all weights, then the next part."""
    schemes = [f"k{k}.v{v}" for k in chosen["keys"] for v in chosen["values"] if (k, v) != ("16", "16")]
    random.Random(1).shuffle(schemes)
    schemes.insert(0, "k16v16")
    for begin in range(0, len(schemes), BATCH):
        for weights in chosen["weights"]:
            yield weights, schemes[begin:begin + BATCH]


def measure(options, chosen):
    for weights, schemes in batches(chosen):
        command = [options.program, "eval", "-m", options.model, "-c", "8192", "--text", options.text, "--texts", str(TEXTS),
                   "--study", options.study, "-w", weights, "-ub", ",".join(chosen["chunks"]), "--kv", ",".join(schemes),
                   "--decoded", "0", "-o", "json"] + chosen["regime"]
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            sys.exit(f"search_table: the program failed at {weights} {schemes[0]}; run again to go on")
        write(options)


def rows(study):
    """Of every point measured, by its canonical text."""
    found = {}
    with sqlite3.connect(f"file:{study}?mode=ro", uri=True) as database:
        for (body,) in database.execute("SELECT body FROM measurements WHERE state = 'done' ORDER BY id"):
            measurement = json.loads(body)
            found[measurement["point"]] = measurement
    return found


def write(options):
    table = rows(options.study)
    with open(options.output, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["point", "peak_bytes", "kv_bytes", "effective_bits", "kld_mean"] + [f"kld_{i}" for i in range(TEXTS)])
        for point, m in table.items():
            values = {name: m["values"][name]["value"] for name in ("peak_bytes", "kv_bytes", "effective_bits", "kld_mean")}
            out.writerow([point, int(values["peak_bytes"]), int(values["kv_bytes"]), f"{values['effective_bits']:.4f}",
                          f"{values['kld_mean']:.6g}"] + [f"{x:.6g}" for x in m["texts"]["kld_mean"]])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--text", required=True, help="text to tune on, not what verifies")
    parser.add_argument("--study", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--set", default="smollm2", choices=sorted(SETS))
    parser.add_argument("--program", default=str(pathlib.Path(__file__).resolve().parent.parent / "build" / "kvpareto"))
    options = parser.parse_args()
    measure(options, SETS[options.set])
    print(f"{len(rows(options.study))} points in {options.output}")


if __name__ == "__main__":
    main()
