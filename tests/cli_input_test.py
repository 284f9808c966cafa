#!/usr/bin/env python3
"""The program as a person meets it: help, wrong options, wrong files.

    cli_input_test.py PROGRAM TESTDATA [unittest options]
"""
import os
import re
import sys
import unittest

from cli_harness import (Cli, FAILURE, LLAMA, OK, SMALL_EVAL, SMALL_SEARCH, USAGE)


class Help(Cli):
    def test_every_command_teaches(self):
        top = self.succeed("--help").out
        commands = re.findall(r"^  ([a-z]+) {2,}", top, re.MULTILINE)
        self.assertEqual(set(commands), {"search", "front", "report", "space", "plan", "run", "eval", "sensitivity",
                                         "quantize", "bench"})
        for command in commands:
            for form in ([command, "--help"], [command, "-h"], ["help", command]):
                text = self.succeed(*form).out
                self.assertIn("Examples:", text)
                self.assertIn(f"kvpareto {command} ", text + " ")
                self.assertIn("Exit codes: 0", text)
                self.assertTrue(all(len(line) <= 110 for line in text.splitlines()), text)

    def test_examples_name_options_that_exist(self):
        for command in ("search", "front", "report", "space", "plan", "run", "eval", "sensitivity", "quantize",
                        "bench"):
            text = self.succeed(command, "--help").out
            options, examples = text.split("Examples:")
            for used in re.findall(r"(?<= )(--?[a-z][a-z-]*)", re.sub(r"\|.*", "", examples.split("Exit codes")[0])):
                self.assertRegex(options, rf"(^|[ ,]){re.escape(used)}[ ,\n]", f"{command} {used}")

    def test_version(self):
        self.assertRegex(self.succeed("--version").out, r"^kvpareto \d+\.\d+\.\d+\n$")


class WrongOptions(Cli):
    def test_commands_and_options(self):
        self.refuse(USAGE, ["--help"])
        self.refuse(USAGE, ["'serach'", "'search'"], "serach")
        self.refuse(USAGE, ["command comes first", "-m"], "-m", LLAMA)
        self.refuse(USAGE, ["--ctx", "--ctx-size"], "plan", "-m", LLAMA, "--ctx", "64")
        self.refuse(USAGE, ["-ctx", "did you mean"], "plan", "-m", LLAMA, "-ctx", "64")
        for typed, meant in (("--contxt", "--ctx-size"), ("--kv-cache-dtype", "--kv"), ("--max-tokens", "--predict")):
            self.refuse(USAGE, [typed, f"did you mean '{meant}'"], "run", "-m", LLAMA, typed, "64")
        self.refuse(USAGE, ["options alone", "stray"], "plan", "-m", LLAMA, "stray")
        self.refuse(USAGE, ["-c, --ctx-size", "needs a value"], "plan", "-m", LLAMA, "-c")
        self.refuse(USAGE, ["needs a value"], "plan", "-m", LLAMA, "--kv=")
        self.refuse(USAGE, ["takes no value"], "front", "--all=yes")
        self.refuse(USAGE, ["which model", "smollm2-135m"], "plan")

    def test_numbers(self):
        for value in ("0", "-5", "1000000000000", "99999999999999999999", "x", "4k", "3.5", "1,,2", "9-5+1", "1-9"):
            with self.subTest(value):
                self.refuse(USAGE, ["-c/--ctx-size"], "plan", "-m", LLAMA, "-c", value)
        self.refuse(USAGE, ["-t/--threads", "1 to 1024", "'0'"], "plan", "-m", LLAMA, "-t", "0")
        self.refuse(USAGE, ["-ub/--ubatch-size", "'0'"], "run", "-m", LLAMA, "-p", "x", "-ub", "0")
        self.refuse(USAGE, ["-n/--predict", "'-5'"], "run", "-m", LLAMA, "-p", "x", "-n", "-5")
        self.refuse(USAGE, ["--temp", "'nan'"], "run", "-m", LLAMA, "-p", "x", "--temp", "nan")
        self.refuse(USAGE, ["--max-time", "4.5m", "'soon'"], "search", "-m", LLAMA, "--max-time", "soon")
        self.refuse(USAGE, ["--device-memory", "512MiB", "'big'"], "plan", "-m", LLAMA, "--device-memory", "big")

    def test_names(self):
        self.refuse(USAGE, ["'jsn'", "'json'"], "plan", "-m", LLAMA, "-o", "jsn")
        self.refuse(USAGE, ["'avx3'", "'avx2'"], "plan", "-m", LLAMA, "--backend", "avx3")
        self.refuse(USAGE, ["'int5'"], "plan", "-m", LLAMA, "-ctk", "int5")
        self.refuse(USAGE, ["'k8v5'"], "plan", "-m", LLAMA, "--kv", "k8v5")
        self.refuse(USAGE, ["--kv", "-ctk"], "plan", "-m", LLAMA, "--kv", "k8v8", "-ctk", "int8")
        self.refuse(USAGE, ["'7'"], "search", "-m", LLAMA, "--k-bits", "7")
        self.refuse(USAGE, ["'needel'", "'needle'"], "eval", "-m", LLAMA, "--tasks", "needel")
        self.refuse(FAILURE, ["gsm8k", "--data", "KVPARETO_DATA"], "eval", "-m", LLAMA, "--texts", "0", "--tasks", "gsm8k")
        self.refuse(USAGE, ["verfication", "verification"], "eval", "-m", LLAMA, "--tasks", "needle", "--split", "verfication")
        self.refuse(USAGE, ["--chat", "--raw"], "run", "-m", LLAMA, "-p", "x", "--chat", "--raw")
        self.refuse(USAGE, ["-p", "-f"], "run", "-m", LLAMA)

    def test_against_the_model(self):
        self.refuse(USAGE, ["1000", "512", LLAMA.name], "plan", "-m", LLAMA, "-c", "1000")
        self.refuse(USAGE, ["1000", "512"], "run", "-m", LLAMA, "-p", "x", "-c", "1000")
        self.refuse(USAGE, ["1000", "512"], "search", "-m", LLAMA, "-c", "1000")
        self.refuse(USAGE, ["4608", "512"], "eval", "-m", LLAMA)
        self.refuse(USAGE, ["576", "512"], "bench", "-m", LLAMA, "-p", "512", "-d", "64")
        self.refuse(USAGE, ["128", "64"], "plan", "-m", LLAMA, "-c", "64", "--kv", "k4v4g128")
        self.refuse(USAGE, ["48"], "plan", "-m", LLAMA, "-c", "64", "--kv", "k4v4g48")
        self.refuse(USAGE, ["--groups 128", "64"], "search", "-m", LLAMA, "--groups", "128")
        self.refuse(USAGE, ["-c 16", "too short"], "run", "-m", LLAMA, "-p", "hello there", "-c", "16")


