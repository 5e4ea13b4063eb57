"""What a candidate bundle in the shadow costs: one gateway with and without one, in turns. See README.md."""

import argparse
import os
import pathlib
import shutil
import statistics
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "real"))

from kit import cache, net, process, provider, tls  # noqa: E402
from kit.console import Console  # noqa: E402
from kit.gateway import REPOSITORY  # noqa: E402

import bench  # noqa: E402
import measure  # noqa: E402
import peers  # noqa: E402

# A role more that may not read, so that the candidate is another bundle and no decision differs.
MORE = '\n@id("shadow-bench")\n@doc("Nobody of the archive reads notes.")\nforbid (principal in Role::"him", action == Action::"Read", resource == Section::"notes");\n'


def main():
    parser = argparse.ArgumentParser(description="the cost of `chartgate policy shadow`")
    parser.add_argument("--rounds", type=int, default=12, help="rounds, each with and without (default 12)")
    parser.add_argument("--seconds", type=int, default=2, help="seconds measured in each run (default 2)")
    options = parser.parse_args()
    with process.Stage(cache.work("bench-shadow")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        pin_proxy, pin_rest = bench.pins(1)
        backend = peers.Backend(stage, pin_rest)
        try:
            port = net.free_port()
            issuer = provider.OidcProvider(stage, cache.CACHE, authority, [f"https://{peers.HOST}:{port}"]).start()
            proxy, gateway = peers.chartgate(stage, authority, backend, issuer, port, 1, pin_proxy)
            net.await_port(port, 20, proxy.process.alive)
            time.sleep(1)
            peers.sign_in(proxy, authority, issuer)
            candidate = stage.directory / "candidate"
            shutil.copytree(REPOSITORY / "policies", candidate)
            (candidate / "more.cedar").write_text(MORE)
            console = Console(gateway.config, stage.directory / "console.log")
            for name, connections, _ in (("200 B", 64, False), ("4 KiB", 1, False), ("4 KiB", 64, False)):
                compare(options, name, connections, (proxy, backend, console, candidate, pin_rest))
            code, report = console.ask("policy", "shadow", "--report")
            print(report.splitlines()[0] if code == 0 else report)
        finally:
            backend.remove()


def compare(options, name, connections, parts):
    proxy, backend, console, candidate, pin = parts
    seen = {True: [], False: []}
    for number in range(options.rounds):
        for shadowed in (True, False) if number % 2 else (False, True):
            change = ["shadow", candidate, "--for", "1h"] if shadowed else ["shadow", "--off"]
            code, text = console.ask("policy", *map(str, change))
            if code != 0 and shadowed:
                raise RuntimeError(text)
            seen[shadowed].append(measure.one(proxy, backend, peers.SIZES[name], connections, options.seconds, pin, False))
    ratios = sorted(a["cpu"] / b["cpu"] for a, b in zip(seen[True], seen[False]))
    both = [statistics.median(one["cpu"] for one in seen[state]) for state in (False, True)]
    quartiles = f"{ratios[len(ratios) // 4]:.3f} to {ratios[len(ratios) * 3 // 4]:.3f}"
    print(
        f"{name}, {connections} connections: {both[0]:.1f} µs of CPU a request without, {both[1]:.1f} with; "
        f"ratio {statistics.median(ratios):.3f} (quartiles {quartiles}); load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
