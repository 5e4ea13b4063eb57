"""A session is bound to its device in a real browser that knows Device Bound Session Credentials: it registers a key,
renews its cookie by itself, and a copy of its cookies is worth nothing elsewhere once the proof is over.

Chromium on Linux has no key store for it: keys are held in software, by a switch for tests.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, net, process, report, trail  # noqa: E402
from kit.clinic import at_the_workstation, facts_of, records_of  # noqa: E402
from kit.gateway import binary  # noqa: E402

LIFETIME = 15
# Without an origin trial, without the quota of signatures (a proof is good for seconds here), and keys in software.
FEATURES = ",".join([
    "DeviceBoundSessions:RequireOriginTrialTokens/false/RefreshQuota/false",
    "EnableBoundSessionCredentialsSoftwareKeysForManualTesting",
])


def what_the_browser_saw(it, seen):
    it.check("the browser came to its end", seen.get("end") is True, {k: seen[k] for k in seen if "failure" in k} or seen)
    proof = [cookie for cookie in seen.get("cookies", []) if cookie["name"] == "__Host-chartgate-device"]
    small = proof and proof[0]["size"] < 100 and proof[0]["httpOnly"] and proof[0]["secure"] and proof[0]["sameSite"] == "Lax"
    it.check("the browser registers a key and keeps a small cookie that no script reads", small, seen.get("cookies"))
    it.check("its user works", "/chart" in seen.get("works", {}).get("url", ""), seen.get("works"))
    it.equal("a copy of all cookies works while its proof is good", seen.get("a copy with the proof", {}).get("status"), 200)
    for copy in ("a copy without it", "a copy that is too old"):
        it.equal(f"{copy} is refused", seen.get(copy, {}).get("refusal"), "CG-2027")
    it.check("the proof was over in the browser, too", seen.get("gone") is True, seen.get("gone"))
    still = seen.get("still at work", {})
    it.check("which makes another, and its user goes on", still.get("url", "").endswith("/chart") and still.get("renewed") is True, still)
    it.equal("so do scripts", seen.get("scripts"), [200, 200, 200])
    for step in ("confirmed", "after confirming"):
        shown = seen.get(step, {})
        it.check(f"{step}: on the page that was asked for", shown.get("url", "").endswith("/chart"), shown)
    lost = seen.get("without the cookie", {})
    it.check("a cookie that is lost is made anew", lost.get("url", "").endswith("/chart/notes") and lost.get("renewed") is True, lost)
    following = seen.get("the next one", {})
    it.check("the next one's session gets a key of its own", following.get("registered") is True and "/training" in following.get("url", ""), following)


def what_the_trail_says(it, facts):
    records = records_of(facts)
    registered = trail.select(records, event="device_key_registered")
    names = [trail.first(record, "algorithm") for record in registered]
    it.equal("two keys were registered, by ES256", names, ["ES256", "ES256"])
    sessions = {trail.first(record, "session") for record in registered}
    it.equal("each for a session of its own", len(sessions), 2)
    steps = trail.select(records, event="step_up")
    it.check("the fresh sign-in carried the key over", len(steps) == 1 and "rebound" not in str(steps[0]), trail.brief(steps))
    refused = trail.select(records, refusal="CG-2027")
    paths = [trail.first(record, "path") for record in refused]
    it.equal("the copies are on record, and nothing else", paths, ["/chart", "/chart"])
    it.check("under the user whose session it was", all("okafor" in str(record) for record in refused), trail.brief(refused))


def body(it):
    with process.Stage(cache.work("device_key")) as stage:
        clinic = stage.start(
            "clinic",
            [binary(), "demo", "--port", "0", "--json", "--device-proof-lifetime", f"{LIFETIME}s", "--data-dir", stage.directory / "clinic"],
        )
        net.await_true("the sample clinic", lambda: facts_of(clinic) is not None, 60, 0.1)
        facts = facts_of(clinic)
        seen = at_the_workstation(stage, facts, "device_key", FEATURES=FEATURES, LIFETIME=str(LIFETIME))
        what_the_browser_saw(it, seen)
        what_the_trail_says(it, facts)
        it.check("the clinic ends in good order", clinic.stop() == 0, clinic.text()[-800:])


report.run("A session is bound to its device", body)
