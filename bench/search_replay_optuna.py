#!/usr/bin/env python3
"""Plays optuna's NSGA-II over a table as search_replay does: the same axes, hypervolume, box and cost. A peer, for comparison; needs
the Python package optuna (pip install optuna), which neither the build nor the tests do.

  bench/search_replay_optuna.py TABLE.csv [seeds = 20]

A point that it asks for again costs nothing; combinations that the table lacks are infeasible and cost nothing either.
"""
import csv
import math
import re
import statistics
import sys

import optuna

COSTS = (0.02, 0.05, 0.1, 0.2, 0.5)
GOAL = 0.99
LOSS_FLOOR = 1e-3  # as search/front.h
POPULATION = 24    # as search/samplers/nsga2.cc


def read_table(path):
    """{(weights, keys, values, chunk): (bytes, loss)}."""
    table = {}
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            weights, scheme, chunk = re.fullmatch(r"([^_]+)_(.*)_chunk(\d+)", row["point"]).groups()
            keys, values = re.fullmatch(r"k(.*?)\.?v(.*)", scheme).groups()
            losses = [float(row[name]) for name in row if re.fullmatch(r"kld_\d+", name)]
            table[weights, keys, values, chunk] = (float(row["peak_bytes"]), statistics.fmean(losses))
    return table


def hypervolume(places, box):
    """As search/front.h: the fraction of the box that the places dominate, losses on a logarithmic scale."""
    (low_x, high_x), (low_y, high_y) = box
    area, height = 0.0, 1.0
    front = []
    for x, y in sorted(places):
        if not front or y < front[-1][1]:
            front.append((x, y))
    front = [((x - low_x) / (high_x - low_x), (y - low_y) / (high_y - low_y)) for x, y in front]
    for i, (x, y) in enumerate(front):
        until = front[i + 1][0] if i + 1 < len(front) else 1
        area += (until - x) * (height - y)
    return area


def place(entry):
    return entry[0], math.log(max(entry[1], LOSS_FLOOR))


def play(table, seed):
    """[(cost, fraction)] after every new point."""
    everywhere = [place(entry) for entry in table.values()]
    box = [(min(axis), max(axis)) for axis in zip(*everywhere)]
    whole = hypervolume(everywhere, box)
    choices = [sorted({key[axis] for key in table}) for axis in range(4)]
    seen, course = {}, []
    study = optuna.create_study(directions=["minimize", "minimize"],
                                sampler=optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed))
    for _ in range(4 * len(table)):
        trial = study.ask()
        key = tuple(trial.suggest_categorical(name, options) for name, options in zip(("weights", "keys", "values", "chunk"), choices))
        if key not in table:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        if key not in seen:
            seen[key] = place(table[key])
            course.append((len(seen) / len(table), hypervolume(seen.values(), box) / whole))
        study.tell(trial, seen[key])
    return course


def percent(value):
    return "never" if math.isinf(value) else f"{100 * value:.1f} %"


def main():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    table = read_table(sys.argv[1])
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    courses = [play(table, seed) for seed in range(1, seeds + 1)]
    cells = []
    for cost in COSTS:
        found = [max([f for c, f in course if c <= cost + 1e-9], default=0) for course in courses]
        cells.append(f"{percent(statistics.median_high(found))} ({percent(min(found))})")
    reached = [next((c for c, f in course if f >= GOAL), math.inf) for course in courses]
    within = sum(cost <= 0.1 for cost in reached)
    print(f"| optuna {optuna.__version__} NSGA-II | {' | '.join(cells)} | {percent(statistics.median_high(reached))} | "
          f"{percent(max(reached))} | {within} of {seeds} |")


if __name__ == "__main__":
    main()
