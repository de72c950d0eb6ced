#!/usr/bin/env python3
"""Draws the results of run.py --json for 64 connections as an SVG: bars of requests/s and of CPU time per request.

    plot.py RESULTS.json >FILE.svg
"""

import json, statistics, sys

from servers import NAMES

VERBS = ["get", "create", "set", "kill"]
CONNECTIONS = 64
# An own background, light or dark as the reader's system, so that the drawing is legible on any page.
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 } .value, .note { fill: #59636e } .value { font-size: 11px }
.page { fill: #ffffff; stroke: #d1d9e0 }
.bare { fill: #8c959f } .embedded { fill: #0969da } .redis { fill: #1a7f5a }
.node4 { fill: #bc4c00 } .node3 { fill: #cf7b3c }
.beside { opacity: .45 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .value, .note { fill: #9198a1 } .page { fill: #0d1117; stroke: #3d444d }
.embedded { fill: #4493f8 } .redis { fill: #3fb98a }
.node4 { fill: #e0702a } .node3 { fill: #f0a56b }
}
"""
WIDTH, BAR, PITCH, GAP, TOP = 860, 13, 17, 30, 62
LEFT, RATE, CPU, CPU_END = 230, 290, 560, 205  # x and length of the rate bars, x and length of the CPU bars


def medians(results):
    """Median requests/s and CPU of server and Redis, by verb and server."""
    found = {}
    for entry in results["results"]:
        if entry["verb"] in VERBS and entry["connections"] == CONNECTIONS:
            rounds = entry["rounds"]
            cpu = [statistics.median(values) for values in zip(*(r["cpu"] for r in rounds))]
            found[entry["verb"], entry["server"]] = statistics.median(r["rate"] for r in rounds), cpu
    if not found:
        sys.exit(f"nothing to draw: no {', '.join(VERBS)} with {CONNECTIONS} connections")
    return found


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{words}</text>'


def bar(x, y, length, kind):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(length, 1):.1f}" height="{BAR}" rx="2" class="{kind}"/>'


def server(name, y, rate, cpu, most_rate, most_cpu):
    """The bars of one server. The bar of Redis' CPU starts where the server's ends."""
    base = y + BAR - 3
    parts = [text(LEFT - 8, base, NAMES[name], anchor="end")]
    length = rate / most_rate * (RATE - 60)
    parts += [bar(LEFT, y, length, name), text(LEFT + length + 5, base, f"{rate:,.0f}", "value")]
    x = CPU
    for kind, micros in zip((name, f"{name} beside"), cpu):
        length = micros / most_cpu * (CPU_END - 10)
        parts.append(bar(x, y, length, kind))
        x += length
    return parts + [text(x + 5, base, " + ".join(f"{micros:.1f}" for micros in cpu), "value")]


def svg(results):
    found = medians(results)
    most_rate = max(rate for rate, _ in found.values())
    most_cpu = max(sum(cpu) for _, cpu in found.values())
    parts = [
        text(LEFT, 24, f"requests/s, {CONNECTIONS} connections", "title"), text(LEFT, 40, "more is better", "note"),
        text(CPU, 24, "CPU µs for each request", "title"),
        text(CPU, 40, "server + Redis (fainter); less is better", "note")]
    y = TOP
    for verb in VERBS:
        servers = [name for name in NAMES if (verb, name) in found]
        if servers:
            parts.append(text(20, y + BAR - 3, verb, "title"))
        for name in servers:
            parts += server(name, y, *found[verb, name], most_rate, most_cpu)
            y += PITCH
        y += (GAP - PITCH) if servers else 0
    height = y + 4
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<title>Requests per second and CPU of bare axum, the service and what it replaces</title>",
        f"<style>{STYLE}</style>",
        f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="6" class="page"/>', *parts, "</svg>\n"])


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        print(svg(json.load(file)), end="")
