#!/usr/bin/env python3
"""Measures the schemes that docs/SCHEMES.md compares and writes its tables: effective bits and divergence through the cache
of every grouping, codec, transform and window, on one model.

  bench/schemes.py -m MODEL.gguf -o bench/results/schemes-NAME.md [--set all|paper|paper-bias|short|best] [--also SCHEME] [--texts 8] [--study FILE]

Regime: 4096 tokens of prefill in chunks of 256, 512 teacher-forced in steps of 128, pack-then-attend, stretches of
wikitext2's test set ($KVPARETO_DATA). What the study holds already is not measured again, so a run that was stopped goes on.
"""
import argparse
import collections
import json
import pathlib
import subprocess
import sys

PAIRS = ("k8v8", "k8v4", "k8v2", "k4v4", "k4v2", "k2v2")  # the paper's, beside k16v16
# The paper's granularities, as the grammar writes them; groups of 128 channels do not fit heads of 64.
GRANULARITIES = (("Per token, groups of 32 channels", "g32"), ("Per token, groups of 64 channels", "g64"),
                 ("Per channel over 32 tokens", "t32"), ("Per channel over 64 tokens", "t64"),
                 ("Per channel over 128 tokens", "t128"), ("Per block of 64 tokens x 32 channels", "b64x32"),
                 ("Per tensor: one scale a layer and side", "p"))
TRANSFORMS = (("as they are", "", ""), ("mean of keys taken off", ".mean", ""), ("both rotated", ".had", ".had"),
              ("mean of keys taken off, both rotated", ".mean.had", ".had"), ("keys before RoPE", ".pre", ""))
BIAS = (("keys before RoPE less their bias", ".pre.bias", ""),)  # for models whose keys have one


def crossed(granularity, on_keys, on_values):
    return [f"k{p[1]}{granularity}{on_keys}{on_keys and '.'}v{p[3]}{granularity}{on_values}" for p in PAIRS]


def grid(granularities, transforms):
    return tuple((f"{name}, {what}", crossed(granularity, on_keys, on_values))
                 for name, granularity in granularities for what, on_keys, on_values in transforms)


# Heading and schemes; a scheme stands under the first heading that has it.
SETS = {
    "all": (
        ("Best of their size", ["best-5", "best-4", "best-3"]),
        ("Per token, groups of 32 channels", [f"{pair}g32" for pair in PAIRS]),
        ("Per channel over 32 tokens (keys), per token (values)", [f"k{p[1]}t32v{p[3]}g32" for p in PAIRS]),
        ("Per block of 64 tokens x 32 channels", ["k8v8b64x32", "k4v4b64x32"]),
        ("Per tensor: one scale a layer and side", ["k8v8p", "k4v4p"]),
        ("Transforms at int4", ["k4.mean.v4g32", "k4.had.v4g32", "k4t32.pre.v4g32", "k4t32.pre.v4g32.had"]),
        ("Fitted scales", ["k2t32.pre.v2g32.had", "k2t32.pre.fit.v2g32.had.fit"]),
        ("Windows", ["k4v4g32.recent128"]),
        ("llama.cpp's blocks", ["kq4.had.vq4.had"]),
        ("Group size at int4", ["k4v4g64"]),
    ),
    # The paper's pairs x its granularities x transforms.
    "paper": grid(GRANULARITIES, TRANSFORMS),
    # For models whose keys have a bias; without what groups of another size tell already, and without means, which a
    # bias that is taken off leaves nothing of.
    "paper-bias": grid([g for g in GRANULARITIES if g[1] not in ("g64", "t128")],
                       [t for t in TRANSFORMS if "mean" not in t[1]] + list(BIAS)),
    "short": (
        ("Best of their size", ["best-5", "best-4", "best-3"]),
        ("Per token, groups of 32 channels", ["k8v8g32", "k8v4g32", "k4v4g32"]),
        ("Per channel over 32 tokens (keys), per token (values)", ["k4t32v4g32"]),
        ("Transforms", ["k8.pre.bias.v8g32", "k4t32.pre.v4g32"]),
        ("A shorter window", ["k4t64.pre.v4g64.had.recent64.sink4", "k3t64.pre.fit.v3g64.had.fit.recent64.sink4",
                              "k2t64.pre.fit.v2g64.had.fit.recent64.sink4"]),
        ("llama.cpp's blocks", ["kq4.had.vq4.had"]),
    ),
    "best": (
        ("Best of their size", ["best-5", "best-4"]),
        ("Others at int4", ["k4v4g32", "k4t32v4g32"]),
    ),
}


