#!/usr/bin/env python3
"""The program as a person meets it: results, searches, interrupts.

    cli_test.py PROGRAM TESTDATA [unittest options]
"""
import json
import pathlib
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

from cli_harness import (Cli, FAILURE, INTERRUPTED, LLAMA, LONG_SEARCH, OK, QWEN, SMALL_EVAL, SMALL_PROBES,
                         SMALL_SEARCH, TASKS, TESTDATA, USAGE)


class Results(Cli):
    def test_plan(self):
        row = json.loads(self.succeed("plan", "-m", LLAMA, "-c", "64", "-ctk", "int4", "-ctv", "q4_0", "-o", "json").out)
        parts = [row[f"{part}_bytes"] for part in ("weights", "kv", "scratch", "logits")]
        self.assertEqual(row["total_bytes"], sum(parts))
        self.assertTrue(all(part > 0 for part in parts))
        self.assertEqual((row["type_k"], row["type_v"]), ("int4g64", "q4_0"))
        self.assertGreater(row["baseline_total_bytes"], row["total_bytes"])
        rows = json.loads(self.succeed("plan", "-m", LLAMA, "-c", "64-256+64", "-ub", "32,64", "--kv", "k8v8,k4v4",
                                       "-o", "json").out)
        self.assertEqual(len(rows), 4 * 2 * 2)
        self.assertEqual(sorted({r["n_ctx"] for r in rows}), [64, 128, 192, 256])
        table = self.succeed("plan", "-m", LLAMA, "-c", "64", "--kv", "k8v8", "--device-memory", "1MiB").out
        self.assertNotIn("stays in the file", table)
        self.assertIn("the embedding, 25.0 KiB, stays in the file", self.succeed("plan", "-m", QWEN, "-c", "64").out)
        self.assertIn("k16v16", table)
        self.assertIn("longest in 1.00 MiB", table)

    def test_schemes_with_commas_and_names(self):
        scheme = "k4t32.pre.v4g32.had.recent16.sink2,0:k8,1:v16"
        rows = json.loads(self.succeed("plan", "-m", LLAMA, "-c", "64", "--kv", f"{scheme},kivi-4,k8v8", "-o", "json").out)
        self.assertEqual([row["kv"] for row in rows], [scheme, "k4t32v4g32", "k8v8g64"])
        self.refuse(USAGE, ["k4.hda", "did you mean had"], "plan", "-m", LLAMA, "--kv", "k4.hda.v4")
        self.refuse(USAGE, ["no bias", "'.mean'"], "plan", "-m", LLAMA, "--kv", "k4.pre.bias.v4")
        self.refuse(USAGE, ["layer 99", "beyond"], "plan", "-m", LLAMA, "--kv", "k4v4,99:k8")

    def test_weights(self):
        arguments = ["-m", LLAMA, "-w", "w16,w8g32,w4g64e8,down:w8g32,stored", "--kv", "k8v8"]
        wanted = ["w16", "w8g32", "w4g64e8,down:w8g32", "stored"]
        planned = json.loads(self.succeed("plan", *arguments, "-c", "96", "-o", "json").out)
        self.assertEqual([row["weights"] for row in planned], wanted)
        self.assertEqual([row["weights_bytes"] < planned[0]["weights_bytes"] for row in planned], [False] + [True] * 3)
        measured = json.loads(self.succeed("eval", *arguments, *SMALL_EVAL, "-o", "json").out)
        self.assertEqual([row["point"] for row in measured], [f"{w}_k8v8g64_chunk256" for w in wanted])
        for row, plan in zip(measured, planned):
            self.assertEqual(row["weights_bytes"], plan["weights_bytes"])
            self.assertEqual(row["peak_bytes"], row["predicted_peak_bytes"])
        self.assertGreater(measured[2]["kld_mean"], measured[1]["kld_mean"])
        rows = json.loads(self.succeed("bench", "-m", LLAMA, "-w", "w4,stored", "-p", "16", "-n", "2", "-r", "1", "-o", "json").out)
        self.assertEqual([row["weights"] for row in rows], ["w4g128"] * 2 + ["stored"] * 2)
        told = "\n".join(self.succeed("run", "-m", LLAMA, "-w", "w4g32e4", "-p", "x", "-n", "2").messages)
        self.assertIn("weights w4g32e4 (stored as", told)
        self.refuse(USAGE, ["run takes one configuration, found 2"], "run", "-m", LLAMA, "-w", "w4,w8", "-p", "x")
        self.refuse(USAGE, ["wanted 16, 8, 4 or 3 bits"], "plan", "-m", LLAMA, "-w", "w5")
        self.refuse(USAGE, ["layer 99", "beyond"], "plan", "-m", LLAMA, "-w", "w4,99:w8")

    def test_bench_of_every_scheme(self):
        rows = json.loads(self.succeed("bench", "-m", LLAMA, "-p", "40", "-n", "2", "-d", "70", "-r", "1", "--kv", "all",
                                       "-o", "json").out)
        schemes = {row["kv"] for row in rows}
        self.assertGreater(len(schemes), 20)
        self.assertTrue(all(row["kernel"] and row["avg_ts"] > 0 for row in rows))

    def test_orders_are_never_compared(self):
        arguments = ("-m", LLAMA, *SMALL_EVAL, "--study", "orders.db")
        rows = json.loads(self.succeed("eval", *arguments, "--kv", "k2v2g32,k2v2g32.atp", "-o", "json").out)
        self.assertLess(rows[1]["kld_mean"], rows[0]["kld_mean"])
        front = self.succeed("front", "--study", "orders.db", "-o", "json").out
        self.assertEqual(len({row["kv"].endswith(".atp") for row in json.loads(front)}), 1)

    def test_eval_takes_from_the_study_what_it_holds(self):
        arguments = ("eval", "-m", LLAMA, *SMALL_EVAL, "--study", "kept.db", "-o", "json")
        first = json.loads(self.succeed(*arguments, "--kv", "k4v4g32").out)
        again = json.loads(self.succeed(*arguments, "--kv", "k4v4g32,k8v8g32").out)
        # A column of errors is there where any row has one: the second scheme may add some.
        same = {key: again[0][key] for key in first[0]}
        self.assertEqual(first[0], {**same, "dominated": first[0]["dominated"]})

    def test_longest_context_is_the_longest(self):
        plan = lambda *more: json.loads(self.succeed("plan", "-m", LLAMA, "--kv", "k8v8", "-o", "json", *more).out)
        limit = plan("-c", "300")["total_bytes"]
        longest = plan("-c", "64", "--device-memory", str(limit))["longest_context"]
        self.assertGreaterEqual(longest, 300)
        self.assertLessEqual(plan("-c", str(longest))["total_bytes"], limit)
        self.assertGreater(plan("-c", str(longest + 1))["total_bytes"], limit)

    def test_plan_is_what_run_allocates(self):
        planned = self.succeed("plan", "-m", LLAMA, "-c", "256", "--kv", "k4v4", "-ub", "32").out
        total = re.search(r"k4v4.*\| +([\d.]+ [KM]iB) +\| +-", planned)[1]
        outcome = self.succeed("run", "-m", LLAMA, "-c", "256", "--kv", "k4v4", "-ub", "32", "-p", "x", "-n", "2")
        self.assertIn(f"memory {total} =", "\n".join(outcome.messages))

    def test_plan_is_what_eval_allocates(self):
        measured = json.loads(self.succeed("eval", "-m", LLAMA, "--kv", "k8v4", *SMALL_EVAL, "-o", "json").out)[0]
        planned = json.loads(self.succeed("plan", "-m", LLAMA, "--kv", "k8v4", "-c", "96", "-o", "json").out)
        for part in ("weights_bytes", "kv_bytes", "scratch_bytes", "logits_bytes"):
            self.assertEqual(measured[part], planned[part], part)
        self.assertEqual(measured["peak_bytes"], measured["predicted_peak_bytes"])

    def test_run(self):
        arguments = ["run", "-m", LLAMA, "-p", "in the", "-n", "12", "--temp", "1", "--kv", "k8v8"]
        first, again = self.succeed(*arguments), self.succeed(*arguments)
        self.assertEqual(first.out, again.out)
        self.assertNotEqual(first.out, self.succeed(*arguments, "--seed", "2").out)
        told = "\n".join(first.messages)
        for word in ("k8v8", "cpu/", "memory", "tokens/s"):
            self.assertIn(word, told)
        (self.folder / "prompt.txt").write_text("in the")
        self.assertEqual(first.out, self.succeed("run", "-m", LLAMA, "-f", "prompt.txt", *arguments[5:]).out)
        self.assertNotEqual(first.out, self.succeed(*arguments, "--raw").out)
        dashed = self.succeed("run", "-m", LLAMA, "-p", "- a list", "-n", "2")
        self.assertEqual(dashed.code, OK)

    def test_every_backend_runs(self):
        names = re.search(r"--backend (\S+)", self.succeed("plan", "--help").out)[1].split("|")
        self.assertIn("reference", names)
        for name in names:
            outcome = self.succeed("run", "-m", LLAMA, "-p", "x", "-n", "2", "--backend", name)
            self.assertIn("reference" if name == "reference" else "cpu/", "\n".join(outcome.messages))

    def test_eval(self):
        (self.folder / "ids.json").write_text(json.dumps([[i * 7 % 200 for i in range(97)]] * 2))
        rows = json.loads(self.succeed("eval", "-m", LLAMA, "--kv", "k16v16,k2v2g32", "-ub", "32,64", "--prefill", "64",
                                       "--step", "16", "--tokens", "ids.json", "-o", "json", "--study", "s.db").out)
        self.assertEqual([r["point"] for r in rows], [f"w16_{kv}_chunk{chunk}" for kv in ("k16v16", "k2v2g32")
                                                      for chunk in (32, 64)])
        for row in rows:
            for key in ("kld_mean", "kld_p999", "same_top", "peak_bytes", "predicted_peak_bytes", "prefill_ts",
                        "decode_ts", "dominated"):
                self.assertIn(key, row)
        self.assertGreater(rows[2]["kld_mean"], rows[0]["kld_mean"])
        self.assertEqual(len(self.points("s.db")), 4)
        for form in ("md", "csv", "jsonl"):
            self.assertIn("k8v8", self.succeed("eval", "-m", LLAMA, "--kv", "k8v8", *SMALL_EVAL, "-o", form).out)

    def test_eval_puts_tasks_and_compares_with_the_baseline(self):
        outcome = self.succeed("eval", "-m", LLAMA, *TASKS, "--limit", "8", "--log-samples", "log.jsonl")
        for word in ("MMLU", "GSM8K, strict", "WikiText-2 perplexity", "baseline", "paired difference", "odd_ones",
                     "telling a difference of 1 point"):
            self.assertIn(word, outcome.out)
        self.assertIn("tokens to read", "\n".join(outcome.messages))
        log = [json.loads(line) for line in (self.folder / "log.jsonl").read_text().splitlines()]
        self.assertEqual(len(log), 2 * (8 + 8 + 8))
        for line in log:
            self.assertGreater(len(line["prompt_tokens"]), 10)
            self.assertTrue(line["prompt_hash"] and line["target_hash"] and line["sample"])
            self.assertGreater(line[line["task"] + "_nll"], 0)
        choices = [line for line in log if line["task"] == "mmlu"]
        self.assertEqual({line["answer"] for line in choices} - {" A", " B", " C", " D"}, set())
        row = json.loads(self.succeed("eval", "-m", LLAMA, *TASKS, "--limit", "8", "-o", "json").out)[1]
        self.assertAlmostEqual(row["mmlu"], sum(line["mmlu"] for line in choices[8:]) / 8)

    def test_eval_pays_for_new_samples_only(self):
        fewer = ("eval", "-m", LLAMA, *TASKS, "--study", "s.db", "-o", "json")
        self.succeed(*fewer, "--limit", "4")
        with sqlite3.connect(self.folder / "s.db") as study:
            study.execute("update samples set body = json_set(body, '$.scores.mmlu', 0.5) where task = 'mmlu'")
        outcome = self.succeed(*fewer, "--limit", "6")
        self.assertIn("24 in the study already", "\n".join(outcome.messages))
        for row in json.loads(outcome.out):
            self.assertIn(round(6 * row["mmlu"] - 4 * 0.5, 6), (0, 1, 2))
        outcome = self.succeed(*fewer, "--limit", "6")
        self.assertIn("nothing to do", "\n".join(outcome.messages))

    def test_a_killed_eval_goes_on_where_it_was(self):
        arguments = ("eval", "-m", LLAMA, *TASKS, "--limit", "40", "--study", "s.db")
        process = self.start(*arguments)
        until = time.monotonic() + 60
        while time.monotonic() < until and self.count_samples() < 3:
            time.sleep(0.02)
        process.kill()
        process.communicate()
        before = self.count_samples()
        self.assertGreaterEqual(before, 3)
        outcome = self.succeed(*arguments)
        self.assertIn(f"{before} in the study already", "\n".join(outcome.messages))

    def count_samples(self):
        try:
            with sqlite3.connect(f"file:{self.folder / 's.db'}?mode=ro", uri=True) as study:
                return study.execute("select count(*) from samples").fetchone()[0]
        except sqlite3.OperationalError:
            return 0

    def test_screening(self):
        outcome = self.succeed("eval", "-m", LLAMA, "--screen", "--data", TESTDATA / "tasks", "--limit", "2", "--length",
                               "500", "--study", "s.db", "-o", "json")
        rows = {row["task"]: row for row in json.loads(outcome.out)}
        self.assertEqual(rows["wikitext2"]["standing"], "usable")
        self.assertEqual(rows["needle"]["standing"], "too hard")
        self.assertIn("too hard", json.dumps(list(rows.values())))
        only = self.succeed("eval", "-m", LLAMA, "--screen", "--limit", "2", "--length", "500", "-o", "json")
        self.assertNotIn("mmlu", {row["task"] for row in json.loads(only.out)})
        self.assertIn("mmlu is left out", "\n".join(only.messages))

    def test_bench(self):
        rows = json.loads(self.succeed("bench", "-m", LLAMA, "-p", "16", "-n", "4", "-d", "0,64", "-ctk", "f16,int8",
                                       "-ctv", "int8", "-r", "2", "-o", "json").out)
        self.assertEqual(len(rows), 2 * 2 * 2)
        for row in rows:
            for key in ("model_filename", "n_prompt", "n_gen", "n_depth", "type_k", "type_v", "n_ubatch", "n_threads",
                        "avg_ts", "stddev_ts", "min_ts", "median_ts", "max_ts", "backend", "kernel"):
                self.assertIn(key, row)
            self.assertLessEqual(row["min_ts"], row["avg_ts"])
            self.assertEqual((row["n_prompt"] > 0) + (row["n_gen"] > 0), 1)
        self.assertIn("pp16 @ d64", self.succeed("bench", "-m", LLAMA, "-p", "16", "-n", "0", "-d", "64", "-r", "1").out)

    def test_bench_chooses_greedily_unless_told(self):
        decode = ["bench", "-m", LLAMA, "-w", "w4g32e8g32", "-p", "0", "-n", "4", "-r", "1", "--profile"]
        self.assertIn("best row of", self.succeed(*decode).out)
        self.assertNotIn("best row of", self.succeed(*decode, "--logits").out)

    def test_bench_profile(self):
        out = self.succeed("bench", "-m", LLAMA, "-p", "16", "-n", "4", "-r", "1", "--profile").out
        for part in ("attend", "pack", "norm", "between", "of read", "Limits measured now"):
            self.assertIn(part, out)
        self.refuse(USAGE, ["--profile", "-o json"], "bench", "-m", LLAMA, "--profile", "-o", "json")

    def test_limited_addresses(self):
        """ulimit -v: none can be reserved ahead, buffers come one by one."""
        arguments = ["run", "-m", LLAMA, "-p", "Hello", "-n", "4"]
        limited = lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        outcome = self.call(*arguments, preexec_fn=limited)
        self.assertEqual(outcome.code, OK, outcome.messages)
        self.assertEqual(outcome.out, self.succeed(*arguments).out)


