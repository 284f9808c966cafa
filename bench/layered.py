#!/usr/bin/env python3
"""The best schemes by layer of so many bits, as the program itself finds them, beside the best uniform ones of docs/SCHEMES.md.

  bench/layered.py -m MODEL.gguf -o bench/results/DATE-layered-NAME.md [--study PREFIX]

`kvpareto sensitivity` probes every layer, then `kvpareto search` looks within the bytes of each number of bits; both measure on
wikitext2's validation text. What they found is measured as docs/SCHEMES.md says on stretches of its test text, which no search saw
($KVPARETO_DATA). What the studies hold already is not measured again, so a run that was stopped goes on.
"""
import os
import pathlib
import statistics

from per_layer import CHUNK, Study, arguments, gain, run, write_space

WINDOW, CONTEXT = "recent128.sink4", 4608
PROBED_KEYS, PROBED_VALUES = "k4t64.pre,k2t64.pre.fit", "v4.had,v2.had.fit"
# By effective bits at CONTEXT tokens; the window makes a third of one bit of all.
UNIFORM = {5: f"k4t64.pre.v4g64.had.{WINDOW}", 4: f"k3t64.pre.fit.v3g64.had.fit.{WINDOW}"}


def main():
    options = arguments(__doc__, "layered", 8).parse_args()
    data = pathlib.Path(os.environ["KVPARETO_DATA"]) / "wikitext2_raw"
    searched, verified = f"{options.study}-search.db", f"{options.study}-test.db"
    shared = ["-m", options.model, "--prefill", "1536", "--scored", "512", "--text", str(data / "wiki.valid.raw"), "--study",
              searched]
    space = write_space(options.study, (WINDOW,))

    run([options.program, "sensitivity", *shared, "--k", PROBED_KEYS, "--v", PROBED_VALUES, "--texts", "1"])

    def search(budget):
        run([options.program, "search", *shared, "-c", str(CONTEXT), "--space", space, "--texts", str(options.texts),
             "--needles", "0", "--verify", "0", "--report", f"{options.study}.html", "--mem-budget", str(budget),
             "--evaluations", str(options.evaluations)])

    # Any point of the context tells what all the rest takes.
    run([options.program, "eval", *shared, "-c", str(CONTEXT), "-w", "w16", "-ub", str(CHUNK), "--texts", str(options.texts),
         "--kv", "k16v16"])
    exact = Study(searched, options.texts)
    cache, bits_of_cache = (exact.value("k16v16", figure) for figure in ("kv_bytes", "effective_bits"))
    rest = exact.value("k16v16", "predicted_peak_bytes") - cache
    found = {}
    for bits in UNIFORM:
        most = cache * bits / bits_of_cache
        search(int(rest + most))
        study = Study(searched, options.texts)
        found[bits] = "k" + min((s for s in study.by_scheme if "," in s and study.value(s, "kv_bytes") <= most), key=study.loss)

    run([options.program, "eval", "-m", options.model, "-w", "w16", "-ub", str(CHUNK), "--prefill", "4096", "--scored", "512",
         "--decoded", "0", "--text", str(data / "wiki.test.raw"), "--texts", str(options.verify), "--study", verified, "--kv",
         ",".join(["k16v16", *UNIFORM.values(), *found.values()])])
    held = Study(verified, options.verify)

    def figures(scheme):
        losses = held.losses(scheme)
        error = statistics.stdev(losses) / len(losses) ** 0.5
        return f"{held.value(scheme, 'effective_bits'):.3f} | {statistics.fmean(losses):.4f} ± {error:.4f}"

    lines = [f"# By layer at 5 and 4 bits, {pathlib.Path(options.model).stem}\n",
             f"Made by `bench/layered.py`: found on {options.texts} stretches of wikitext2's validation text (1536 tokens of prefill, "
             f"512 scored; `sensitivity` on one), measured on {options.verify} of its test text, which no search saw (4096 and 512, as "
             f"in docs/SCHEMES.md), all with `{WINDOW}`. Gain: paired by stretch, ± standard error.\n",
             "| | scheme | bits | divergence | gain |", "| --- | --- | ---: | ---: | ---: |"]
    for bits, uniform in UNIFORM.items():
        less, error = gain(held.losses(uniform), held.losses(found[bits]))
        lines.append(f"| uniform | `{uniform}` | {figures(uniform)} | |")
        lines.append(f"| by layer | `{found[bits]}` | {figures(found[bits])} | {less:.4f} ± {error:.4f} |")
    pathlib.Path(options.output).write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
