"""A page demands a security key (RFC 9470): asked for with `acr_values` at `oidc-provider`, in Chromium, met and not met."""

import pathlib
import shutil
import sys
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, emr, process, provider, report, tls, trail  # noqa: E402
from kit.browser import browse  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST = "pacs.clinic.test"
ACR_KEY = "urn:example:acr:key"
DEMAND = 'step_up = { max_age = "5m", factor = "phishing-resistant" }'


def body(it):
    with process.Stage(cache.work("step-up")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        policies = demanding(stage)
        gateway = Gateway(stage, authority, policies=policies)
        origin = gateway.origin(HOST)
        orthanc = emr.Orthanc(stage).start()
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin]).start()
        pacs = orthanc.behind(HOST, stage.directory)
        # Not pushed: what is asked for is read in the browser's address.
        settings = {**issuer.issuer(), "par": "off"}
        # With a key the provider states another class than with a code.
        settings["mfa"] = {"amr": [["pwd", "otp"], ["pwd", "hwk"]], "require": "any"}
        gateway.configure(settings, [pacs])
        code, text = gateway.check()
        it.check("`check` warns that nothing proves what the page demands", code == 0 and "phishing-resistant" in text, text)
        settings["mfa"]["phishing_resistant_acr"] = [ACR_KEY]
        gateway.configure(settings, [pacs])
        code, text = gateway.check()
        it.check("and is content once something does", code == 0 and "phishing-resistant" not in text, text)
        gateway.start()
        seen = browse(stage, authority, origin, "step_up")
        it.check("the browser came to its end", seen.get("end"), list(seen))
        what_was_seen(it, seen, origin)
        what_the_trail_says(it, gateway.trail())
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        code, text = gateway.verify()
        it.check("`audit verify` is green", code == 0, text)


def demanding(stage):
    policies = stage.directory / "policies"
    shutil.copytree(REPOSITORY / "policies", policies)
    profile = policies / "emr" / "orthanc.toml"
    text = profile.read_text()
    profile.write_text(text.replace('id = "explorer"\n', f'id = "explorer"\n{DEMAND}\n', 1))
    return policies


def what_was_seen(it, seen, origin):
    script = seen.get("a script is told", {})
    challenge = script.get("challenge") or ""
    it.equal("a script gets 401", script.get("status"), 401)
    it.check("with the challenge of RFC 9470", 'error="insufficient_user_authentication"' in challenge and f'acr_values="{ACR_KEY}"' in challenge and 'max_age="300"' in challenge, challenge)
    it.check("and a place to go", script.get("problem", {}).get("step_up", "").startswith("/.chartgate/login?return_to=%2Fsystem&step_up=1"), script)
    asked = parse_qs(urlsplit(seen.get("the provider is asked", "")).query)
    it.equal("the provider is asked for the key", asked.get("acr_values"), [ACR_KEY])
    it.equal("and for a sign-in of the last minutes", (asked.get("max_age"), asked.get("prompt")), (["300"], ["login"]))
    it.equal("who has the key arrives at the page", seen.get("arrived with the key"), f"{origin}/app/explorer.html")
    cookies = seen.get("cookies", [])
    it.check("with two small cookies", len(cookies) == 2 and sum(c["size"] for c in cookies) <= 160, cookies)
    told = seen.get("refused without the key", "")
    it.check("who has none is told what was asked for and what lacks", "cannot be phished" in told and "did not confirm it" in told, told)
    it.equal("and goes on with everything else", seen.get("the session goes on"), 200)


def what_the_trail_says(it, records):
    stronger = [r for r in records if trail.first(r, "event") == "step_up"]
    it.check("the stronger sign-in is on record with what proved it", len(stronger) == 1 and ACR_KEY in str(stronger[0]), stronger)
    refused = [r for r in records if trail.first(r, "refusal") == "CG-2020"]
    it.check("the refusal too, with what was demanded and what lacked", len(refused) == 1 and "factor=phishing-resistant" in str(refused[0]) and "nurse.lee" in str(refused[0]), refused)
    it.check("nobody was sent round", not [r for r in records if trail.first(r, "refusal") == "CG-2021"])


report.run("A page that demands a security key", body)
