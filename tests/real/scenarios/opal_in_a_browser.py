"""A physician works in Opal through the gateway, in a real browser, signed in at `oidc-provider`.

Password and TOTP, the page asked for, Opal's own login, a chart, a new diagnosis, a refused administration page,
sign-out everywhere; a user with one factor is refused. The trail then names who did what to which patient.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import requests  # noqa: E402

from kit import cache, emr, process, provider, report, tls, trail  # noqa: E402
from kit.browser import browse  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST = "opal.clinic.test"
PATIENT = "3"


def body(it):
    with process.Stage(cache.work("opal")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        origin = gateway.origin(HOST)
        opal = emr.Opal(stage, cache.CACHE, HOST).start()
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin]).start()
        gateway.configure(
            issuer.issuer(),
            [
                {
                    "name": "opal",
                    "hosts": [HOST],
                    "profile": str(REPOSITORY / "policies" / "emr" / "opal.toml"),
                    "error_pages": "hide",
                    "backend": {"url": opal.url, "protocol": "http1", "host": "public"},
                }
            ],
        )
        code, text = gateway.check()
        it.check("`check` finds nothing wrong", code == 0, text)
        gateway.start()

        seen = browse(stage, authority, origin, "clinician")
        what_the_browser_saw(it, seen, origin, issuer.url)
        it.check("the provider was told over the back channel, or ended the session itself", "server error" not in issuer.process.text(), issuer.process.text()[-800:])
        emr_session_is_over(it, opal, seen)

        records = gateway.trail()
        what_the_trail_says(it, records)
        only_asked_for(it, gateway)
        lists_are_on_record(it, gateway, seen, records)
        code, text = gateway.verify()
        it.check("`audit verify` is green on the running gateway's trail", code == 0, text)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        code, text = gateway.verify()
        it.check("`audit verify` is green after the stop", code == 0, text)
        secrets_stay_secret(it, gateway, seen)


def what_the_browser_saw(it, seen, origin, issuer):
    it.check("the browser came to its end", seen.get("end") is True, {k: seen[k] for k in ("failure", "failure at") if k in seen} or seen)
    it.check("an anonymous navigation is sent to the provider", str(seen.get("sent to the provider", "")).startswith(issuer), seen.get("sent to the provider"))
    landed = seen.get("landed", {})
    # Opal sends the browser on to its own login at once; what it was asked for stays in `next`.
    it.check("the browser lands where it wanted to go", "from%3Dward%2520list%26tab%3D2" in landed.get("url", "") or landed.get("url") == f"{origin}/?from=ward%20list&tab=2", landed)
    it.check("over TLS that the browser trusts", landed.get("security") is True, landed)
    it.check("Opal shows its own login form", "/accounts/login/" in str(seen.get("opal asks for its own login")), seen.get("opal asks for its own login"))
    it.equal("after its own login Opal opens the page asked for", seen.get("opal is open"), f"{origin}/?from=ward%20list&tab=2#/")
    chart = seen.get("chart answered", {})
    it.equal("the chart is answered", chart.get("status"), 200)
    it.check("a chart is not to be stored by the browser", "no-store" in str(chart.get("cache")), chart)
    it.check("the chart shows the patient", "MRN000003" in str(seen.get("chart shows")), seen.get("chart shows"))
    it.equal("the diagnosis is written", seen.get("diagnosis answered"), 201)
    it.check("the chart shows the new entry", "Sepsis" in str(seen.get("chart shows the entry")), seen.get("chart shows the entry"))
    it.check("Opal keeps the new entry", "Sepsis" in seen.get("chart keeps the entry", []), seen.get("chart keeps the entry"))
    guessed = seen.get("guessed episode answered", {})
    it.check("an episode of a chart that was not opened is refused", guessed.get("status") == 409 and "CG-3004" in str(guessed.get("body")), guessed)
    moved = seen.get("moved entry answered", {})
    it.check("an entry is not moved to another patient", moved.get("status") == 400 and "CG-1010" in str(moved.get("body")), moved)
    changed = seen.get("changed entry answered", {})
    it.equal("the entry that was just written is changed", changed.get("status"), 202)
    it.equal("the guided entry is written", seen.get("guided entry answered", {}).get("status"), 200)
    page = seen.get("administration page", {})
    it.equal("the administration page is refused", page.get("status"), 403)
    it.check("the page says why and with which code", "CG-3001" in str(page.get("text")), page)
    it.check("the page names its language", bool(page.get("html")), page)
    api = seen.get("administration by fetch", {})
    it.equal("by fetch it is refused too", api.get("status"), 403)
    it.check("as a problem document", "application/problem+json" in str(api.get("type")) and "CG-3001" in str(api.get("body")), api)
    # Opal's script remembers the list that was shown last in a cookie of its own making; no answer sets it.
    cookies = [c for c in seen.get("cookies", []) if c["name"] != "opal.previousPatientList"]
    it.check("every cookie of the EMR's host is Secure", cookies and all(c["secure"] for c in cookies), cookies)
    # One for the session, one that ties a sign-in to its browser.
    own = [c for c in cookies if "chartgate" in c["name"]]
    kept = all(c["name"].startswith("__Host-") and c["httpOnly"] and c["sameSite"] == "Lax" and c["path"] == "/" for c in own)
    it.check("the gateway's cookies are HttpOnly, Lax, host-only", own and kept, cookies)
    signed_out = seen.get("signed out at", {})
    it.check("sign-out ends at the gateway's own page", signed_out.get("url", "").startswith(f"{origin}/.chartgate/signed-out"), signed_out)
    it.check("no session cookie is left", not {"sessionid", "__Host-chartgate"} & set(seen.get("cookies after", ["sessionid"])), seen.get("cookies after"))
    after = seen.get("after sign-out", {})
    it.check("the provider's session is over too: it asks for the password again", after.get("url", "").startswith(issuer), after)
    one = seen.get("one factor", {})
    it.check("one factor is refused, with its code", "CG-2003" in str(one.get("text")), one)
    later = seen.get("one factor later", {})
    it.check("and opens nothing later: it is back to signing in", "/api/" not in later.get("url", "/api/"), later)


def emr_session_is_over(it, opal, seen):
    session = seen.get("emr session")
    if not it.check("the EMR session is known", bool(session), seen.get("cookies")):
        return
    answer = requests.get(f"{opal.url}/api/v0.1/patient/{PATIENT}/", cookies={"sessionid": session}, timeout=10)
    it.check("Opal itself has ended the session", answer.status_code in (401, 403), answer.status_code)


def what_the_trail_says(it, records):
    acts = [r for r in records if trail.first(r, "phase") == "admit"]
    by = {"subject": "dr.adams"}
    read = [r for r in trail.select(acts, action="Read", **by) if PATIENT in trail.patients([r])]
    it.check("the trail has dr.adams reading patient 3", bool(read), trail.brief(acts))
    wrote = [r for r in trail.select(acts, **by) if trail.first(r, "path") == "/api/v0.1/diagnosis/" and trail.first(r, "method") == "POST"]
    it.check("the trail has dr.adams writing the diagnosis", len(wrote) == 1 and trail.first(wrote[0], "action") in ("Create", "Update"), trail.brief(wrote or acts))
    # Opal's own request names the episode only; whose it is the gateway learnt from the chart.
    it.equal("and for which patient, whom the page's own request does not name", trail.patients(wrote), {PATIENT})
    it.check("and for which episode", "3" in [str(v) for r in wrote for fields in trail.values(r, "fields") for v in fields.values()], wrote)
    guided = [r for r in trail.select(acts, action="Update", **by) if trail.first(r, "path") == "/pathway/detail/add_patient/3/3"]
    it.check("the trail has dr.adams writing the allergy of patient 3", len(guided) == 1 and trail.patients(guided) == {PATIENT}, guided or trail.brief(acts))
    changed = [r for r in trail.select(acts, action="Update", **by) if trail.first(r, "method") == "PUT"]
    it.check("the trail has dr.adams changing it, of patient 3", len(changed) == 1 and trail.patients(changed) == {PATIENT}, changed or trail.brief(acts))
    not_theirs = {trail.first(r, "refusal") for r in records if trail.first(r, "phase") == "refuse" and "/api/v0.1/diagnosis/" in str(trail.first(r, "path"))}
    it.check("the trail has both refused writes", {"CG-3004", "CG-1010"} <= not_theirs, trail.brief(records))
    refused = trail.select(records, phase="refuse", refusal="CG-3001", action="Administer", **by)
    it.check("the trail has the refused administration", len(refused) >= 2, trail.brief(records))
    events = {trail.first(r, "event") for r in trail.select(records, phase="event")}
    it.check("the trail has sign-in and sign-out", {"started", "login", "logout"} <= events, events)
    denied = [r for r in records if "CG-2003" in list(trail.values(r, "refusal"))]
    it.check("the trail has the refused sign-in", bool(denied), trail.brief(records))
    it.check("and who it was", any("clerk.kim" in json.dumps(r) for r in denied), denied)
    it.check("every act names its user", acts and all(trail.first(r, "subject") == "dr.adams" for r in acts), trail.brief(acts))
    ended = {trail.first(r, "of") for r in trail.select(records, phase="outcome")}
    missing = [r for r in acts if r["entry"]["id"] not in ended]
    it.check("every act has its outcome", acts and not missing, trail.brief(missing))


def only_asked_for(it, gateway):
    chosen = gateway.trail("--patient", PATIENT)
    kept = [r for r in chosen if trail.first(r, "phase") in ("admit", "refuse")]
    it.check("`--patient` keeps that patient only", kept and trail.patients(kept) == {PATIENT}, trail.brief(kept))
    chosen = [r for r in gateway.trail("--user", "dr.adams") if trail.first(r, "phase") in ("admit", "refuse")]
    it.check("`--user` keeps that user only", chosen and all(trail.first(r, "subject") == "dr.adams" for r in chosen), trail.brief(chosen))
    reads = [r for r in gateway.trail() if trail.first(r, "event") == "audit_read"]
    it.check("each reading of the trail is itself on record", len(reads) >= 3, trail.brief(reads))


def lists_are_on_record(it, gateway, seen, records):
    acts = trail.select(records, phase="admit", subject="dr.adams")
    ended = {trail.first(r, "of"): r["entry"]["outcome"] for r in trail.select(records, phase="outcome")}

    def listed(path):
        return [[p["id"] for p in ended[r["entry"]["id"]].get("appeared", [])] for r in acts if trail.first(r, "path") == path]

    shown = seen.get("list answered", {})
    expected = list(dict.fromkeys(shown.get("patients", [])))
    it.check("Opal's own page shows a list", len(expected) > 10, shown)
    it.equal("every patient of the list is on record, in a list", listed(shown.get("path")), [expected])
    found = seen.get("search answered", [])
    it.check("a search finds patients", bool(found), found)
    it.equal("and they are on record", listed("/search/simple/"), [list(dict.fromkeys(found))])
    never = next((one for one in expected if one not in (PATIENT, str(int(PATIENT) + 1))), None)
    opened = [r for r in acts if never in trail.patients([r])]
    code, text = gateway.run("report", "patient", str(never))
    it.check("whose chart nobody opened is in a list", not opened and code == 0 and "Search in a list" in text, (never, text))


def secrets_stay_secret(it, gateway, seen):
    log = gateway.process.text()
    secrets = ["Legacy-pass-1", "Correct-horse-1", provider.CLIENT_SECRET, str(seen.get("emr session")), "MRN000003"]
    it.check("neither secrets nor patient data are in the gateway's log", not [s for s in secrets if s in log], [s for s in secrets if s in log])


report.run("Opal in a browser, signed in at oidc-provider", body)