class WrongFiles(Cli):
    def model(self, contents):
        path = self.folder / "model.gguf"
        path.write_bytes(contents)
        return path

    def test_models(self):
        whole = LLAMA.read_bytes()
        self.refuse(FAILURE, ["missing.gguf", "No such file"], "plan", "-m", "missing.gguf")
        self.refuse(FAILURE, [str(self.folder), "folder"], "plan", "-m", self.folder)
        self.refuse(FAILURE, ["model.gguf"], "plan", "-m", self.model(b""))
        self.refuse(FAILURE, ["model.gguf"], "plan", "-m", self.model(b"no model at all, only some text"))
        for size in (6, 100, len(whole) // 2, len(whole) - 1):
            with self.subTest(size):
                self.refuse(FAILURE, ["model.gguf"], "run", "-p", "x", "-m", self.model(whole[:size]))
        corrupt = bytearray(whole)
        corrupt[8:16] = b"\xff" * 8  # the number of tensors
        self.refuse(FAILURE, ["model.gguf"], "search", "-m", self.model(corrupt))

    def test_unknown_architecture(self):
        whole = LLAMA.read_bytes()
        at = whole.index(b"llama", whole.index(b"general.architecture"))
        unknown = self.model(whole[:at] + b"lemma" + whole[at + 5:])
        self.refuse(FAILURE, ["model.gguf", "lemma", "llama", "qwen2"], "plan", "-m", unknown)

    def test_studies(self):
        self.refuse(FAILURE, ["missing.db"], "front", "--study", "missing.db")
        self.refuse(FAILURE, ["missing.db"], "report", "--study", "missing.db")
        self.refuse(FAILURE, ["no/such/folder"], "search", *SMALL_SEARCH, "--study", "no/such/folder/s.db")
        self.refuse(FAILURE, [str(self.folder)], "search", *SMALL_SEARCH, "--study", self.folder)
        # Told before anything is measured, not after.
        for page in ("no/such/folder/r.html", self.folder):
            self.refuse(FAILURE, [str(page), "cannot write"], "search", *SMALL_SEARCH, "--report", page)
            self.assertEqual(self.points(), {})
        (self.folder / "text.db").write_text("this is no study, but it is long enough to be taken for a file" * 20)
        self.refuse(FAILURE, ["text.db"], "front", "--study", "text.db")

    def test_texts(self):
        (self.folder / "short.txt").write_text("far too short")
        (self.folder / "ids.json").write_text("[[1, 2, 999999]]")
        (self.folder / "broken.json").write_text("[[1, 2,")
        self.refuse(FAILURE, ["short.txt"], "eval", "-m", LLAMA, *SMALL_EVAL, "--text", "short.txt")
        for name in ("ids.json", "broken.json", "missing.json"):
            outcome = self.call("eval", "-m", LLAMA, "--prefill", "1", "--scored", "1", "--tokens", name)
            self.assertIn(outcome.code, (FAILURE, USAGE))
            self.assertEqual(len(outcome.messages), 1, outcome.messages)
            self.assertIn(name, outcome.messages[0])

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "wb") as full:
            self.refuse(FAILURE, ["standard output", "No space left"], "plan", "-m", LLAMA, "-c", "64", stdout=full)

    def test_a_reader_that_went_away_is_no_failure(self):
        read, write = os.pipe()
        os.close(read)
        outcome = self.call("plan", "-m", LLAMA, "-c", "64", stdout=write)
        os.close(write)
        self.assertEqual((outcome.code, outcome.messages), (OK, []))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
