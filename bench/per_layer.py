#!/usr/bin/env python3
"""Do schemes layer by layer beat uniform ones? Measures every uniform scheme between two sizes, lets a per-layer search look
for the best within the bytes of each that no other uniform one beats, and compares both on text that no search saw.

  bench/per_layer.py -m MODEL.gguf -o bench/results/DATE-per-layer-NAME.md [--from 3] [--to 6] [--study PREFIX]

Searches measure on wikitext2's validation text, both are compared on its test text ($KVPARETO_DATA), paired by stretch. What
the studies hold already is not measured again, so a run that was stopped goes on.
"""
import argparse
import json
import os
import pathlib
import sqlite3
import statistics
import subprocess
import sys

KEYS = ("8t64.pre", "4t32.pre", "4t64.pre", "4t128.pre", "3t32.pre.fit", "3t64.pre.fit", "2t64.pre.fit")
VALUES = ("8g64", "4g32.had", "4g64.had", "3g32.had.fit", "3g64.had.fit", "2g64.had.fit")
CHUNK = 256


def run(command):
    if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
        sys.exit(f"per_layer: this failed, what it measured is kept: {' '.join(command)}")


class Study:
    """Whole measurements of a study by scheme."""

    def __init__(self, path, texts):
        self.by_scheme = {}
        rows = sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(
            "SELECT body FROM measurements WHERE state = 'done' AND json_extract(body, '$.regime.texts') >= ?", (texts,))
        for (body,) in rows:
            measured = json.loads(body)
            self.by_scheme[measured["point"].removeprefix("w16_k").removesuffix(f"_chunk{CHUNK}")] = measured

    def of(self, scheme):
        return self.by_scheme[scheme.removeprefix("k")]

    def value(self, scheme, figure):
        return self.of(scheme)["values"][figure]["value"]

    def losses(self, scheme):
        return self.of(scheme)["texts"]["kld_mean"]

    def loss(self, scheme):
        return statistics.fmean(self.losses(scheme))


def arguments(description, study, verify):
    """Those of a search by layer whose finds are compared on text that it did not see."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--texts", type=int, default=4, help="of the searches")
    parser.add_argument("--evaluations", type=int, default=24, help="of the search within each size")
    parser.add_argument("--verify", type=int, default=verify, help="stretches of the test text")
    parser.add_argument("--study", default=study)
    parser.add_argument("--program", default=str(pathlib.Path(__file__).resolve().parent.parent / "build" / "kvpareto"))
    return parser


def write_space(study, windows=("",)):
    """Every layer's choices, with one of the windows; returns the file's name."""
    space = pathlib.Path(f"{study}-space.toml")
    space.write_text(f"keys = {json.dumps(('16',) + KEYS)}\nvalues = {json.dumps(('16',) + VALUES)}\nweights = [\"w16\"]\n"
                     f"windows = {json.dumps(windows)}\nchunks = [{CHUNK}]\nper_layer = true\n")
    return str(space)


def gain(before, after):
    """The mean of what paired losses come down by, and its standard error."""
    gains = [a - b for a, b in zip(before, after)]
    return statistics.fmean(gains), statistics.stdev(gains) / len(gains) ** 0.5


def main():
    parser = arguments(__doc__, "per-layer", 16)
    parser.add_argument("--from", dest="least", type=float, default=3, help="effective bits")
    parser.add_argument("--to", dest="most", type=float, default=6, help="effective bits")
    options = parser.parse_args()
    data = pathlib.Path(os.environ["KVPARETO_DATA"]) / "wikitext2_raw"
    searched, verified = f"{options.study}-search.db", f"{options.study}-verify.db"
    shared = ["-m", options.model, "-c", "8192", "-w", "w16", "--prefill", "1536", "--scored", "512"]
    space = write_space(options.study)

    def evaluate(schemes, text, texts, study):
        run([options.program, "eval", *shared, "-ub", str(CHUNK), "--texts", str(texts), "--text", str(data / text), "--study",
             study, "--kv", ",".join(["k16v16"] + schemes)])
        return Study(study, texts)

    def search(*asked):
        run([options.program, "search", *shared, "--space", space, "--text", str(data / "wiki.valid.raw"), "--texts",
             str(options.texts), "--needles", "0", "--verify", "0", "--study", searched, "--report",
             f"{options.study}.html", *asked])

    uniform = [f"k{keys}.v{values}" if "." in keys else f"k{keys}v{values}" for keys in KEYS for values in VALUES]
    known = evaluate(uniform, "wiki.valid.raw", options.texts, searched)
    inside = [s for s in uniform if options.least <= known.value(s, "effective_bits") <= options.most]
    front = sorted((s for s in inside if not any(
        known.value(o, "kv_bytes") <= known.value(s, "kv_bytes") and known.loss(o) < known.loss(s) for o in inside)),
                   key=lambda s: known.value(s, "kv_bytes"))
    search()
    for scheme in front:
        search("--mem-budget", str(int(known.value(scheme, "predicted_peak_bytes"))),
               "--evaluations", str(options.evaluations))
    known = Study(searched, options.texts)
    layered = [s for s in known.by_scheme if "," in s]
    best = {}
    for scheme in front:
        within = [s for s in layered if known.value(s, "kv_bytes") <= known.value(scheme, "kv_bytes")]
        best[scheme] = min(within, key=known.loss)
    held = evaluate(list(dict.fromkeys(front + ["k" + s for s in best.values()])), "wiki.test.raw", options.verify, verified)

    lines = [f"# Layer by layer against uniform schemes, {pathlib.Path(options.model).stem}\n",
             f"Made by `bench/per_layer.py`: {len(inside)} uniform schemes between {options.least:g} and {options.most:g} effective "
             f"bits, of which the {len(front)} stand below that no other beats; per-layer searches on {options.texts} stretches of "
             f"wikitext2's validation text, compared on {options.verify} of its test text, which no search saw (1536 tokens of "
             "prefill, 512 scored). Gain: paired by stretch, ± standard error.\n",
             f"Space of every layer: keys {', '.join(KEYS)} or 16; values {', '.join(VALUES)} or 16.\n",
             "| uniform | bits | divergence | by layer | bits | divergence | gain | |",
             "| --- | ---: | ---: | --- | ---: | ---: | ---: | --- |"]
    for scheme in front:
        other = best[scheme]
        less, error = gain(held.losses(scheme), held.losses(other))
        verdict = "better" if less > 1.96 * error else "worse" if less < -1.96 * error else "tie"
        lines.append(f"| `{scheme}` | {held.value(scheme, 'effective_bits'):.2f} | {held.loss(scheme):.4f} | `k{other}` | "
                     f"{held.value(other, 'effective_bits'):.2f} | {held.loss(other):.4f} | {less:.4f} ± {error:.4f} | {verdict} |")
    pathlib.Path(options.output).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
