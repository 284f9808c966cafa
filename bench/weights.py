#!/usr/bin/env python3
"""What weights of few bits cost on a model: perplexity and divergence on WikiText-2, and bytes.

    bench/weights.py MODEL [-o FILE] [--program build/kvpareto] [--mixed SCHEME] [--folder DIR] [--texts 8]
                     [--prefill 2048] [--scored 2047]

Measures w16, rounding to nearest and AWQ at 4 bits (groups of 128 and 32) and 3 bits, the file's own blocks as stored, and
any --mixed schemes, and folders that `kvpareto quantize` made of MODEL (with other calibration text, say), each through `kvpareto eval` with a 16-bit cache on wiki.test.raw of $KVPARETO_DATA (context prefill +
scored + 1). Errors are standard errors over texts. The first run quantizes (minutes); what it made is kept.
"""
import argparse
import csv
import io
import pathlib
import subprocess
import sys

SCHEMES = ["w16", "w8g128", "w4g128", "w4g128.awq", "w4g32", "w4g32.awq", "w3g128", "w3g128.awq", "stored"]


def measure(arguments, model, schemes):
    command = [arguments.program, "eval", "-m", model, "-w", ",".join(schemes), "--kv", "k16v16", "-o", "csv",
               "--texts", str(arguments.texts), "--prefill", str(arguments.prefill), "--scored", str(arguments.scored),
               "-c", str(arguments.prefill + arguments.scored + 1)]
    if model != arguments.model:
        command += ["--reference", arguments.model]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return list(csv.DictReader(io.StringIO(done.stdout)))


def with_error(row, name, digits):
    return f"{float(row[name]):.{digits}f} ± {float(row[name + '_se']):.{digits}f}"


def table(rows):
    lines = ["| weights | bytes of weights | divergence, nats/token | perplexity | same top token |",
             "| --- | --- | --- | --- | --- |"]
    for row in rows:
        megabytes = float(row["weights_bytes"]) / 1e6
        lines.append(f"| `{row['weights']}` | {megabytes:.1f} MB | {with_error(row, 'kld_mean', 4)} | "
                     f"{with_error(row, 'ppl', 2)} | {float(row['same_top']):.3f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--output", type=pathlib.Path)
    parser.add_argument("--program", default="build/kvpareto")
    parser.add_argument("--mixed", action="append", default=[], help="a further scheme, such as w4g128.awq,down:w8g128")
    parser.add_argument("--folder", action="append", default=[], help="a folder that was quantized of MODEL")
    parser.add_argument("--schemes", help="instead of the usual ones, parted by blanks")
    parser.add_argument("--texts", type=int, default=8)
    parser.add_argument("--prefill", type=int, default=2048)
    parser.add_argument("--scored", type=int, default=2047)
    options = parser.parse_args()
    usual = SCHEMES if options.schemes is None else options.schemes.split()
    rows = measure(options, options.model, usual + options.mixed)
    for folder in options.folder:
        name = pathlib.Path(folder).resolve().name
        rows += [row | {"weights": name} for row in measure(options, folder, ["stored"])]
    print(table(rows))
    if options.output:
        options.output.write_text(table(rows) + "\n")
        print(f"written to {options.output}", file=sys.stderr)
