#!/usr/bin/env python3
"""Fetches evaluation sets from their public origins into a folder that `kvpareto eval --data DIR` reads.

Every file is made from one commit of a public repository and must have the checksum that is written down here; a file
that is there already is checked and kept. Where an origin lays its records out in another way, they are put in the
layout that the tasks read: nothing is added, left out or reordered.

  tools/fetch_data.py DIR                    every set, about 20 MiB
  tools/fetch_data.py DIR gsm8k mmlu         some of them
  tools/fetch_data.py DIR --clones CLONES    from clones in CLONES/OWNER/NAME instead of the network
  tools/fetch_data.py --list                 the sets, with origin and licence

Sets that were put together from several sources are not fetched: hotpotqa (tasks hotpotqa_10p, hotpotqa_4k,
hotpotqa_9k, ruler_qa) and qasper_freeform. Those tasks read them where someone has them.

Reading clones is how this program was checked: all files came out with their checksums. Fetching over the network was
not tried where it was written.
"""
import argparse
import csv
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request


class Failure(Exception):
    """One line for the user."""


@dataclasses.dataclass(frozen=True)
class Origin:
    repository: str
    commit: str


@dataclasses.dataclass(frozen=True)
class File:
    name: str        # under the set's folder
    path: str        # in the repository
    change: object   # bytes -> bytes
    sha256: str


@dataclasses.dataclass(frozen=True)
class Set:
    name: str
    origin: Origin
    licence: str
    files: tuple


# --- from an origin's layout to the one that is read


def same(data):
    return data


def first_hundred_lines(data):
    return b"".join(data.splitlines(keepends=True)[:100])


def without_carriage_returns(data):
    return data.replace(b"\r\n", b"\n")


