#!/usr/bin/env python3
"""Scores the samples of a log again with an independent implementation, and says how far the two are apart.

  kvpareto eval -m MODEL.gguf --kv k16v16 --texts 0 --tasks mmlu,gsm8k,hotpotqa,wikitext2 --limit 6 --log-samples log.jsonl
  tools/compare_scores.py MODEL.gguf log.jsonl [--most-answers N]

The prompts' token ids are taken from the log. The model is read from its GGUF file by tools/make_golden_logits.py and run
by transformers in f32 (matrices rounded to bf16, as the engine holds them): likelihoods of gold answers and choices,
greedy answers, perplexity. Answers are marked again by rules written here from the tasks' definitions. Only a 16-bit cache
can be compared so.

Needs python packages that nothing else needs: torch, transformers, tokenizers, gguf.
"""
import argparse
import collections
import json
import math
import pathlib
import re
import string
import sys

import make_golden_logits

F1_TASKS = {"hotpotqa", "hotpotqa_10p", "hotpotqa_4k", "hotpotqa_9k", "qasper", "qasper_freeform", "2wikimqa", "musique",
            "multifieldqa", "narrativeqa"}
ANSWER_TOKENS = {"gsm8k": 256, "qasper": 128, "qasper_freeform": 128, "narrativeqa": 128, "multifieldqa": 64}


def words(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", text).split()


def f1(answer, reference):
    said, wanted = words(answer), words(reference)
    common = sum((collections.Counter(said) & collections.Counter(wanted)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(said), common / len(wanted)
    return 2 * precision * recall / (precision + recall)


def number_of(text):
    return re.sub(r"\.$", "", re.sub(r"[,$]", "", text))


def gsm8k(answer, target):
    right = number_of(re.findall(r"#### (\-?[0-9\.\,]+)", target)[0])
    found = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", answer)
    return float(bool(found) and number_of(found[-1][0] or found[-1][1]) == right)


def mark(task, answer, line):
    references = line["references"] or [line["target"].strip()]
    if task in F1_TASKS:
        return max(f1(answer, reference) for reference in references)
    if task == "gsm8k":
        return gsm8k(answer, line["target"])
    return sum(reference.lower() in answer.lower() for reference in references) / len(references)


class Reference:
    def __init__(self, path):
        import torch
        self.torch = torch
        self.file = make_golden_logits.Gguf(path)
        self.model = make_golden_logits.model_of(self.file)
        self.model.set_attn_implementation("sdpa")  # a whole score matrix of a long prompt takes gigabytes
        alphabet = self.byte_alphabet()
        self.texts = [bytes(alphabet[c] for c in token if c in alphabet) for token in self.file.fields["tokenizer.ggml.tokens"]]
        self.types = self.file.fields["tokenizer.ggml.token_type"]

    @staticmethod
    def byte_alphabet():
        plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [b for b in range(256) if b not in plain]
        return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}

    def decode(self, tokens):
        return b"".join(self.texts[t] for t in tokens if self.types[t] == 1).decode("utf-8", "replace")

    def losses(self, prompt, answer):
        """Negative log-likelihood of each token of the answer."""
        ids = self.torch.tensor([prompt + answer])
        with self.torch.inference_mode():
            logits = self.model(ids, logits_to_keep=len(answer) + 1).logits[0, :-1].double()
        picked = self.torch.log_softmax(logits, -1)[range(len(answer)), answer]
        return (-picked).tolist()

    def answer(self, prompt, most):
        ids = self.torch.tensor([prompt])
        ends = [t for t, kind in enumerate(self.types) if kind == 3]
        with self.torch.inference_mode():
            made = self.model.generate(ids, max_new_tokens=most, do_sample=False, eos_token_id=ends, pad_token_id=ends[0])
        return self.decode(made[0, len(prompt):].tolist())


def compare_task(reference, task, lines, most_answers):
    nll, again, scores, scored, same = [], [], [], [], 0
    for line in lines:
        prompt = line["prompt_tokens"]
        nll.append(line[f"{task}_nll"])
        if not line["target_tokens"]:
            losses = reference.losses(prompt[:1], prompt[1:])
        else:
            losses = reference.losses(prompt, line["target_tokens"])
        again.append(sum(losses) / len(losses))
        if "choices_tokens" in line:
            likelihoods = [-sum(reference.losses(prompt, choice)) for choice in line["choices_tokens"]]
            chosen = " " + "ABCD"[likelihoods.index(max(likelihoods))]
            same += chosen == line["answer"]
            scored.append(float(chosen == line["target"]))
            scores.append(line[task])
        elif line["target_tokens"] and len(scores) < most_answers:
            text = reference.answer(prompt, ANSWER_TOKENS.get(task, 32)).split("Question:")[0]
            if task not in F1_TASKS | {"gsm8k"}:
                text = text[:len(line["answer"]) + 8]
            same += text.strip() == line["answer"].strip()
            scored.append(mark(task, text, line))
            scores.append(line[task])
    mean = lambda values: sum(values) / len(values)
    apart = max(abs(a - b) for a, b in zip(nll, again))
    print(f"{task}: NLL {mean(nll):.5f} here, {mean(again):.5f} there ({len(nll)} samples, at most {apart:.5f} apart in one); "
          f"perplexity ratio {math.exp(mean(nll) - mean(again)):.5f}")
    if scores:
        print(f"{task}: score {100 * mean(scores):.1f} here, {100 * mean(scored):.1f} there; {same} of {len(scores)} answers equal")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("log", type=pathlib.Path)
    parser.add_argument("--most-answers", type=int, default=4, help="free answers to generate of each task [4]")
    arguments = parser.parse_args()
    tasks = collections.defaultdict(list)
    for line in arguments.log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if "_k16v16_" not in record["point"]:
            sys.exit(f"compare_scores: {record['point']} has no 16-bit cache; measure with --kv k16v16")
        tasks[record["task"]].append(record)
    reference = Reference(arguments.model)
    for task, lines in tasks.items():
        compare_task(reference, task, lines, arguments.most_answers)


if __name__ == "__main__":
    main()
