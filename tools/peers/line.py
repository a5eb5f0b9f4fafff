"""The lines of the comparison: what is measured."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """One thing that is measured, in tokens per second or in seconds."""

    threads: int
    prompt: int = 0
    generate: int = 0
    depth: int = 0
    columns: int = 1
    kv: str = "f16"
    # For a first token: what comes before it, and whether the file is in the
    # page cache.
    text: str = ""
    cold: bool = False

    @property
    def is_time(self) -> bool:
        """Whether the figure is the seconds until a process has its first token."""
        return self.text != ""

    @property
    def name(self) -> str:
        if self.is_time:
            return "first token, cold" if self.cold else "first token, warm"
        name = f"tg{self.generate}" if self.generate else f"pp{self.prompt}"
        at = [f"d{self.depth}"] if self.depth else []
        at += [f"b{self.columns}"] if self.columns > 1 else []
        if at:
            name += " @ " + " ".join(at)
        return name if self.kv == "f16" else f"{name}, {self.kv} KV"


def lines(options) -> list[Line]:
    """The lines that the command line asks for, in the order of the table."""
    chosen = []
    for threads in options.threads:
        if "prefill" in options.lines:
            prompt = options.prompt if threads > 1 else options.prompt_one_thread
            chosen.append(Line(threads, prompt=prompt))
        if "decode" in options.lines:
            chosen.append(Line(threads, generate=options.generate))
        if "depth" in options.lines:
            for kv in options.kv:
                for depth in options.depths:
                    chosen.append(Line(threads, generate=options.generate, depth=depth, kv=kv))
        if "batch" in options.lines:
            for columns in options.columns:
                chosen.append(Line(threads, generate=options.generate, columns=columns))
        for cold in (True, False):
            if ("cold" if cold else "warm") in options.lines:
                chosen.append(Line(threads, text=options.text, cold=cold))
    return chosen
