"""One measurement: load from wrk or h2load, the proxy's CPU time from /proc, the requests from the back end's own count."""

import json
import os
import pathlib
import re
import statistics
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
# About what a browser sends; the session's cookie comes on top.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/146.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.7",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Upgrade-Insecure-Requests": "1",
}
SETTLE = 0.7  # connections and their handshakes are made in this time, which is not measured


def family(pid):
    """A process and everything that it started."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    members, queue = [], [pid]
    while queue:
        one = queue.pop()
        members.append(one)
        queue.extend(parents.get(one, []))
    return members


def cpu_seconds(pids):
    """User and system time of the processes, their ended children included."""
    total = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += sum(int(value) for value in fields[11:15])
    return total / TICK


def resident_mib(pids):
    """Proportional set size: shared pages counted once."""
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return total / 1024


def one(proxy, backend, size, connections, seconds, pin, http2=False):
    """Runs the load once and measures the middle of it."""
    command = _h2load(proxy, size, connections, seconds) if http2 else _wrk(proxy, size, connections, seconds)
    load = subprocess.Popen([*pin, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(SETTLE)
        pids = family(proxy.process.pid)
        before = (time.perf_counter(), cpu_seconds(pids), backend.served())
        time.sleep(seconds)
        after = (time.perf_counter(), cpu_seconds(pids), backend.served())
        memory = resident_mib(pids)
        out, err = load.communicate(timeout=60)
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()
    elapsed, cpu, requests = (b - a for a, b in zip(before, after))
    result = _read_h2load(out) if http2 else json.loads(out.strip().splitlines()[-1])
    if result["errors"] or result["bytes"] < result["requests"] * size or not requests:
        raise RuntimeError(f"{proxy.name}, {size} B, {connections} connections: {result} {err[-500:]}")
    return {
        "cpu": cpu / requests * 1e6,
        "rate": requests / elapsed,
        "p50": result["p50"],
        "p99": result["p99"],
        "memory": memory,
    }


def _headers(proxy):
    return [part for name, value in {**BROWSER, **proxy.headers}.items() for part in ("-H", f"{name}: {value}")]


def _wrk(proxy, size, connections, seconds):
    # A little longer than what is measured, so that the load lasts until the second sample.
    duration = int(SETTLE + seconds + 1.3)
    return ["wrk", "-t", "1", "-c", str(connections), "-d", f"{duration}s", "--timeout", "10s", "-s", HERE / "wrk.lua", *_headers(proxy), proxy.url(size)]


def _h2load(proxy, size, connections, seconds):
    duration = int(SETTLE + seconds + 1.3)
    return ["h2load", "-c", str(connections), "-m", "16", "-D", str(duration), *_headers(proxy), proxy.url(size)]


def _read_h2load(out):
    """h2load states no percentiles of the latency."""
    done = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", out)
    data = re.search(r"traffic: .*?, .*?\), ([\d.]+)(\w*) \((\d+)\) data", out) or re.search(r"\((\d+)\) data", out)
    finished, succeeded, failed, errored = map(int, done.groups())
    return {"requests": succeeded, "errors": failed + errored + finished - succeeded, "bytes": int(data.groups()[-1]), "p50": None, "p99": None}


def fdatasync(directory, times=200):
    """Median and 99th percentile, in microseconds, of appending 4 KiB and making it durable."""
    path = directory / "probe"
    taken = []
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for _ in range(times):
            begun = time.perf_counter()
            os.write(handle, bytes(4096))
            os.fdatasync(handle)
            taken.append((time.perf_counter() - begun) * 1e6)
    finally:
        os.close(handle)
        path.unlink()
    return statistics.median(taken), sorted(taken)[int(times * 0.99) - 1]