class Search(Cli):
    def test_search_over_weights(self):
        outcome = self.succeed("search", *SMALL_SEARCH, "-w", "w8g32e8,w4g32")
        self.assertEqual({p.split("_")[0] for p in self.points()}, {"w16", "w8g32e8", "w4g32"})
        self.assertEqual(next(iter(self.points())), "w16_k16v16_chunk256")
        self.assertIn("-w w", outcome.out)

    def test_search_ends_with_table_advice_and_report(self):
        outcome = self.succeed("search", *SMALL_SEARCH)
        for word in ("k16v16", "baseline", "Recommended", "kvpareto run -m", "kvpareto-report.html"):
            self.assertIn(word, outcome.out)
        self.assertEqual(next(iter(self.points())), "w16_k16v16_chunk256")
        page = (self.folder / "kvpareto-report.html").read_text()
        self.assertIn("<svg", page)
        rows = json.loads((self.folder / "kvpareto-report.json").read_text())
        self.assertEqual(len(rows), len(self.points()))
        self.assertEqual((self.folder / "kvpareto-report.csv").read_text().count("\n"), len(rows) + 1)

        before = self.points()
        again = self.succeed("search", *SMALL_SEARCH)
        self.assertEqual(again.out, outcome.out)
        self.assertEqual(self.points(), before)
        self.assertNotIn("reused", "\n".join(outcome.messages))
        self.assertRegex("\n".join(again.messages), f"all {len(before)} measurements of the study are reused; grid finds no other")

        self.assertIn("k16v16", self.succeed("front").out)
        self.assertEqual(len(json.loads(self.succeed("front", "--all", "-o", "json").out)), len(before))
        members = json.loads(self.succeed("front", "-o", "json").out)
        self.assertTrue(all(not row["dominated"] for row in members))
        self.succeed("report", "-o", "again.html")
        self.assertEqual((self.folder / "again.html").read_text(), page)

    def test_every_space_is_printed_with_its_size(self):
        listed = self.succeed("space").out
        names = re.findall(r"^\| ([a-z][a-z-]*) +\|", listed, re.M)[1:]
        self.assertIn("per-layer", names)
        for name in names:
            self.assertRegex(self.succeed("space", "-m", QWEN, "--space", name).out, r"axes, (10\^)?[0-9.]+ points")
        own = self.folder / "own.toml"
        own.write_text('keys = ["16", "8g32"]\nvalues = ["16", "4g32.had"]\nper_layer = true\n')
        shown = self.succeed("space", "-m", LLAMA, "--space", own).out
        self.assertRegex(shown, r"keys of layer 0, and \d+ more")
        own.write_text('keys = ["16"]\nvalues = ["16", "8g32"]\nlinears = ["w16", "w4g32"]\nlinears_per = "kind"\nembedding = ["8"]\n')
        shown = self.succeed("space", "-m", LLAMA, "--space", own).out
        self.assertRegex(shown, r"linears qkv, and 3 more +\| +2 \| w16 w4g32")
        self.assertRegex(shown, r"embedding and head +\| +2 \| 16 8 ")
        self.assertIn("9 axes, 64 points", shown)
        limited = self.succeed("space", "-m", LLAMA, "--space", own, "--mem-budget", "1KiB").out
        self.assertRegex(limited, "Not valid.*more than 1.*KiB")
        for text, words in (("keys = 3", ["own.toml, line 1", "keys"]), ("kees = ['8']", ["'kees'", "keys"]), ("keys =", ["line 1"]),
                            ("per_layer = true", ["schemes", "neither"]), ("linears_per = 'heads'", ["line 1", '"kind"']),
                            ("schemes = ['k8v8']\nlinears = ['w4g32.awq']", ["w4g32.awq", "alone"]), ("keys = ['9']\nvalues = ['8']", ["9"])):
            own.write_text(text)
            self.refuse(USAGE, words, "space", "-m", LLAMA, "--space", own)
        self.refuse(USAGE, ["'quik'", "nearest is quick"], "space", "-m", LLAMA, "--space", "quik")

    def test_guided_search_of_every_layer(self):
        own = self.folder / "own.toml"
        own.write_text('keys = ["16", "8g32", "2g32"]\nvalues = ["16", "8g32", "2g32"]\nper_layer = true\n')
        search = ["search", "-m", LLAMA, "-c", "128", "--space", own, "--needles", "0", "--evaluations", "12"]
        says_unprobed = lambda outcome: any("few layers of this model were probed" in line for line in outcome.messages)
        first = self.succeed(*search)
        self.assertIn("Recommended", first.out)
        self.assertTrue(says_unprobed(first))
        points = self.points()
        self.assertTrue(any("," in point for point in points), "no point that differs by layer")
        self.assertLessEqual(len(points), 26)
        self.assertIn("k16v16", self.succeed("front").out)
        probe = [*SMALL_PROBES, "--k", "k2g32", "--v", "none"]
        self.succeed("sensitivity", "-m", QWEN, *probe)
        self.assertTrue(says_unprobed(self.succeed(*search)))
        self.succeed("sensitivity", "-m", LLAMA, *probe)
        self.assertFalse(says_unprobed(self.succeed(*search)))

    def test_guided_search_of_every_linear(self):
        own = self.folder / "own.toml"
        own.write_text('keys = ["16", "8g32"]\nvalues = ["16"]\nlinears = ["w8g32", "w4g32"]\nembedding = ["8"]\nlinears_per = "layer"\n')
        search = ["search", "-m", LLAMA, "-c", "128", "--space", own, "--needles", "0", "--verify", "0", "--evaluations", "24"]
        self.succeed(*search)
        rows = json.loads(self.succeed("front", "--all", "-o", "json").out)
        mixed = {row["weights"] for row in rows if ":" in row["weights"]}
        self.assertTrue(any(re.search(r"\d\.(qkv|o|gateup|down):", weights) for weights in mixed), mixed)
        for row in rows:
            self.assertEqual(row["peak_bytes"], row["predicted_peak_bytes"])
        # The front's weights are held as it says, by other commands too.
        self.succeed("plan", "-m", LLAMA, "-c", "128", "-w", max(mixed, key=len))

    def test_questions(self):
        """The most accurate under a budget with the longest context, and the smallest within a limit."""
        search = ["search", "-m", LLAMA, "-c", "128", "--k-bits", "16,8,2", "--v-bits", "8,2", "--groups", "32", "--max-loss", "100"]
        plain = self.succeed(*search, "--needles", "0", "--verify", "2")
        self.assertIn("held out", plain.out)
        before = self.points()
        rows = {row["kv"]: row for row in json.loads(self.succeed("front", "--all", "-o", "json").out)}
        least = self.succeed(*search, "--needles", "0", "--verify", "0", "--least").out
        smallest = min(rows.values(), key=lambda row: row["peak_bytes"])
        self.assertIn(f"Recommended for 128 tokens: {smallest['kv']}", least)
        budget = sorted(row["peak_bytes"] for row in rows.values())[1]
        best = self.succeed(*search, "--needles", "0", "--verify", "0", "--mem-budget", f"{budget:.0f}").out
        chosen = re.search(r"Recommended for 128 tokens: ([^ ,]+)", best)[1]
        self.assertLessEqual(rows[chosen]["peak_bytes"], budget)
        self.assertRegex(best, r"Longest context within .*: \d+ tokens")
        # What was measured is not measured again, whatever is asked.
        now = self.points()
        self.assertEqual({point: now[point] for point in before}, before)
        self.refuse(USAGE, ["--max-drop", "'5x'"], "search", "-m", LLAMA, "--max-drop", "5x")
        self.refuse(USAGE, ["--max-drop", "--needles 0"], *search, "--max-drop", "1%", "--needles", "0")

    def test_papers_table(self):
        out = self.succeed("search", "-m", LLAMA, "-c", "256", "--space", "paper", "-w", "w16,w8g32", "--needles", "0", "--verify", "0",
                           "--max-loss", "100", "--chunks", "256").out
        # The grid has no weights of 8 bits, small as they are.
        self.assertRegex(out, r"\| the paper's grid +\| w16_k")
        self.assertIn("w8g32", out)
        for row in ("16 bit, un-fused attention", "16 bit, fused attention", "the paper's grid"):
            self.assertIn(row, out)

    def test_the_command_it_recommends_works(self):
        outcome = self.succeed("search", *SMALL_SEARCH, "--max-loss", "100")
        command = re.search(r"kvpareto (run .*)-p", outcome.out)[1].split()
        self.succeed(*command, "-p", "x", "-n", "2")

    def test_run_warns_of_what_the_study_knows(self):
        self.succeed("eval", "-m", QWEN, "--kv", "k16v16,k2v2g32,k8v8g32", *SMALL_EVAL, "--study", "kvpareto-study.db")
        told = "\n".join(self.succeed("run", "-m", QWEN, "--kv", "k2v2g32", "-p", "x", "-n", "2", "--max-loss", "0.05").messages)
        self.assertRegex(told, r"WARNING: k2v2g32 loses .* nats/token .*limit of 0.05.*--kv k")
        told = "\n".join(self.succeed("run", "-m", QWEN, "--kv", "k16v16", "-p", "x", "-n", "2").messages)
        self.assertNotIn("WARNING", told)

    def wait_for_points(self, process, count):
        limit = time.monotonic() + 60
        while len(self.points()) < count:
            self.assertIsNone(process.poll(), "ended too early")
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.02)

    def stop_and_resume(self, number):
        process = self.start("search", *LONG_SEARCH)
        self.wait_for_points(process, 3)
        process.send_signal(number)
        stopped = self.finish(process)
        kept = self.points()
        self.assertGreaterEqual(len(kept), 3)
        resumed = self.start("search", *LONG_SEARCH)
        self.wait_for_points(resumed, len(kept) + 2)
        resumed.send_signal(signal.SIGINT)
        self.finish(resumed)
        now = self.points()
        self.assertEqual({point: now[point] for point in kept}, kept, "measured again")
        self.assertGreater(len(now), len(kept))
        return stopped

    def test_ctrl_c(self):
        stopped = self.stop_and_resume(signal.SIGINT)
        self.assertEqual(stopped.code, INTERRUPTED)
        # Before it perhaps how long it would have taken.
        self.assertLessEqual(len(stopped.messages), 2, stopped.messages)
        self.assertRegex(stopped.messages[-1], r"interrupted; \d+ measurements are kept in kvpareto-study.db")

    def test_kill(self):
        self.assertEqual(self.stop_and_resume(signal.SIGKILL).code, -signal.SIGKILL)

    def test_time_limit_counts_earlier_runs(self):
        self.succeed("search", *LONG_SEARCH, "--max-time", "2s")
        count = len(self.points())
        start = time.monotonic()
        self.succeed("search", *LONG_SEARCH, "--max-time", "2s")
        self.assertEqual(len(self.points()), count)
        self.assertLess(time.monotonic() - start, 2)

    def test_full_disk(self):
        """Stands in for one: files may not grow beyond this."""
        full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (32768, 32768))
        outcome = self.call("search", *LONG_SEARCH, preexec_fn=full)
        self.assertEqual(outcome.code, FAILURE, outcome.messages)
        self.assertEqual(len(outcome.messages), 1, outcome.messages)
        self.assertIn("kvpareto-study.db", outcome.messages[0])
        kept = self.points()
        resumed = self.start("search", *LONG_SEARCH)
        self.wait_for_points(resumed, len(kept) + 1)
        resumed.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(resumed).code, INTERRUPTED)


