"""Runs the contestants in turns and prints the table. See README.md."""

import argparse
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "real"))

from kit import cache, process, tls  # noqa: E402

import measure  # noqa: E402
import peers  # noqa: E402


def main():
    options = arguments()
    work = cache.work("bench")
    pin_proxy, pin_rest = pins(options.workers)
    with process.Stage(work) as stage:
        authority = tls.Authority(stage.directory / "tls")
        backend, proxies, gateway = peers.everything(stage, authority, options.workers, pin_proxy, pin_rest)
        try:
            begun = (os.getloadavg(), measure.fdatasync(work))
            results = rounds(options, backend, proxies, pin_rest)
            ended = (os.getloadavg(), measure.fdatasync(work))
        finally:
            backend.remove()
        gateway.stop()
        code, text = gateway.verify()
        if code != 0:
            raise RuntimeError(f"the trail does not verify after the load: {text}")
        page = render(options, proxies, results, begun, ended, text.strip().splitlines()[-1:])
    print(page)
    if options.out:
        pathlib.Path(options.out).write_text(page)


def arguments():
    parser = argparse.ArgumentParser(description="Chartgate beside nginx, HAProxy and Apache + mod_auth_openidc")
    parser.add_argument("--quick", action="store_true", help="2 rounds of 1 s")
    parser.add_argument("--workers", type=int, default=1, help="worker threads or processes of each proxy; 1 is pinned to a core of its own (default 1)")
    parser.add_argument("--rounds", type=int, help="rounds, each with all contestants (default 6)")
    parser.add_argument("--seconds", type=int, help="seconds measured in each run (default 2)")
    parser.add_argument("--out", help="also write the table to this file")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 6)
    options.seconds = options.seconds or (1 if options.quick else 2)
    return options


def pins(workers):
    """One worker gets a core for itself, away from load and back end; more workers share all cores with them."""
    cores = sorted(os.sched_getaffinity(0))
    if workers == 1 and len(cores) > 1:
        return ["taskset", "-c", str(cores[1])], ["taskset", "-c", str(cores[0])]
    return [], []


def cells():
    for name in peers.SIZES:
        for connections in (1, 64, 512):
            yield name, connections, False
    yield "4 KiB", 8, True


def rounds(options, backend, proxies, pin):
    """Every cell in every round: A B C D in one, D C B A in the next. The ratios pair what ran in the same round."""
    results = {}
    for number in range(options.rounds):
        order = proxies if number % 2 == 0 else list(reversed(proxies))
        for cell in cells():
            name, connections, http2 = cell
            for proxy in order:
                if http2 and proxy.name.startswith("Apache"):
                    continue
                seen = measure.one(proxy, backend, peers.SIZES[name], connections, options.seconds, pin, http2)
                results.setdefault(cell, {}).setdefault(proxy.name, []).append(seen)
            print(f"round {number + 1} of {options.rounds}: {label(cell)}", file=sys.stderr, flush=True)
    return results


def label(cell):
    name, connections, http2 = cell
    return f"{name}, HTTP/2, {connections} connections × 16 streams" if http2 else f"{name}, {connections} connection{'s' if connections > 1 else ''}"


def render(options, proxies, results, begun, ended, verified):
    lines = ["# Chartgate beside its peers", ""]
    lines += facts(options, begun, ended, verified)
    for cell, by_proxy in results.items():
        lines += ["", f"## {label(cell)}", "", "| proxy | CPU µs/request | × nginx (quartiles) | requests/s | × | p50 µs | × | p99 µs | × | memory MiB | × |", "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
        for proxy in proxies:
            if proxy.name in by_proxy:
                lines.append(row(proxy.name, by_proxy[proxy.name], by_proxy["nginx"]))
    lines += ["", "## Chartgate's CPU per request against its aims", "", "| | × nginx | × Apache + mod_auth_openidc |", "|---|--:|--:|"]
    for cell, by_proxy in results.items():
        apache = next((seen for name, seen in by_proxy.items() if name.startswith("Apache")), None)
        against = [paired(by_proxy["Chartgate"], other, "cpu") if other else None for other in (by_proxy["nginx"], apache)]
        lines.append(f"| {label(cell)} | " + " | ".join(f"{a:.2f}" if a else "–" for a in against) + " |")
    return "\n".join(lines) + "\n"


def facts(options, begun, ended, verified):
    placement = "pinned to a core of its own" if pins(options.workers)[0] else "sharing the cores with load and back end"
    disk = "; ".join(f"{when} p50 {probe[0]:.0f} µs, p99 {probe[1]:.0f} µs" for when, (_, probe) in (("before", begun), ("after", ended)))
    load = "; ".join(f"{when} {' '.join(f'{x:.2f}' for x in averages)}" for when, (averages, _) in (("before", begun), ("after", ended)))
    return [
        f"{options.rounds} rounds of {options.seconds} s, contestants interleaved; {options.workers} worker(s) each, {placement}. "
        "TLS 1.3, AES-256-GCM, ECDSA P-256, keep-alive; the same static back end. "
        "Figures are medians over the rounds; ratios are medians of same-round ratios to bare nginx. "
        "nginx and HAProxy only proxy; Apache checks an OpenID session and two claims; Chartgate does everything it does, its audit record durable before the back end is asked.",
        "",
        f"- machine: {cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}",
        f"- versions: {versions()}",
        f"- load average: {load}",
        f"- append 4 KiB + fdatasync: {disk}",
        f"- the trail afterwards: {' '.join(verified)}",
    ]


def row(name, seen, nginx):
    quartiles = sorted(a["cpu"] / b["cpu"] for a, b in zip(seen, nginx))
    spread = f"{quartiles[len(quartiles) // 4]:.2f}–{quartiles[(len(quartiles) * 3) // 4]:.2f}"
    cells_ = [name, number(median(seen, "cpu")), f"{paired(seen, nginx, 'cpu'):.2f} ({spread})"]
    for key in ("rate", "p50", "p99", "memory"):
        if seen[0][key] is None:
            cells_ += ["–", "–"]
        else:
            cells_ += [number(median(seen, key)), f"{paired(seen, nginx, key):.2f}"]
    return "| " + " | ".join(cells_) + " |"


def median(seen, key):
    return statistics.median(one[key] for one in seen)


def paired(seen, other, key):
    return statistics.median(a[key] / b[key] for a, b in zip(seen, other) if b[key])


def number(value):
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}".replace(",", " ")


def cpu_model():
    found = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return found.group(1) if found else platform.machine()


def versions():
    def first(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        return (done.stdout + done.stderr).strip().splitlines()[0]

    commit = first("git", "-C", str(HERE.parent), "rev-parse", "--short", "HEAD")
    module = first("dpkg-query", "-W", "-f", "${Version}", "libapache2-mod-auth-openidc")
    return ", ".join(
        [
            f"Chartgate {commit}",
            first("nginx", "-v").removeprefix("nginx version: "),
            " ".join(first("haproxy", "-v").split()[:3]),
            first("apache2", "-v").removeprefix("Server version: ").split(" (")[0] + f" with mod_auth_openidc {module}",
        ]
    )


if __name__ == "__main__":
    begun = time.monotonic()
    main()
    print(f"{time.monotonic() - begun:.0f} s", file=sys.stderr)
