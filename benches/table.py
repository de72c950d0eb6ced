#!/usr/bin/env python3
"""Prints the results of run.py --json as the Markdown tables of BENCHMARKS.md.

    table.py RESULTS.json
"""

import json, statistics, sys

from load import DEPTH
from servers import FLOOR, NAMES, ORIGINAL

HEAD = ["verb", "server", "requests/s", "of bare axum", "times the original", "CPU µs, server", "CPU µs, Redis",
        "of the original's CPU", "p50 ms", "p99 ms", "server's RSS MiB"]


def row(cells):
    return "| " + " | ".join(cells) + " |"


def whole(value):
    return f"{value:,.0f}"


def times(value):
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def percent(value):
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}"


def spread(values, form):
    """The median, with the minimum and the maximum in brackets."""
    values = sorted(values)
    middle = form(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({form(values[0])}–{form(values[-1])})"


def ratios(rounds, others, value, form):
    """The spread of the ratios within each round; empty without the other server."""
    return spread([value(r) / value(o) for r, o in zip(rounds, others)], form) if others else ""


def rate(found):
    return found["rate"]


def cpu(found):
    return sum(found["cpu"])


def columns(name, rounds, floor, original):
    """The cells of a server after its name."""
    def median(pick, form):
        return form.format(statistics.median(pick(r) for r in rounds))
    return [
        spread([rate(r) for r in rounds], whole),
        ratios(rounds, floor, rate, percent) if name != FLOOR else "",
        ratios(rounds, original, rate, times) if name != ORIGINAL else "",
        median(lambda r: r["cpu"][0], "{:.1f}"),
        median(lambda r: r["cpu"][1], "{:.1f}") if len(rounds[0]["cpu"]) > 1 else "",
        ratios(rounds, original, cpu, percent) if name != ORIGINAL else "",
        median(lambda r: r["p50"], "{:.2f}"),
        median(lambda r: r["p99"], "{:.2f}"),
        median(lambda r: r["rss"], "{:.0f}"),
    ]


def by_connections(connections, entries):
    """The table for a number of connections."""
    found = {(entry["verb"], entry["server"]): entry["rounds"] for entry in entries}
    lines = []
    for verb in dict.fromkeys(verb for verb, _ in found):
        first = verb
        # In a fixed order of servers, independent of that in the rounds.
        for name in NAMES:
            if rounds := found.get((verb, name)):
                cells = columns(name, rounds, found.get((verb, FLOOR)), found.get((verb, ORIGINAL)))
                lines.append([first, NAMES[name], *cells])
                first = ""
    return titled(f"{connections} connection{'s' * (connections > 1)}", HEAD, lines, entries[0])


def titled(title, head, lines, entry):
    """A table whose title names the number and the length of the rounds."""
    rounds = len(entry["rounds"])
    title += f": {rounds} round{'s' * (rounds > 1)} of {entry['seconds']} s"
    return "\n".join([f"### {title}", "", row(head), "|" + "---|" * len(head), *map(row, lines)])


def half(entries):
    head = ["store", "requests/s", "of its maximum", "CPU µs, server", "CPU µs, Redis", "p50 ms", "p99 ms"]
    lines = []
    for name in NAMES:
        for rounds in (entry["rounds"] for entry in entries if entry["server"] == name):
            cells = columns(name, rounds, None, None)
            share = spread([r["rate"] / r["full"] for r in rounds], percent)
            p99 = spread([r["p99"] for r in rounds], "{:.2f}".format)
            lines.append([NAMES[name], cells[0], share, cells[3], cells[4], cells[6], p99])
    return titled("get at half of its maximum, 64 connections", head, lines, entries[0])


def hmget(entry):
    rounds = entry["rounds"]
    rates, costs = spread([rate(r) for r in rounds], whole), spread([cpu(r) for r in rounds], "{:.2f}".format)
    return (f"`HMGET` alone, one connection with {DEPTH} requests in flight: {rates} a second, "
            f"{costs} µs of Redis' CPU for each.")


def markdown(results):
    entries, parts = results["results"], []
    http = [entry for entry in entries if entry["verb"] not in ("half", "hmget")]
    # 64 connections first, as in the plot.
    for connections in sorted({entry["connections"] for entry in http}, key=lambda n: (n != 64, n)):
        parts.append(by_connections(connections, [entry for entry in http if entry["connections"] == connections]))
    if halves := [entry for entry in entries if entry["verb"] == "half"]:
        parts.append(half(halves))
    parts += [hmget(entry) for entry in entries if entry["verb"] == "hmget"]
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    parts.append(f"The machine: {machine}.")
    return "\n\n".join(parts)


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(markdown(json.load(file)))
