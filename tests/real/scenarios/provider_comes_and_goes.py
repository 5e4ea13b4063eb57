"""The identity provider is down when the gateway starts; later it ends a session over the back channel."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import cache, emr, login, net, process, provider, report, tls, trail  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST = "pacs.clinic.test"


def body(it):
    with process.Stage(cache.work("provider")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        origin = gateway.origin(HOST)
        orthanc = emr.Orthanc(stage).start()
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin])
        gateway.configure(issuer.issuer(), [orthanc.behind(HOST, REPOSITORY)])
        code, text = gateway.check()
        it.check("`check` says that the provider is not reachable", code != 0 and issuer.url in text, (code, text))
        code, text = gateway.check("--offline")
        it.check("`check --offline` does not look for it", code == 0, text)

        gateway.start()
        it.check("`serve` starts without its provider", gateway.process.alive(), gateway.process.text()[-800:])
        while_down(it, authority, origin)
        issuer.start()
        session = recovers(it, authority, gateway, issuer, origin)
        if session:
            back_channel(it, session, gateway, issuer, origin)
            goes_on_without(it, session, authority, issuer, origin)
        it.check("the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])
        code, text = gateway.verify()
        it.check("`audit verify` is green", code == 0, text)


def while_down(it, authority, origin):
    page = net.browser(authority.ca).get(f"{origin}/dicom-web/studies", headers=net.NAVIGATION)
    it.check("who wants to sign in is told that the provider does not answer", page.status_code == 503 and "CG-2006" in page.text, (page.status_code, page.url, page.text[:300]))
    it.check("and can quote a request id", re.search(r"[0-9a-f]{8}-?[0-9a-f]{4}", page.text), page.text[:600])


def recovers(it, authority, gateway, issuer, origin):
    def attempt():
        session = net.browser(authority.ca)
        page = login.sign_in(session, f"{origin}/dicom-web/studies", login.people()["physician"], issuer.url)
        return session if page.status_code == 200 else None

    try:
        session = net.await_true("sign-in", attempt, seconds=60, pause=1)
    except (TimeoutError, RuntimeError) as problem:
        it.check("it recovers without a restart once the provider is there", False, (problem, gateway.process.text()[-1500:]))
        return None
    it.check("it recovers without a restart once the provider is there", True)
    return session


def back_channel(it, session, gateway, issuer, origin):
    it.equal("the session works", session.get(f"{origin}/dicom-web/studies", headers=net.FETCH).status_code, 200)
    # The user signs out at the provider, by its own page; the gateway's cookie stays in the browser.
    page = session.get(f"{issuer.url}/session/end", headers=net.NAVIGATION)
    token = re.search(r'name="xsrf" value="([^"]+)"', page.text)
    if not it.check("the provider asks whether to sign out", token, page.text[:400]):
        return
    session.post(f"{issuer.url}/session/end/confirm", data={"xsrf": token.group(1), "logout": "yes"}, headers={"Origin": issuer.url})
    it.check("the provider delivers its logout token", net.await_true("delivery", lambda: "back channel" in issuer.process.text(), 10) and "back channel delivered" in issuer.process.text(), issuer.process.text()[-800:])
    after = session.get(f"{origin}/dicom-web/studies", headers=net.FETCH)
    it.equal("the gateway's session has ended with it", after.status_code, 401)
    ended = [r for r in gateway.trail() if trail.first(r, "event") == "backchannel_logout"]
    it.check("the trail says so, and for whom", len(ended) == 1 and "dr.adams" in str(ended[0]), ended)
    forged = session.post(f"{origin}/.chartgate/backchannel-logout", data={"logout_token": "e30.e30.e30"})
    it.check("a forged logout token is refused", forged.status_code == 400, (forged.status_code, forged.text[:300]))


def goes_on_without(it, session, authority, issuer, origin):
    page = login.sign_in(session, f"{origin}/dicom-web/studies", login.people()["physician"], issuer.url)
    it.equal("the user signs in again", page.status_code, 200)
    issuer.process.stop()
    it.equal("open sessions go on while the provider is down", session.get(f"{origin}/dicom-web/studies", headers=net.FETCH).status_code, 200)
    page = net.browser(authority.ca).get(f"{origin}/dicom-web/studies", headers=net.NAVIGATION, allow_redirects=False)
    it.check("who is not signed in is not let in", page.status_code in (302, 303, 503), page.status_code)


report.run("The identity provider comes and goes", body)