def lettered_rows(data):
    """A header and answers 0 to 3 become no header and answers A to D."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8"))))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([*row[:5], "ABCD"[int(row[5])]] for row in rows[1:])
    return out.getvalue().encode("utf-8")


# What stands before the context, between it and the question, and behind the question in the prompts of MiniLongBench.
PASSAGES = ("Answer the question based on the given passages. Only give me the answer and do not output any other words.\n\n"
            "The following are given passages.\n",
            "\n\nAnswer the question based on the given passages. Only give me the answer and do not output any other "
            "words.\n\nQuestion: ", "\nAnswer:")
STORY = "Answer the question as concisely as you can, using a single phrase if possible. Do not provide any explanation."
FRAMES = {
    "hotpotqa": PASSAGES, "2wikimqa": PASSAGES, "musique": PASSAGES, "qasper": PASSAGES,
    "multifieldqa_en": ("Read the following text and answer briefly.\n\n",
                        "\n\nNow, answer the following question based on the above text, only give me the answer and do not "
                        "output any other words.\n\nQuestion: ", "\nAnswer:"),
    "narrativeqa": (f"You are given a story, which can be either a novel or a movie script, and a question. {STORY}\n\nStory: ",
                    "\n\nNow, answer the question based on the story as concisely as you can, using a single phrase if "
                    "possible. Do not provide any explanation.\n\nQuestion: ", "\n\nAnswer:"),
    "passage_retrieval_en": ("Here are 30 paragraphs from Wikipedia, along with an abstract. Please determine which paragraph "
                             "the abstract is from.\n\n", "\n\nThe following is an abstract.\n\n",
                             "\n\nPlease enter the number of the paragraph that the abstract is from. The answer format must be "
                             "like \"Paragraph 1\", \"Paragraph 2\", etc.\n\nThe answer is: "),
    "triviaqa": ("Answer the question based on the given passage. Only give me the answer and do not output any other words. "
                 "The following are some examples.\n\n", "\n\n\n", ""),
}


def records_of(dataset):
    """Prompts with their answers become records of context, question and answers."""

    def change(data):
        before, between, after = FRAMES[dataset]
        lines = []
        for number, record in json.loads(data).items():
            prompt = record["origin_prompt"]
            if not prompt.startswith(before) or not prompt.endswith(after) or between not in prompt:
                raise Failure(f"{dataset}: record {number} is not the prompt that was expected")
            inner = prompt[len(before):len(prompt) - len(after)]
            context, question = inner.rsplit(between, 1)
            lines.append(json.dumps({"input": question, "context": context, "answers": record["gold"],
                                     "length": len(context.split()), "dataset": dataset, "language": "en",
                                     "all_classes": None, "_id": f"minilongbench-{dataset}-{number}"},
                                    ensure_ascii=False) + "\n")
        return "".join(lines).encode("utf-8")

    return change


SUBJECTS = (
    "abstract_algebra anatomy astronomy business_ethics clinical_knowledge college_biology college_chemistry "
    "college_computer_science college_mathematics college_medicine college_physics computer_security "
    "conceptual_physics econometrics electrical_engineering elementary_mathematics formal_logic global_facts "
    "high_school_biology high_school_chemistry high_school_computer_science high_school_european_history "
    "high_school_geography high_school_government_and_politics high_school_macroeconomics high_school_mathematics "
    "high_school_microeconomics high_school_physics high_school_psychology high_school_statistics "
    "high_school_us_history high_school_world_history human_aging human_sexuality international_law jurisprudence "
    "logical_fallacies machine_learning management marketing medical_genetics miscellaneous moral_disputes "
    "moral_scenarios nutrition philosophy prehistory professional_accounting professional_law professional_medicine "
    "professional_psychology public_relations security_studies sociology us_foreign_policy virology world_religions"
).split()


def mmlu_files():
    return tuple(File(f"hendrycks_format/{part}/{subject}_{part}.csv", f"data/mmlu/{part}/{subject}_{part}.csv", lettered_rows, "")
                 for part in ("dev", "test") for subject in SUBJECTS)


def longbench_file(dataset, sha256):
    return File(f"{dataset}.jsonl", f"pred_data/example/MiniLongBench_{dataset}.json", records_of(dataset), sha256)


SETS = (
    Set("gsm8k", Origin("openai/grade-school-math", "3101c7d5072418e28b9008a6636bde82a006892c"), "MIT", (
        File("test.jsonl", "grade_school_math/data/test.jsonl", same,
             "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14"),
        File("train_first100.jsonl", "grade_school_math/data/train.jsonl", first_hundred_lines,
             "85c6e71683558332436837b8d19547fdec61f4dbc343693a52c6359477031edb"))),
    Set("wikitext2_raw", Origin("DRAGNLabs/LLMHumanModeling", "a76c47739e890a857b138b0adc5ca47a10c4c18f"), "CC BY-SA 3.0", (
        File("wiki.test.raw", "data/wiki.test.raw", without_carriage_returns,
             "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08"),
        File("wiki.valid.raw", "data/wiki.valid.raw", without_carriage_returns,
             "4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7"))),
    Set("longbench_mini", Origin("MilkThink-Lab/MiniLongBench", "504c24798b2f1bcf57d9e111251fd0f5454ed751"),
        "of each text's source", (
            longbench_file("hotpotqa", "e6054a7d28c4c7089d194bebe75113fe0b9e33d07233cbce85928a8ae71d7590"),
            longbench_file("qasper", "15bc5bb07adbcdb0e8fa5318547a75ea56dab5e06a55834c51ab2342f6b13239"),
            longbench_file("2wikimqa", "e59592f7ec5e1c5f3243c06d936c3ce845c2c689b6aaf232dd7d7299a77cdd0e"),
            longbench_file("musique", "b7b3410bafcb5f5503eea40cfd3fc6321fe64390b0e7c3b46e3a8b4ef2e3b38d"),
            longbench_file("multifieldqa_en", "d2908d83628aaec953e35442d5fb7a831a7123d81ff09f644aa3f7a902f8deba"),
            longbench_file("narrativeqa", "416e91157a7de8aa735497f9fe54588de0944061db985d55b6bbf6e66352154e"),
            longbench_file("passage_retrieval_en", "895f925785ee30a721c7f6fc4345ddd559db07f60ba3e297753f322b31f7e624"),
            longbench_file("triviaqa", "f96468e9f333d98b663210346f7317264e3b3c1f1d2438729e9d956463ec5f27"))),
    Set("mmlu", Origin("HaeChan0305/MLILAB-FedLLM", "d92730e8bacd7b3a61e551e015e40588e10234b4"), "MIT", mmlu_files()),
)
# Of all files of a set, names and checksums, where single ones are not written down.
SHA256_OF_SET = {"mmlu": "e09d0c00d392a26cdaa7e0d8abe141559b0c674b6d73955b5568a8b18250608f"}


def over_network(origin, path):
    url = f"https://raw.githubusercontent.com/{origin.repository}/{origin.commit}/{path}"
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        raise Failure(f"{url}: the server answers {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise Failure(f"{url}: cannot be reached: {getattr(error, 'reason', error)}; --clones reads local clones") from error


def from_clone(clones):
    def read(origin, path):
        clone = pathlib.Path(clones) / origin.repository
        if not clone.exists():
            raise Failure(f"{clone}: there is no clone of {origin.repository}")
        git = subprocess.run(["git", "-C", str(clone), "show", f"{origin.commit}:{path}"], capture_output=True, check=False)
        if git.returncode != 0:
            raise Failure(f"{clone}: {git.stderr.decode(errors='replace').strip()}")
        return git.stdout

    return read


def sha256_of(data):
    return hashlib.sha256(data).hexdigest()


def sha256_of_set(folder, chosen):
    lines = []
    for file in chosen.files:
        path = folder / chosen.name / file.name
        if not path.is_file():
            return ""
        lines.append(f"{sha256_of(path.read_bytes())}  {file.name}\n")
    return sha256_of("".join(lines).encode())


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)


def fetch_file(folder, chosen, file, read):
    path = folder / chosen.name / file.name
    if file.sha256 and path.is_file() and sha256_of(path.read_bytes()) == file.sha256:
        return
    data = file.change(read(chosen.origin, file.path))
    if file.sha256 and sha256_of(data) != file.sha256:
        raise Failure(f"{chosen.name}/{file.name}: wanted a checksum of {file.sha256}, found {sha256_of(data)}")
    write(path, data)


def fetch(folder, chosen, read):
    whole = SHA256_OF_SET.get(chosen.name)
    if whole and sha256_of_set(folder, chosen) == whole:
        return
    for number, file in enumerate(chosen.files, 1):
        fetch_file(folder, chosen, file, read)
        if sys.stderr.isatty():
            print(f"\r\033[K{chosen.name}: {number} of {len(chosen.files)} files", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if whole and sha256_of_set(folder, chosen) != whole:
        raise Failure(f"{chosen.name}: the files are not those that were expected (checksum of the set)")


def main():
    names = [chosen.name for chosen in SETS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", metavar="DIR", help="where the sets go")
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"{', '.join(names)} [all]")
    parser.add_argument("--clones", metavar="CLONES", help="read from git clones in CLONES/OWNER/NAME")
    parser.add_argument("--list", action="store_true", help="print the sets and stop")
    arguments = parser.parse_intermixed_args()
    if arguments.list:
        for chosen in SETS:
            origin = chosen.origin
            print(f"{chosen.name:16} {len(chosen.files):4} files  {chosen.licence:22} github.com/{origin.repository} at {origin.commit[:12]}")
        return
    if not arguments.folder:
        parser.error("a folder is wanted to put the sets into")
    for name in arguments.sets:
        if name not in names:
            parser.error(f"there is no set '{name}'; known are {', '.join(names)}")
    read = from_clone(arguments.clones) if arguments.clones else over_network
    for chosen in SETS:
        if not arguments.sets or chosen.name in arguments.sets:
            fetch(pathlib.Path(arguments.folder), chosen, read)
            print(f"{chosen.name}: {pathlib.Path(arguments.folder) / chosen.name}")


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError) as failure:
        sys.exit(f"fetch_data: {failure}")
    except KeyboardInterrupt:
        sys.exit("\nfetch_data: interrupted; the next run goes on from here")
