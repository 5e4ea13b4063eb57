"""A screen locks in a real browser: what was typed stays, its user goes on typing, a note that came too late is sent at
its author's word, and whoever takes the seat next starts clean.

The sample clinic, with screens that lock after a few seconds.
"""

import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, report, trail  # noqa: E402
from kit.clinic import at_the_workstation, facts_of  # noqa: E402
from kit.gateway import binary  # noqa: E402

AFTER = 10


def what_the_browser_saw(it, seen):
    it.check("the browser came to its end", seen.get("end") is True, {k: seen[k] for k in seen if "failure" in k} or seen)
    name = seen.get("patient", "?")
    locked = seen.get("locked", {})
    it.check("the screen locks by itself, on the page it was", "/chart/notes" in locked.get("url", ""), locked)
    it.check("nothing of the chart can be read", name not in locked.get("text", name), locked)
    it.equal("not even in the title", locked.get("title"), "The screen is locked")
    escaped = seen.get("escaped", {})
    it.check("Escape does not lift it", "The screen is locked" in escaped.get("text", "") and name not in escaped.get("text", name), escaped)
    it.equal("keys do not reach what was typed", escaped.get("value"), "First half,")
    asked = seen.get("asked while locked", {})
    it.equal("a script of the page is told that the screen is locked", (asked.get("status"), asked.get("marker")), (401, "locked"))
    unlocked = seen.get("unlocked", {})
    it.equal("its user finds what was typed", unlocked.get("value"), "First half,")
    it.check("the page has its title back", "Notes" in str(unlocked.get("title")), unlocked)
    it.check("the window of the unlock has done its work", unlocked.get("popup") == "closed" or "/.chartgate/unlocked" in str(unlocked.get("popup")), unlocked)
    typed = seen.get("typed on", {})
    it.equal("somebody who types is not locked out", (typed.get("covered"), typed.get("value")), (0, "First half, second half."))
    it.check("the note is saved as one", "First half, second half." in seen.get("saved", {}).get("text", ""), seen.get("saved"))
    it.check("a form that meets the lock is kept, and the page says so", "It is kept for you until" in seen.get("kept", {}).get("text", ""), seen.get("kept"))
    offered = seen.get("offered", {})
    it.equal("its author is shown it", offered.get("value"), "A note that came too late.")
    sent = seen.get("sent", {})
    it.check("at their word it reaches the EMR", "A note that came too late." in sent.get("text", "") and sent.get("url", "").endswith("/chart/notes"), sent)
    left = seen.get("left locked", {})
    it.check("a screen that is locked on purpose locks every tab", name not in left.get("text", name) and "The screen is locked" in left.get("text", ""), left)
    nurse = seen.get("nurse", {})
    it.check("the next one finds no patient", name not in nurse.get("text", name), nurse)
    it.check("and no EMR session", nurse.get("url", "").endswith("/login"), nurse)
    after = seen.get("left after", {})
    it.check("the tab that was left open shows nothing of the chart", name not in after.get("text", name) and "/chart" not in after.get("url", "/chart"), after)


def what_the_trail_says(it, facts):
    done = subprocess.run([binary(), "audit", "show", "--config", facts["config"], "--json"], capture_output=True, text=True)
    records = [json.loads(line) for line in done.stdout.splitlines() if line.strip()]
    it.check("the trail is read", done.returncode == 0 and records, done.stderr[-800:])
    events = [trail.first(r, "event") for r in records]
    it.check("locks and unlocks are on record", events.count("screen_locked") >= 3 and events.count("screen_unlocked") >= 2, events)
    steps = [trail.first(r, "step") for r in records if trail.first(r, "event") == "post_held"]
    it.equal("and every step of the form", steps, ["held", "offered", "sent"])
    it.check("but not what it says", "came too late" not in done.stdout and "First half" not in done.stdout)


def body(it):
    with process.Stage(cache.work("lock")) as stage:
        clinic = stage.start(
            "clinic",
            [binary(), "demo", "--port", "0", "--json", "--lock-after", f"{AFTER}s", "--data-dir", stage.directory / "clinic"],
        )
        net.await_true("the sample clinic", lambda: facts_of(clinic) is not None, 60, 0.1)
        facts = facts_of(clinic)
        seen = at_the_workstation(stage, facts, "lock", AFTER=str(AFTER))
        what_the_browser_saw(it, seen)
        what_the_trail_says(it, facts)
        it.check("the clinic ends in good order", clinic.stop() == 0, clinic.text()[-800:])


report.run("A screen locks in a browser", body)
