"""What the tests of the command line share: the program, started in a folder of its own, and what it said."""
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import tempfile
import unittest

PROGRAM, TESTDATA = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
LLAMA = TESTDATA / "tiny/tiny-llama-hd64.gguf"
QWEN = TESTDATA / "tiny/tiny-qwen2.gguf"
OK, FAILURE, USAGE, NO_MEMORY, INTERRUPTED = 0, 1, 2, 3, 130
SMALL_EVAL = ["--prefill", "64", "--scored", "32", "--step", "16", "--texts", "2"]
# A search of a few points that takes a second, and one that takes long enough to be interrupted.
SMALL_SEARCH = ["-m", LLAMA, "-c", "128", "--k-bits", "16,8,2", "--v-bits", "8,2", "--groups", "32", "--chunks", "64",
                "--needles", "0"]
SMALL_PROBES = ["--prefill", "64", "--scored", "32", "--step", "16"]
TASKS = ["--texts", "0", "--tasks", "mmlu,gsm8k,wikitext2", "--data", TESTDATA / "tasks", "--length", "64", "--kv",
         "k16v16,k2v2g32"]
LONG_SEARCH = ["-m", LLAMA, "-c", "512", "--preset", "grid", "--texts", "16", "--needles", "0"]


class Outcome:
    def __init__(self, code, out, err):
        self.code, self.out = code, out
        # Progress is not a message.
        self.messages = [line for line in err.splitlines() if not re.search(r"\[=* *\] \d+/\d+ ", line)]


class Cli(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvpareto-cli-"))
        self.addCleanup(lambda: subprocess.run(["rm", "-rf", self.folder], check=True))

    def start(self, *arguments, **options):
        environment = {key: value for key, value in os.environ.items() if key != "KVPARETO_DATA"}
        environment["XDG_CACHE_HOME"] = str(self.folder / "cache")
        return subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=options.pop("stdout", subprocess.PIPE),
                                stderr=subprocess.PIPE, cwd=self.folder, env=environment, **options)

    def finish(self, process):
        out, err = process.communicate(timeout=120)
        return Outcome(process.returncode, (out or b"").decode(errors="replace"), err.decode())

    def call(self, *arguments, **options):
        return self.finish(self.start(*arguments, **options))

    def succeed(self, *arguments):
        outcome = self.call(*arguments)
        self.assertEqual(outcome.code, OK, outcome.messages)
        return outcome

    def refuse(self, code, words, *arguments, **options):
        """Exit code, one line on standard error that has these words, nothing on standard output."""
        outcome = self.call(*arguments, **options)
        self.assertEqual(len(outcome.messages), 1, outcome.messages)
        self.assertEqual(outcome.code, code, outcome.messages)
        self.assertTrue(outcome.messages[0].startswith("kvpareto: "), outcome.messages)
        for word in words:
            self.assertIn(word, outcome.messages[0])
        self.assertNotIn("internal error", outcome.messages[0])
        self.assertEqual(outcome.out, "")
        return outcome

    def points(self, study="kvpareto-study.db"):
        """Text of a point and the record of it, in order; none while there is no study."""
        try:
            with sqlite3.connect(f"file:{self.folder / study}?mode=ro", uri=True) as connection:
                return dict(connection.execute("select point, body from measurements"))
        except sqlite3.OperationalError:
            return {}
