#!/usr/bin/env python3
"""Evaluation sets of a few made-up records in the layouts of the real ones, for tests without data.

    make.py [DIR]     writes them into DIR [where this script is]
"""
import csv
import json
import pathlib
import random
import sys

NAMES = ["Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hal", "Ida", "Jon"]
TOWNS = ["Aarle", "Bronk", "Celm", "Dorst", "Elke", "Fumel", "Gavot", "Hosk", "Ilben", "Jorn"]
TRADES = ["baker", "miller", "smith", "cooper", "tailor", "potter", "weaver", "mason"]


def lines(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


def rows(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(records)


def sum_of(a, b):
    return {"question": f"{a} and {b}?", "answer": f"{a}+{b}={a + b}\n#### {a + b}"}


def passage(number, name, town, trade):
    return f"Passage {number}:\n{name}\n{name} of {town} is a {trade}."


def people(chance):
    pairs = [(name, town) for name in NAMES for town in TOWNS]
    for name, town in chance.sample(pairs, 24):
        yield name, town, chance.choice(TRADES)


def documents(chance, dataset):
    records = []
    for i, (name, town, trade) in enumerate(people(chance)):
        others = [passage(k + 2, chance.choice(NAMES) + "a", chance.choice(TOWNS), chance.choice(TRADES)) for k in range(4)]
        context = "\n".join(others[:2] + [passage(1, name, town, trade)] + others[2:])
        records.append({"input": f"What is {name} of {town}?", "context": context, "answers": [trade, f"a {trade}"],
                        "length": len(context.split()), "dataset": dataset, "language": "en", "all_classes": None,
                        "_id": f"{dataset}-{i}"})
    return records


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    chance = random.Random(1)
    lines(folder / "gsm8k/train_first100.jsonl", [sum_of(a, a + 1) for a in range(2, 8)])
    lines(folder / "gsm8k/test.jsonl", [sum_of(a, b) for a in range(10, 18) for b in range(20, 25)])
    for subject in ("small_sums", "odd_ones"):
        def question(a):
            wrong = [a + 1, a + 2, a + 5]
            place = a % 4
            choices = wrong[:place] + [a] + wrong[place:]
            text = f"{a - 1} + 1, \"plainly\"?" if subject == "small_sums" else f"{a},\nand nothing else?"
            return [text, *choices, "ABCD"[place]]
        rows(folder / f"mmlu/hendrycks_format/dev/{subject}_dev.csv", [question(a) for a in range(2, 7)])
        rows(folder / f"mmlu/hendrycks_format/test/{subject}_test.csv", [question(a) for a in range(10, 30)])
    for dataset in ("hotpotqa", "qasper", "2wikimqa", "musique", "multifieldqa_en", "narrativeqa", "triviaqa"):
        lines(folder / f"longbench_mini/{dataset}.jsonl", documents(chance, dataset))
    found = documents(chance, "passage_retrieval_en")
    for record in found:
        number = chance.randrange(1, 31)
        record["context"] = record["context"].replace("Passage 1:", f"Paragraph {number}:").replace("Passage", "Paragraph")
        record["answers"] = [f"Paragraph {number}"]
    lines(folder / "longbench_mini/passage_retrieval_en.jsonl", found)
    for name in ("hotpotqa_10p", "hotpotqa_padded_4kwords", "hotpotqa_padded_9kwords"):
        lines(folder / f"hotpotqa/{name}.jsonl", documents(chance, "hotpotqa"))
    lines(folder / "qasper_freeform/qasper_freeform.jsonl", documents(chance, "qasper"))
    pool = [{"title": f"{name}a", "text": f"{name}a is known in {town}."} for name in NAMES for town in TOWNS]
    lines(folder / "hotpotqa/original/pool_passages_validation500.jsonl", pool)
    for part in ("valid", "test"):
        text = ""
        for name, town, trade in people(chance):
            text += f" \n = {town} = \n \n {name} , a {trade} , lived in {town} and sold what {name} had made . \n"
        path = folder / f"wikitext2_raw/wiki.{part}.raw"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text * 3, encoding="utf-8")


main()
