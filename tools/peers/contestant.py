"""The programs that are compared, and how each is asked for a figure."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from line import Line


class Unavailable(Exception):
    """A contestant cannot do a line; the message says why."""


@dataclass
class Sample:
    """One figure and what came with it."""

    value: float
    peak_rss_bytes: int
    command: list[str]
    extra: dict = field(default_factory=dict)


@dataclass
class Finished:
    """A process that ended well."""

    stdout: str
    stderr: str
    wall_s: float
    peak_rss_bytes: int


def run(command: list[str], environment: dict[str, str]) -> Finished:
    """Runs a command to its end, with nothing on its stdin, in a folder of its own:
    some tools leave logs where they are started."""
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryFile() as stdout,
        tempfile.TemporaryFile() as stderr,
    ):
        started = time.monotonic()
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=os.environ | environment,
        )
        try:
            # Not `child.wait`: only this tells what the child has used.
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            child.kill()
            child.wait()
            raise
        wall_s = time.monotonic() - started
        texts = [written(file) for file in (stdout, stderr)]
    if child.returncode != 0:
        said = texts[1].strip().splitlines()[-1:]
        raise Unavailable(f"exit status {child.returncode}: {' '.join([*command, *said])}")
    # Linux counts in KiB.
    return Finished(*texts, wall_s, usage.ru_maxrss * 1024)


def written(file) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


class Contestant:
    """A program in one configuration."""

    name: str
    environment: dict[str, str] = {}

    def command(self, line: Line, model: Path) -> list[str]:
        """What measures `line`. Raises `Unavailable` where nothing does."""
        raise NotImplementedError

    def value(self, line: Line, done: Finished) -> tuple[float, dict]:
        """The figure in the command's output, in tokens per second."""
        raise NotImplementedError

    def sample(self, line: Line, model: Path) -> Sample:
        command = self.command(line, model)
        done = run(command, self.environment)
        if line.is_time:
            return Sample(done.wall_s, done.peak_rss_bytes, command)
        value, extra = self.value(line, done)
        return Sample(value, done.peak_rss_bytes, command, extra)


class Outrigger(Contestant):
    """Ours."""

    def __init__(self, binary: Path, isa: str | None):
        self.binary = binary
        self.name = "outrigger" if isa is None else f"outrigger {isa}"
        self.environment = {} if isa is None else {"OUTRIGGER_ISA": isa}

    def command(self, line: Line, model: Path) -> list[str]:
        start = [str(self.binary)]
        common = ["-m", str(model), "-t", str(line.threads)]
        if line.is_time:
            return start + ["run", *common, "--temp", "0", "-n", "1", line.text]
        return start + [
            "bench", *common, "--json", "-r", "1", "--kv", line.kv, "--columns", str(line.columns),
            "-p", str(line.prompt), "-n", str(line.generate), "-d", str(line.depth),
        ]  # fmt: skip

    def value(self, line: Line, done: Finished) -> tuple[float, dict]:
        (record,) = json.loads(done.stdout)
        keys = ["read_bandwidth", "roofline", "bytes_per_token", "isa", "kernel_set"]
        keys += ["build_commit", "peak_anonymous_bytes", "peak_file_bytes", "joules_per_token"]
        return record["avg_ts"], {key: record[key] for key in keys}


class LlamaCpp(Contestant):
    """llama.cpp, with the weights re-laid when they are loaded, or not."""

    def __init__(self, folder: Path, repack: bool):
        self.folder = folder
        self.repack = repack
        self.name = "llama.cpp" if repack else "llama.cpp --repack 0"

    def tool(self, name: str) -> str:
        tool = self.folder / name
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not there")
        return str(tool)

    def command(self, line: Line, model: Path) -> list[str]:
        common = ["-m", str(model), "-t", str(line.threads)]
        if line.is_time:
            return [
                self.tool("llama-completion"), *common, *self.switch(),
                "-p", line.text, "-n", "1", "--temp", "0", "--no-warmup", "-no-cnv", "-c", "512",
            ]  # fmt: skip
        common += ["-ctk", line.kv, "-ctv", line.kv]
        if line.columns > 1:
            positions = line.columns * (self.LEAST_PROMPT + line.generate)
            return [
                self.tool("llama-batched-bench"), *common, *self.switch(), "-fa", self.ATTENTION,
                "-c", str(positions), "-b", "2048", "-ub", "512", "-npp", str(self.LEAST_PROMPT),
                "-ntg", str(line.generate), "-npl", str(line.columns),
            ]  # fmt: skip
        return [
            self.tool("llama-bench"), *common, "-r", "1", "-o", "json",
            "-fa", self.ATTENTION, *self.tests(line), *self.bench_switch(),
        ]  # fmt: skip

    # llama-batched-bench measures no generation without a prompt.
    LEAST_PROMPT = 8
    # A quantized cache of values needs it.
    ATTENTION = "on"

    def tests(self, line: Line) -> list[str]:
        return ["-p", str(line.prompt), "-n", str(line.generate), "-d", str(line.depth)]

    def switch(self) -> list[str]:
        return [] if self.repack else ["--no-repack"]

    def bench_switch(self) -> list[str]:
        return ["--repack", "1" if self.repack else "0"]

    def value(self, line: Line, done: Finished) -> tuple[float, dict]:
        if line.columns > 1:
            # The table comes on either.
            return batched_value(done.stdout + done.stderr), {}
        (record,) = json.loads(done.stdout)
        return record["avg_ts"], {"build_commit": record["build_commit"]}


class IkLlamaCpp(LlamaCpp):
    """ik_llama.cpp, with `-rtr 1` (re-laid when loaded) and without."""

    ATTENTION = "1"

    def __init__(self, folder: Path, repack: bool):
        super().__init__(folder, repack)
        self.name = "ik_llama.cpp -rtr 1" if repack else "ik_llama.cpp"

    def command(self, line: Line, model: Path) -> list[str]:
        if line.is_time:
            return [
                self.tool("llama-cli"), "-m", str(model), "-t", str(line.threads), *self.switch(),
                "-p", line.text, "-n", "1", "--temp", "0", "--no-warmup", "-c", "512",
            ]  # fmt: skip
        return super().command(line, model)

    def tests(self, line: Line) -> list[str]:
        if line.depth:
            # It has no -d; this times the generation behind a prompt alone.
            return ["-p", "0", "-n", "0", "-gp", f"{line.depth},{line.generate}"]
        return ["-p", str(line.prompt), "-n", str(line.generate)]

    def switch(self) -> list[str]:
        return ["-rtr"] if self.repack else []

    def bench_switch(self) -> list[str]:
        return ["-rtr", "1" if self.repack else "0"]


def batched_value(text: str) -> float:
    """Tokens per second of the generation in llama-batched-bench's table."""
    rows = [
        [cell.strip() for cell in row.strip().strip("|").split("|")]
        for row in text.splitlines()
        if row.startswith("|")
    ]
    heads = [row for row in rows if "S_TG t/s" in row]
    if not heads or len(rows[-1]) != len(heads[0]) or rows[-1] is heads[0]:
        raise Unavailable("llama-batched-bench printed no table")
    return float(rows[-1][heads[0].index("S_TG t/s")])