class Quantize(Cli):
    CALIBRATION = ["--sequences", "4", "--length", "64"]

    def test_folder_that_loads_like_any_model(self):
        text = self.folder / "calibration.jsonl"
        text.write_text("".join(json.dumps({"text": f"Line {i} of a text. " * 60}) + "\n" for i in range(8)))
        made = self.succeed("quantize", "-m", QWEN, "-o", "awq", "--group", "32", "--calibration", text, *self.CALIBRATION)
        self.assertRegex(made.out, r"layer +\| +qkv +\| +o +\| +gateup +\| +down")
        config = json.loads((self.folder / "awq/config.json").read_text())
        self.assertEqual(config["quantization_config"],
                         {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm",
                          "modules_to_not_convert": None})
        report = json.loads((self.folder / "awq/quantization_report.json").read_text())
        for layer in report["layers"]:
            for part in layer["linears"].values():
                self.assertLess(part["error_after"], part["error_before"])
        self.succeed("run", "-m", "awq", "-w", "stored", "-p", "Hello", "-n", "4")
        self.refuse(FAILURE, ["awq: exists already"], "quantize", "-m", QWEN, "-o", "awq", "--method", "rtn")
        self.refuse(FAILURE, ["quantized already"], "quantize", "-m", "awq", "-o", "again", "--method", "rtn")

    def test_other_programs_read_the_same_weights(self):
        for options in (["--method", "rtn", "--group", "32"], ["--calibration", "self", *self.CALIBRATION]):
            folder = f"awq{len(options)}"
            self.succeed("quantize", "-m", LLAMA, "-o", folder, *options)
            check = pathlib.Path(__file__).resolve().parents[1] / "tools/check_awq_folder.py"
            probe = subprocess.run([sys.executable, "-c", "import numpy"], capture_output=True)
            if probe.returncode != 0:
                self.skipTest("numpy is not installed")
            done = subprocess.run([sys.executable, check, folder], cwd=self.folder, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn("bit for bit", done.stdout)

    def test_mixed_bits(self):
        self.succeed("quantize", "-m", QWEN, "-o", "mixed", "--method", "rtn", "-w", "w4g32,down:w8g32,0:w3g32")
        formats = json.loads((self.folder / "mixed/config.json").read_text())["quantization_config"]["formats"]
        self.assertEqual(formats["model.layers.0.self_attn.q_proj"], "w3g32")
        self.assertEqual(formats["model.layers.1.self_attn.q_proj"], "w4g32")
        self.assertEqual(formats["model.layers.1.mlp.down_proj"], "w8g32")
        plain = json.loads(self.succeed("eval", "-m", "mixed", "-w", "stored", "-o", "json", *SMALL_EVAL).out)[0]
        self.assertEqual(plain["peak_bytes"], plain["predicted_peak_bytes"])

    def test_a_zero_point_that_is_no_code_is_refused(self):
        self.succeed("quantize", "-m", QWEN, "-o", "plain", "--method", "rtn", "-w", "w3g32")
        for file in (self.folder / "plain").glob("*.safetensors"):
            data = bytearray(file.read_bytes())
            size = int.from_bytes(data[:8], "little")
            tensors = json.loads(data[8:8 + size])
            name = "model.layers.1.mlp.down_proj.zeros"
            if name in tensors:
                data[8 + size + tensors[name]["data_offsets"][1] - 1] = 8
                file.write_bytes(data)
        self.refuse(FAILURE, [name, "zero point of 8, wanted 0 to 7"], "eval", "-m", "plain", *SMALL_EVAL)

    def test_a_quantized_copy_held_against_its_original(self):
        # One matrix is embedding and head, in bf16 in either; an embedding of its own is bf16 in the copy alone.
        self.succeed("quantize", "-m", LLAMA, "-o", "copy", "--method", "rtn", "-w", "w4g32")
        text = self.folder / "text.txt"
        text.write_text("".join(f"Line {i} of a text. " for i in range(400)))

        def loss(*options):
            rows = json.loads(self.succeed("eval", *options, "--text", text, "-o", "json", *SMALL_EVAL).out)
            return rows[0]["kld_mean"]

        from_original = loss("-m", "copy", "-w", "stored", "--reference", LLAMA)
        self.assertAlmostEqual(from_original, loss("-m", LLAMA, "-w", "w4g32"), 6)
        # Inputs rounded to int8 cost this much where there are no tiles of AMX.
        self.assertLess(loss("-m", "copy", "-w", "stored"), 0.02 * from_original)
        self.refuse(FAILURE, ["missing.gguf"], "eval", "-m", "copy", "--reference", "missing.gguf", *SMALL_EVAL)
        self.refuse(USAGE, ["wanted a reference with a vocabulary of 291 tokens"], "eval", "-m", QWEN, "--reference",
                    TESTDATA / "folders/tiny-mistral-v01", *SMALL_EVAL)

    def test_weights_that_are_made_once(self):
        again = ["eval", "-m", QWEN, "-w", "w4g32.awq", "-o", "json", *SMALL_EVAL]
        first = json.loads(self.succeed(*again).out)[0]
        kept = list((self.folder / "cache/kvpareto/weights").iterdir())
        self.assertEqual(len(kept), 1)
        time_made = kept[0].stat().st_mtime
        second = json.loads(self.succeed(*again).out)[0]
        self.assertEqual(kept[0].stat().st_mtime, time_made)
        self.assertEqual(first["kld_mean"], second["kld_mean"])
        self.assertEqual(first["peak_bytes"], first["predicted_peak_bytes"])

    def test_weights_of_another_text_are_others(self):
        text = self.folder / "calibration.jsonl"
        text.write_text("".join(json.dumps({"text": f"Line {i} of a text. " * 300}) + "\n" for i in range(40)))
        again = ["eval", "-m", QWEN, "-w", "w4g32.awq", "-o", "json", "--study", "one.db", *SMALL_EVAL]
        losses = [json.loads(self.succeed(*again, *named).out)[0]["kld_mean"] for named in ([], ["--calibration", text], [])]
        self.assertNotEqual(losses[0], losses[1])
        self.assertEqual(losses[0], losses[2])
        self.assertEqual(len(list((self.folder / "cache/kvpareto/weights").iterdir())), 2)
        self.refuse(FAILURE, ["none.jsonl"], *again, "--calibration", "none.jsonl")
        self.refuse(FAILURE, ["none.jsonl"], "search", *SMALL_SEARCH, "--calibration", "none.jsonl")
        self.assertEqual(self.points(), {})

    def test_a_search_shows_them_beside_others(self):
        text = self.folder / "my text.jsonl"
        text.write_text("".join(json.dumps({"text": f"Line {i} of a text. " * 300}) + "\n" for i in range(40)))
        out = self.succeed("search", *SMALL_SEARCH, "-w", "w16,w4g32.awq", "--calibration", text, "--verify", "0", "--max-loss", "100",
                           "--least").out
        rows = [line.split()[0] for line in out.split("Recommended")[0].splitlines()[1:] if line.strip()]
        self.assertIn("k16v16", rows)
        self.assertTrue(any(row.startswith("w4g32.awq_") for row in rows), rows)
        peaks = [float(line.split(" MiB")[0].split()[-1]) for line in out.split("Recommended")[0].splitlines()[1:] if " MiB" in line]
        self.assertEqual(peaks[1:], sorted(peaks[1:]))
        self.assertIn(f"-w w4g32.awq --calibration '{text}'", out)
        page = (self.folder / "kvpareto-report.html").read_text()
        self.assertIn("w4g32.awq k", page)
        self.assertIn("-w w4g32.awq --calibration &#39;", page)

    def test_wrong_values(self):
        self.refuse(USAGE, ["-o"], "quantize", "-m", QWEN)
        self.refuse(USAGE, ["w5g128"], "quantize", "-m", QWEN, "-o", "x", "-w", "w5g128")
        self.refuse(USAGE, ["one group size"], "quantize", "-m", QWEN, "-o", "x", "-w", "w3g32", "--layout", "awq",
                    "--method", "rtn")
        self.refuse(FAILURE, ["none.jsonl"], "quantize", "-m", QWEN, "-o", "x", "--calibration", "none.jsonl")


class Sensitivity(Cli):
    def test_kinds_of_linears(self):
        outcome = self.succeed("sensitivity", "-m", QWEN, "--weights", "w3g32", *SMALL_PROBES)
        self.assertRegex(outcome.out, r"layer +\| +qkv w3g32 +\| +o w3g32 +\| +gateup w3g32 +\| +down w3g32")
        suggested = re.search(r"-w (w3g32\S*)", outcome.out).group(1)
        self.assertIn("w8g128", suggested)
        whole, mixed = (row["weights_bytes"] for row in json.loads(
            self.succeed("plan", "-m", QWEN, "-w", f"w3g32,{suggested}", "-o", "json").out))
        self.assertTrue(whole < mixed <= 1.05 * whole, (whole, mixed))
        rows = json.loads(self.succeed("sensitivity", "-m", QWEN, "--weights", "w3g32", *SMALL_PROBES, "-o", "json").out)
        self.assertEqual({row["side"] for row in rows}, {"qkv", "o", "gateup", "down"})
        outcome = self.succeed("sensitivity", "-m", QWEN, "--weights", "w8g32", *SMALL_PROBES, "--layers", "0")
        self.assertRegex(outcome.out, r"-w w8g32\n")
        self.refuse(USAGE, ["w4g128"], "sensitivity", "-m", QWEN, "--weights", "w4g32,down:w8")

    def test_layers_and_sides(self):
        arguments = ["sensitivity", "-m", LLAMA, *SMALL_PROBES, "--k", "k4t32.pre,k2", "--v", "v2.had"]
        rows = json.loads(self.succeed(*arguments, "-o", "json").out)
        layers = len({row["layer"] for row in rows})
        self.assertEqual(len(rows), 3 * layers)
        self.assertEqual([row["kv"] for row in rows[:3]], ["k16v16,0:k4t32.pre", "k16v16,0:k2", "k16v16,0:v2.had"])
        self.assertTrue(all(row["kld_mean"] > 0 for row in rows))
        self.assertEqual(set(self.points()), {f"w16_{row['kv']}_chunk256" for row in rows})
        before = self.points()
        table = self.succeed(*arguments).out
        self.assertEqual(self.points(), before, "measured again")
        for words in ("K int4 t32.pre", "V int2 had", "median", "Suggested: --kv k4t32.pre"):
            self.assertIn(words, table)
        suggested = re.search(r"Suggested: --kv ([^ ]+[^ ,])", table)[1]
        self.succeed("eval", "-m", LLAMA, *SMALL_EVAL, "--kv", suggested)
        self.assertIn("times_median", self.succeed(*arguments, "-o", "csv").out)
        self.succeed(*arguments, "--layers", "1", "--k", "none")

    def test_a_layer_that_stands_out_is_told(self):
        table = self.succeed("sensitivity", "-m", QWEN, *SMALL_PROBES, "--v", "none").out
        self.assertRegex(table, r"More than 5 times .* in layer 0 ")
        self.assertRegex(table, r"--kv k4g32v16,0:k8")

    def test_wrong_values(self):
        self.refuse(USAGE, ["--k", "k4t32.had", "'v4'"], "sensitivity", "-m", LLAMA, "--k", "v4")
        self.refuse(USAGE, ["--v", "one side"], "sensitivity", "-m", LLAMA, "--v", "v16")
        self.refuse(USAGE, ["--v v4.pre", "RoPE"], "sensitivity", "-m", LLAMA, "--v", "v4.pre")
        self.refuse(USAGE, ["k5"], "sensitivity", "-m", LLAMA, "--k", "k5")
        self.refuse(USAGE, ["nothing"], "sensitivity", "-m", LLAMA, "--k", "none", "--v", "none")
        self.refuse(USAGE, ["layer 99"], "sensitivity", "-m", LLAMA, "--layers", "0,99")
        for layers in ("3-1", "x", "1-", "-1", "0-99999999"):
            self.refuse(USAGE, ["--layers"], "sensitivity", "-m", LLAMA, "--layers", layers)
        self.refuse(USAGE, ["1000", "512"], "sensitivity", "-m", LLAMA, "--prefill", "900", "--scored", "100")

    def test_the_frontier_stays_the_searchs(self):
        self.succeed("search", *SMALL_SEARCH)
        front = self.succeed("front").out
        self.succeed("sensitivity", "-m", LLAMA, *SMALL_PROBES)
        # Probes under the search's own circumstances are no choices either.
        self.succeed("sensitivity", "-m", LLAMA, "--prefill", "96", "--scored", "32", "--layers", "0")
        self.assertEqual(self.succeed("front").out, front)
        self.succeed("report", "-o", "r.html")
        page = (self.folder / "r.html").read_text()
        for section in ("frontier", "layers"):
            self.assertIn(f'<section id="{section}">', page)
        self.assertNotIn("\"k16v16,", (self.folder / "r.csv").read_text())
        self.succeed("search", *SMALL_SEARCH, "--report", "again.html")
        self.assertEqual((self.folder / "again.html").read_text(), page)

    def test_report_of_layers_alone(self):
        self.succeed("sensitivity", "-m", LLAMA, *SMALL_PROBES, "--layers", "0-1")
        self.succeed("report", "-o", "r.html")
        self.assertIn("no whole configuration", (self.folder / "r.html").read_text())
        self.succeed("front")

    def test_ctrl_c(self):
        arguments = ["sensitivity", "-m", LLAMA, "--texts", "16", "--k", "k8,k4,k3,k2", "--v", "v8,v4,v3,v2"]
        process = self.start(*arguments)
        limit = time.monotonic() + 60
        while len(self.points()) < 2:
            self.assertIsNone(process.poll(), "ended too early")
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stopped = self.finish(process)
        self.assertEqual(stopped.code, INTERRUPTED)
        self.assertIn("goes on from there", "\n".join(stopped.messages))
        kept = self.points()
        self.succeed(*arguments)
        now = self.points()
        self.assertEqual({point: now[point] for point in kept}, kept, "measured again")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
