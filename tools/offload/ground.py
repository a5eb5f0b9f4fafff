"""A node and edges as processes, with keys and folders of their own."""

import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/release/outrigger"

NAME = "cloud"


class Failed(Exception):
    """A command that did not do what it is there for."""


class Machine:
    """A machine's folders, and how to start the binary there."""

    def __init__(self, binary: Path, model: Path | None, threads: int):
        self.binary = binary
        self.model = ["-m", str(model)] if model else []
        self.threads = ["-t", str(threads)]
        self.folder = tempfile.TemporaryDirectory(prefix="outrigger-offload-")
        home = Path(self.folder.name)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("OUTRIGGER_")},
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
        }

    def start(self, *arguments: str, **options) -> subprocess.Popen:
        command = [str(self.binary), *arguments]
        return subprocess.Popen(
            command, env=self.environment, text=True, stdin=subprocess.DEVNULL, **options
        )

    def says(self, *arguments: str) -> str:
        """What a command prints; it succeeds."""
        pipe = subprocess.PIPE
        process = self.start(*arguments, stdout=pipe, stderr=pipe)
        out, error = process.communicate()
        if process.returncode != 0:
            raise Failed(f"outrigger {' '.join(arguments)}: {error.strip()}")
        return out

    def node(self, *more: str, port: int = 0, model: Path | None = None) -> "Node":
        return Node(self, port, more, model)


class Edge(Machine):
    """A machine that is paired with a node."""

    def pair(self, host: Machine, address: str) -> None:
        """Pairs with the node of `host`, which will be found at `address`."""
        issued = host.says("pair", "--issue", address)
        # Every edge here has one host name.
        client = Path(self.folder.name).name.replace("_", "-")
        self.says("pair", issued.split()[-1], "--name", NAME, "--client", client)

    def begin(self, *more: str, prompt: str, tokens: int) -> subprocess.Popen:
        """Begins to generate; the answer is JSON."""
        pipe = subprocess.PIPE
        arguments = ["run", *self.model, *self.threads, "--json", "--ignore-eos"]
        arguments += ["-n", str(tokens), *more, prompt]
        return self.start(*arguments, stdout=pipe, stderr=pipe)

    def answer(self, *more: str, prompt: str, tokens: int) -> dict:
        return finished(self.begin(*more, prompt=prompt, tokens=tokens))


def finished(edge: subprocess.Popen) -> dict:
    """The answer of an edge, and what it said meanwhile under `told`."""
    out, error = edge.communicate()
    if edge.returncode != 0:
        raise Failed(f"exit status {edge.returncode}: {error.strip()}")
    return {**json.loads(out), "told": error.strip()}


class Node:
    """A node's process, which listens once this is made."""

    def __init__(self, host: Machine, port: int, more: tuple[str, ...], model: Path | None):
        named = ["-m", str(model)] if model else host.model
        listen = ["--listen", f"127.0.0.1:{port}"]
        arguments = ["node", *named, *host.threads, *listen, *more]
        self.process = host.start(*arguments, stderr=subprocess.PIPE)
        line = self.process.stderr.readline()
        found = re.search(r" at (127\.0\.0\.1:(\d+)),", line)
        if not found:
            raise Failed(f"the node did not start: {line}{self.process.stderr.read()}")
        self.address, self.port = found[1], int(found[2])

    def kill(self) -> float:
        """Kills it at once; the time of the deed."""
        self.process.kill()
        killed = time.time()
        self.process.communicate()
        return killed

    def drain(self) -> int:
        """Ends it in order; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate()
        return self.process.returncode

    def __enter__(self) -> "Node":
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.kill()


ANIMALS = ["fox", "cat", "rabbit", "bear", "duck", "mouse", "frog", "koala", "owl", "pony"]
BEGINNINGS = [
    "Once upon a time, there lived a little {}",
    "One day, a sleepy {} found",
    "There was once a brave {} who",
    "Early one morning, a hungry {} went",
    "In a small house by the river lived a {}",
    "The {} and the moon were",
    "Nobody believed the old {} when",
    "\"Help!\" cried the {}.",
    "A {}",
    "Lily had a {}. Every day they played in the garden, and in the evening they told each other "
    "a story. This evening the {} began:",
    "Far away, where the snow never melts, a {} built",
    "It was the first day of school for the {}",
    "Mia asked the {}, \"What do you",
    "The rain would not stop, so the {}",
    "Three friends, a dog, a bird and a {},",
    "At the bottom of the sea there was a {}",
    "\"I am not afraid,\" said the {}",
    "When the {} woke up,",
    "The {} wanted a birthday cake with",
    "Long ago a {} lost its",
]


def prompts(count: int) -> list[str]:
    """Different beginnings of stories, 200 at most."""
    every = [text.replace("{}", animal) for animal in ANIMALS for text in BEGINNINGS]
    return every[:count]