def find_program():
    program = pathlib.Path(__file__).resolve().parent.parent / "build" / "kvpareto"
    if not program.exists():
        sys.exit("schemes: build/kvpareto is missing; 'make build' makes it")
    return str(program)


def measure(options, schemes):
    command = [options.program or find_program(), "eval", "-m", options.model, "--study", options.study, "--texts", str(options.texts),
               "--kv", ",".join(["k16v16"] + schemes), "-o", "json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"schemes: eval ended with exit code {done.returncode}; what it measured is in {options.study}")
    return json.loads(done.stdout)


def shown(row, figure, digits):
    value, error = row.get(figure), row.get(figure + "_se")
    if value is None:
        return ""
    return f"{value:.{digits}f}" + (f" ± {error:.{digits}f}" if error else "")


def table(rows):
    lines = ["| scheme | bits | divergence | 99.9 % | same top | clamped |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for row in rows:
        digits = 5 if (row["kld_mean"] or 0) < 0.01 else 4
        clamped = row.get("clamped")
        lines.append(f"| `{row['kv']}` | {row['effective_bits']:.2f} | {shown(row, 'kld_mean', digits)} | "
                     f"{shown(row, 'kld_p999', 3)} | {100 * row['same_top']:.1f} % | "
                     f"{'' if clamped is None else f'{100 * clamped:.2f} %'} |")
    return "\n".join(lines)


def matrix(headings, by_place):
    """Divergence of a grid at a glance: a row a heading, a column a pair."""
    lines = ["| | " + " | ".join(f"`{pair}`" for pair in PAIRS) + " |", "| --- |" + " ---: |" * len(PAIRS)]
    for heading, schemes in headings.items():
        rows = [by_place[scheme] for scheme in schemes]
        cells = [f"{row['effective_bits']:.2f} bits: {shown(row, 'kld_mean', 4)}" for row in rows]
        lines.append(f"| {heading} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--set", choices=SETS, default="all")
    parser.add_argument("--also", action="append", default=[], help="a further scheme, such as k4v4g64,0:k8,27:k8")
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--study", default="schemes-study.db")
    parser.add_argument("--program", help="the kvpareto to run [build/kvpareto]")
    options = parser.parse_args()
    headings = collections.OrderedDict()
    for heading, schemes in SETS[options.set] + (("Others", options.also),):
        known = [scheme for listed in headings.values() for scheme in listed]
        headings[heading] = [scheme for scheme in schemes if scheme not in known]
    headings = {heading: schemes for heading, schemes in headings.items() if schemes}
    everything = [scheme for schemes in headings.values() for scheme in schemes]
    rows = measure(options, everything)[1:]
    by_place = dict(zip(everything, rows))
    version = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    text = (f"# Schemes on {pathlib.Path(options.model).name}\n\nMade by `bench/schemes.py --set {options.set}` at "
            f"{version.stdout.strip()}, {options.texts} texts of wikitext2's test set, 4096 tokens of prefill in chunks of "
            f"256, 512 scored in steps of 128, pack-then-attend. Divergence in nats/token, ± standard error over texts.\n")
    if options.set.startswith("paper"):
        text += f"\n## Divergence at a glance\n\n{matrix(headings, by_place)}\n"
    for heading, schemes in headings.items():
        text += f"\n## {heading}\n\n{table([by_place[scheme] for scheme in schemes])}\n"
    pathlib.Path(options.output).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
