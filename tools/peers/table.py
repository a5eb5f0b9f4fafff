"""The table of medians and ratios."""

from statistics import median

OURS = 0


def cell(value: float) -> str:
    """A number with three digits or more."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(ours: float, peers: dict[str, float], less_is_better: bool) -> tuple[float, str] | None:
    """How far we are ahead of the best peer (more than 1: ahead), and who that is."""
    if not peers:
        return None
    if less_is_better:
        best = min(peers, key=peers.get)
        return peers[best] / ours, best
    best = max(peers, key=peers.get)
    return ours / peers[best], best


def rows(results: list[dict], names: list[str]) -> list[list[str]]:
    """A row per line that was measured. `results` has for each line `file`, `line`,
    `threads`, `is_time` and `samples` (a list by contestant)."""
    out = []
    for result in results:
        less_is_better = result["is_time"]
        medians = {
            name: median(sample["value"] for sample in result["samples"][name])
            for name in names
            if result["samples"].get(name)
        }
        ours = medians.get(names[OURS])
        peers = {name: value for name, value in medians.items() if name != names[OURS]}
        ahead = ours and ratio(ours, peers, less_is_better)
        out.append(
            [result["file"], result["line"], str(result["threads"])]
            + [cell(medians[name]) if name in medians else "" for name in names]
            + [f"{ahead[0]:.2f}" if ahead else ""]
            + limits(result, names[OURS])
        )
        memory = {
            name: max(sample["peak_rss_bytes"] for sample in result["samples"][name]) / 2**20
            for name in medians
        }
        if result["memory"] and memory:
            ours = memory.pop(names[OURS], None)
            ahead = ours and ratio(ours, memory, less_is_better=True)
            if ours:
                memory[names[OURS]] = ours
            out.append(
                [result["file"], f"peak RSS of {result['line']}, MiB", str(result["threads"])]
                + [f"{memory[name]:.0f}" if name in memory else "" for name in names]
                + [f"{ahead[0]:.2f}" if ahead else "", "", ""]
            )
    return out


def limits(result: dict, name: str) -> list[str]:
    """Our read bandwidth in GB/s and the part of it that was reached."""
    extras = [sample["extra"] for sample in result["samples"].get(name, [])]
    speeds = [extra["read_bandwidth"] for extra in extras if extra.get("read_bandwidth")]
    parts = [extra["roofline"] for extra in extras if extra.get("roofline")]
    if not speeds or not parts:
        return [f"disk {result['disk_s']:.2f} s" if result.get("disk_s") else "", ""]
    return [f"{median(speeds) / 1e9:.1f}", f"{100 * median(parts):.0f} %"]


def markdown(results: list[dict], names: list[str]) -> str:
    """The table as markdown."""
    heads = ["file", "line", "threads", *names, "ours / best peer", "read GB/s", "roofline"]
    table = [heads, *rows(results, names)]
    widths = [max(len(row[i]) for row in table) for i in range(len(heads))]

    def text(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * width if i < 2 else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([text(heads), "| " + " | ".join(rule) + " |", *map(text, table[1:])])
