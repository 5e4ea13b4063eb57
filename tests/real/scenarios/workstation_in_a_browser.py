"""One workstation, one person after the other, and the "back" button between them: in a real browser that keeps whole
pages for it, nothing of the one before comes up again, at the gateway or at the EMR.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, report, trail  # noqa: E402
from kit.clinic import at_the_workstation, facts_of, records_of  # noqa: E402
from kit.gateway import binary  # noqa: E402


def nothing_of(it, what, pages, *names):
    it.check(f"{what}: the browser went back", len(pages) > 3, pages)
    shown = [page for page in pages for name in names if name in page["text"] or name in page["title"]]
    it.equal(f"{what}: no page shows the one before or their patient", shown, [])


def what_the_browser_saw(it, seen):
    it.check("the browser came to its end", seen.get("end") is True, {k: seen[k] for k in seen if "failure" in k} or seen)
    patient, own = seen.get("patient", "?"), seen.get("own patient", "?")
    works = seen.get("works", {})
    it.check("the first one works on a chart", patient in works.get("text", "") and "Dr. Ngozi Okafor" in works.get("text", ""), works)
    it.check("signing out says so", "/.chartgate/signed-out" in seen.get("signed out", {}).get("url", ""), seen.get("signed out"))
    nothing_of(it, "back after signing out", seen.get("back after signing out", []), patient)
    arrives = seen.get("the next one arrives", {})
    it.check("the next one finds no EMR session", arrives.get("url", "").endswith("/login"), arrives)
    looks = seen.get("the next one looks for a chart", {})
    it.check("and no chart that is still open", patient not in looks.get("text", patient), looks)
    switched = seen.get("after switching", {})
    it.check("whoever takes over finds nothing of it", own not in switched.get("text", own) and "/chart" not in switched.get("url", "/chart"), switched)
    nothing_of(it, "back after switching", seen.get("back after switching", []), own)


def what_the_trail_says(it, facts):
    records = records_of(facts)
    events = [trail.first(record, "event") for record in records]
    it.check("sign-ins and the sign-out are on record", events.count("login") == 3 and events.count("logout") >= 1, events)
    causes = [trail.first(record, "cause") for record in records if trail.first(record, "event") == "session_ended"]
    it.check("and that a session was switched", "switched" in causes, causes)


def body(it):
    with process.Stage(cache.work("workstation")) as stage:
        clinic = stage.start("clinic", [binary(), "demo", "--port", "0", "--json", "--data-dir", stage.directory / "clinic"])
        net.await_true("the sample clinic", lambda: facts_of(clinic) is not None, 60, 0.1)
        facts = facts_of(clinic)
        what_the_browser_saw(it, at_the_workstation(stage, facts, "workstation"))
        what_the_trail_says(it, facts)
        it.check("the clinic ends in good order", clinic.stop() == 0, clinic.text()[-800:])


report.run("One workstation, one person after the other", body)
