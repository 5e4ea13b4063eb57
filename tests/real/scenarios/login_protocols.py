"""A sign-in by `private_key_jwt` with a pushed authorization request, as the certified provider checks them."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import browser, cache, emr, login, net, process, provider, report, tls  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST = "pacs.clinic.test"


def body(it):
    with process.Stage(cache.work("protocols")) as stage:
        authority = tls.Authority(stage.directory / "tls")
        gateway = Gateway(stage, authority)
        origin = gateway.origin(HOST)
        orthanc = emr.Orthanc(stage).start()
        issuer = provider.OidcProvider(stage, cache.CACHE, authority, [origin], by_key=True)
        keys = []
        for algorithm, options in (
            ("ES256", ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
            ("PS256", ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
        ):
            key = stage.directory / f"{algorithm}.pem"
            subprocess.run(["openssl", "genpkey", *options, "-out", key], check=True, capture_output=True)
            key.chmod(0o600)
            # A provider that knows no key yet: one that does goes on with it for as long as the answer may be kept.
            issuer.start()
            signs_in(it, stage, gateway, (authority, origin), issuer, orthanc, [key])
            keys.insert(0, key)
            if len(keys) == 1:
                issuer.process.stop()
        new = keys.pop()
        signs_in(it, stage, gateway, (authority, origin), issuer, orthanc, [new, *keys])
        issuer.process.stop()
        code, text = gateway.verify()
        it.check("`audit verify` is green", code == 0, text)


def signs_in(it, stage, gateway, place, issuer, orthanc, keys):
    """The newest key first; a second one is that which the provider still has."""
    authority, origin = place
    what = " over ".join(key.stem for key in keys)
    ours = {
        **issuer.issuer(),
        "client_auth": "private_key_jwt",
        "client_key_file": str(keys[0]),
        "client_key_algorithm": "PS256",
        "par": "required",
    }
    # The gateway has one key for RSA only to name an algorithm of.
    if all(key.stem == "ES256" for key in keys):
        del ours["client_key_algorithm"]
    if keys[1:]:
        ours["previous_client_key_file"] = str(keys[1])
    gateway.configure(ours, [orthanc.behind(HOST, REPOSITORY)])
    gateway.start()
    code, text = gateway.check()
    it.check(f"{what}: `check` finds nothing that the provider cannot do", code == 0, text)
    session = net.browser(authority.ca)
    published = session.get(f"{origin}/.chartgate/client-jwks.json?issuer=hospital").json()["keys"]
    shown = len(published) == len(keys) and not any("d" in key for key in published)
    it.check(f"{what}: what is public of the keys is published, and nothing else", shown, published)
    sent = session.get(f"{origin}/.chartgate/login", headers=net.NAVIGATION, allow_redirects=False)
    address = sent.headers.get("Location", "")
    it.check(f"{what}: the browser carries a reference to the pushed request and nothing of it", "request_uri=" in address and "state=" not in address and "nonce=" not in address, address)
    page = login.sign_in(net.browser(authority.ca), f"{origin}/dicom-web/studies", login.people()["physician"], issuer.url)
    it.check(f"{what}: the physician is in", page.status_code == 200, (page.status_code, page.text[:300], gateway.process.text()[-1200:]))
    if keys[1:]:
        browser.signs_in(it, stage, authority, origin, login.people()["physician"], "/system", issuer.url)
    it.check(f"{what}: the gateway ends in good order", gateway.stop() == 0, gateway.process.text()[-800:])


report.run("Sign-in by private_key_jwt and PAR", body)
