"""Checks, counted. A scenario prints one line for each and ends non-zero when one failed."""

import sys
import time
import traceback


class Report:
    def __init__(self, scenario):
        self.scenario = scenario
        self.passed = 0
        self.failed = 0
        self._begun = time.monotonic()

    def check(self, what, holds, seen=""):
        """Counts one check; `seen` is printed when it fails."""
        if holds:
            self.passed += 1
            print(f"  ok    {what}", flush=True)
        else:
            self.failed += 1
            print(f"  FAIL  {what}: {str(seen)[:1500]}", flush=True)
        return bool(holds)

    def equal(self, what, seen, expected):
        return self.check(what, seen == expected, f"expected {expected!r}, seen {seen!r}")


def run(scenario, body):
    """Runs a scenario; an exception is a failed check, not a lost count."""
    report = Report(scenario)
    print(f"{scenario}", flush=True)
    try:
        body(report)
    except Exception as problem:  # noqa: BLE001 - the scenario's own end
        traceback.print_exc(file=sys.stdout)
        report.check("the scenario runs to its end", False, repr(problem))
    seconds = time.monotonic() - report._begun
    print(f"{scenario}: {report.passed} checks held, {report.failed} did not, {seconds:.0f} s", flush=True)
    counts = sys.argv[1] if len(sys.argv) > 1 else None
    if counts:
        with open(counts, "a") as file:
            file.write(f"{report.passed} {report.failed}\n")
    sys.exit(1 if report.failed or not report.passed else 0)
