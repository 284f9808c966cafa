#!/usr/bin/env python3
"""Times kvpareto beside llama.cpp and ik_llama.cpp on the same model file, in interleaved rounds, and prints ratios.

  bench/peers.py -m MODEL.gguf --llama-bench PATH --sweep-bench PATH [--depths 0,4096] [--kv 16,8,4] [-w w16,stored] -o FILE.md

PATH is a program the user has built: `llama-bench` of llama.cpp (it must know `-d`), `llama-sweep-bench` of ik_llama.cpp.
Either may be left out. Every round visits each program with each KV type once, so a machine that slows down slows all of
them; a ratio is taken within a round, and the median, least and greatest of the rounds are printed. Prefill is 512 tokens,
decoding 64 (sweep-bench: 128), behind each depth. The read bandwidth that kvpareto measures beside its own runs is printed
for every round.
"""
import argparse
import collections
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

PROMPT, GENERATE = 512, 64
# What each program calls a cache of so many bits.
KV_NAMES = {
    "16": {"kvpareto": "k16v16", "ggml": "f16"},
    "8": {"kvpareto": "k8v8g64", "ggml": "q8_0"},
    "4": {"kvpareto": "k4v4g32", "ggml": "q4_0"},
}


def run(command):
    # llama-sweep-bench leaves a log where it runs.
    with tempfile.TemporaryDirectory() as folder:
        files = [str(pathlib.Path(word).resolve()) if pathlib.Path(word).is_file() else word for word in command]
        done = subprocess.run(files, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False, cwd=folder)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        sys.exit(f"peers: {' '.join(command)} ended with exit code {done.returncode}: {last}")
    # llama-sweep-bench writes its figures where its messages go.
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{") and line.rstrip().endswith("}")]
    if not rows:
        sys.exit(f"peers: {' '.join(command)} printed no figures")
    return rows


def time_kvpareto(options, kv, weights):
    rows = run([options.program, "bench", "-m", options.model, "-w", weights, "--kv", KV_NAMES[kv]["kvpareto"],
                "-p", str(PROMPT), "-n", str(GENERATE), "-d", options.depths, "-ub", str(options.chunk), "-t",
                str(options.threads), "-r", "1", "-o", "jsonl"])
    rates = {(("pp" if row["n_prompt"] else "tg"), row["n_depth"]): row["avg_ts"] for row in rows}
    return rates, [row["read_gbs"] for row in rows if row.get("read_gbs")]


def time_llama_bench(options, kv):
    name = KV_NAMES[kv]["ggml"]
    rows = run([options.llama_bench, "-m", options.model, "-p", str(PROMPT), "-n", str(GENERATE), "-d", options.depths,
                "-ub", str(options.chunk), "-t", str(options.threads), "-ctk", name, "-ctv", name, "-fa", "1", "-r", "1",
                "-o", "jsonl"])
    return {(("pp" if row["n_prompt"] else "tg"), row["n_depth"]): row["avg_ts"] for row in rows}


def time_sweep_bench(options, kv):
    name = KV_NAMES[kv]["ggml"]
    depths = [int(depth) for depth in options.depths.split(",")]
    context = max(depths) + 2 * options.chunk
    rows = run([options.sweep_bench, "-m", options.model, "-c", str(context), "-ub", str(options.chunk), "-t",
                str(options.threads), "-ctk", name, "-ctv", name, "-fa", "on", "-rtr", "--output-format", "jsonl"])
    rates = {}
    for row in rows:
        if row.get("n_kv") in depths:
            rates["pp", row["n_kv"]] = row["speed_pp"]
            rates["tg", row["n_kv"]] = row["speed_tg"]
    return rates


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def table(options, rounds, peers):
    head = ["test", "KV"] + [f"kvpareto {w}" for w in options.weights] + peers
    head += [f"{w} / {peer}" for peer in peers for w in options.weights]
    lines = ["| " + " | ".join(head) + " |", "| --- | ---: |" + " ---: |" * (len(head) - 2)]
    ours = [f"kvpareto {w}" for w in options.weights]
    for depth in options.depths.split(","):
        for test in ("pp", "tg"):
            for kv in options.kv:
                key = (test, int(depth))
                if not all(key in one[name, kv] for one in rounds for name in ours + peers):
                    continue
                cells = [f"{test}{PROMPT if test == 'pp' else GENERATE} @ d{depth}", kv]
                cells += [spread([one[name, kv][key] for one in rounds], 1) for name in ours + peers]
                cells += [spread([one[mine, kv][key] / one[peer, kv][key] for one in rounds], 2)
                          for peer in peers for mine in ours]
                lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def page(options, rounds, peers, probes):
    text = (f"# {pathlib.Path(options.model).name} beside its peers\n\nMade by `bench/peers.py`: {options.threads} threads, "
            f"chunk {options.chunk}, {len(rounds)} interleaved rounds; tokens/s and ratios as median (least-greatest).\n")
    if probes:
        text += f"Read bandwidth in GB/s, measured beside kvpareto's runs: {spread(probes, 1)}.\n"
    return text + "\n" + table(options, rounds, peers) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--program", default=str(pathlib.Path(__file__).resolve().parent.parent / "build" / "kvpareto"))
    parser.add_argument("--llama-bench", help="llama.cpp's llama-bench")
    parser.add_argument("--sweep-bench", help="ik_llama.cpp's llama-sweep-bench")
    parser.add_argument("--depths", default="0,4096")
    parser.add_argument("--kv", default="16,8,4", type=lambda text: text.split(","))
    parser.add_argument("-w", "--weights", default=["w16"], type=lambda text: text.split(","))
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("-r", "--rounds", type=int, default=3)
    options = parser.parse_args()
    unknown = [kv for kv in options.kv if kv not in KV_NAMES]
    if unknown:
        parser.error(f"--kv {','.join(unknown)}: choose from {', '.join(KV_NAMES)}")
    peers = [name for name, path in (("llama.cpp", options.llama_bench), ("ik_llama.cpp", options.sweep_bench)) if path]
    rounds, probes = [], []
    for number in range(options.rounds):
        one = collections.OrderedDict()
        for kv in options.kv:
            for weights in options.weights:
                one[f"kvpareto {weights}", kv], probe = time_kvpareto(options, kv, weights)
                probes += probe
            if options.llama_bench:
                one["llama.cpp", kv] = time_llama_bench(options, kv)
            if options.sweep_bench:
                one["ik_llama.cpp", kv] = time_sweep_bench(options, kv)
            print(f"peers: round {number + 1}/{options.rounds}, KV {kv} bits", file=sys.stderr)
        rounds.append(one)
        text = page(options, rounds, peers, probes)
        pathlib.Path(options.output).write_text(text)
    print(text)


if __name__ == "__main__":
    main()
