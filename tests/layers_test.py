#!/usr/bin/env python3
"""Every #include of src/ obeys src/layers.txt; only backend/cuda includes CUDA; no file has more than 600 lines."""
import pathlib
import re
import sys

src = pathlib.Path(sys.argv[1])
layers = {}
for line in (src / "layers.txt").read_text().splitlines():
    match = re.match(r"([a-z]+):([^|]*)", line)
    if match:
        layers[match[1]] = set(match[2].split())

problems = []
for path in sorted(src.rglob("*")):
    if path.suffix not in {".cc", ".h", ".cu", ".cuh"}:
        continue
    relative = path.relative_to(src)
    folder = relative.parts[0]
    lines = path.read_text().splitlines()
    if len(lines) > 600:
        problems.append(f"{relative}: {len(lines)} lines, more than 600")
    for number, line in enumerate(lines, 1):
        if re.match(r'#include\s*[<"](cuda|cublas|cudnn)', line) and "cuda" not in relative.parts:
            problems.append(f"{relative}:{number}: CUDA outside backend/cuda")
        match = re.match(r'#include\s*"([^"/]+)/', line)
        if match and match[1] in layers and match[1] != folder and match[1] not in layers[folder]:
            problems.append(f"{relative}:{number}: {folder} may not include {match[1]}")
for folder in (p.name for p in src.iterdir() if p.is_dir()):
    if folder not in layers:
        problems.append(f"src/{folder} is not in layers.txt")

print("\n".join(problems) or "layers: all includes obey layers.txt")
sys.exit(1 if problems else 0)
