"""The gateway proves itself to `oidc-provider` by a client certificate (RFC 8705), one that a CA vouches for and one that
the provider knows: in Chromium, with the wrong one, and with none.
"""

import base64
import pathlib
import ssl
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from kit import browser, cache, emr, login, net, process, provider, report, tls, trail  # noqa: E402
from kit.gateway import Gateway, REPOSITORY  # noqa: E402

HOST, NAME = "pacs.clinic.test", "gateway.clinic.test"


def body(it):
    with process.Stage(cache.work("certificates")) as stage:
        site = Site(stage)
        of_a_ca(it, site)
        known_by_itself(it, site)
        records = site.gateway.trail()
        codes = [code for code in (trail.first(r, "refusal") for r in trail.select(records, phase="refuse")) if code != "CG-2001"]
        it.equal("the refused sign-ins are on record", codes, ["CG-2004", "CG-2006", "CG-2004", "CG-2004"])
        code, text = site.gateway.verify()
        it.check("`audit verify` is green", code == 0, text)


class Site:
    def __init__(self, stage):
        self.stage = stage
        self.authority = tls.Authority(stage.directory / "tls")
        self.gateway = Gateway(stage, self.authority)
        self.origin = self.gateway.origin(HOST)
        self.orthanc = emr.Orthanc(stage).start()
        self.person = login.people()["physician"]

    def issuer(self):
        return provider.OidcProvider(self.stage, cache.CACHE, self.authority, [self.origin])

    def serve(self, issuer, **proof):
        """Returns what reads the log from here on."""
        self.gateway.configure({**issuer.issuer(), **proof}, [self.orthanc.behind(HOST, REPOSITORY)])
        begun = self.gateway.process.log.stat().st_size if self.gateway.process else 0
        self.gateway.start()
        return lambda: self.gateway.process.text()[begun:]

    def sign_in(self, issuer):
        return login.sign_in(net.browser(self.authority.ca), f"{self.origin}/dicom-web/studies", self.person, issuer.url)


def certificate(pair):
    return {"client_auth": "tls_client_auth", "client_certificate_file": str(pair[0]), "client_key_file": str(pair[1])}


def of_a_ca(it, site):
    """The provider takes certificates at a port of its own, as most do: who works at a browser is asked for none."""
    clients, strangers = (tls.Authority(site.stage.directory / name) for name in ("clients", "strangers"))
    subject = f"CN={NAME},O=Clinic"
    issuer = site.issuer().by_certificate(clients, net.free_port(), token_endpoint_auth_method="tls_client_auth", tls_client_auth_subject_dn=subject).start()
    works(it, site, issuer, "a CA's certificate", {**certificate(clients.client(NAME)), "par": "required"})
    # Where the request must be pushed, nobody types a password in vain.
    other = {**certificate(clients.client("other.clinic.test")), "par": "required"}
    refused(it, site, issuer, "another's certificate of that CA", other, (403, "CG-2004"), "the pushed authorization request: invalid_client")
    strange = certificate(strangers.client(NAME))
    refused(it, site, issuer, "another CA's certificate", strange, (503, "CG-2006"), f"perhaps for the client certificate {strange['client_certificate_file']}")
    refused(it, site, issuer, "no certificate", {}, (403, "CG-2004"), "shows as its client (`client_secret_basic`): invalid_client")
    issuer.process.stop()


def known_by_itself(it, site):
    """The provider asks everyone for a certificate at its only port, and knows the gateway's by its key."""
    ours, other = (tls.self_signed(site.stage.directory / "tls", name) for name in (NAME, "other.clinic.test"))
    known = {"kty": "EC", "crv": "P-256", **coordinates(ours[1]), "use": "sig", "kid": "gateway", "x5c": [encoded(ours[0])]}
    issuer = site.issuer().by_certificate(site.authority, token_endpoint_auth_method="self_signed_tls_client_auth", jwks={"keys": [known]}).start()
    works(it, site, issuer, "a self-signed certificate", certificate(ours))
    refused(it, site, issuer, "another self-signed certificate", certificate(other), (403, "CG-2004"), "shows as its client (`tls_client_auth`): invalid_client")
    issuer.process.stop()


def coordinates(key):
    """The public key's, of an uncompressed point of P-256, which ends its encoding."""
    point = process.output(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"])[-64:]
    return {name: base64.urlsafe_b64encode(half).rstrip(b"=").decode() for name, half in (("x", point[:32]), ("y", point[32:]))}


def encoded(cert):
    return base64.b64encode(ssl.PEM_cert_to_DER_cert(cert.read_text())).decode()


def works(it, site, issuer, what, proof):
    log = site.serve(issuer, **proof)
    code, text = site.gateway.check()
    of_issuer = [line for line in text.splitlines() if "(identity.issuer" in line and ".ca)" not in line and "certificate_file)" not in line]
    it.check(f"{what}: `check` finds nothing that the provider cannot do", code == 0 and not of_issuer, text)
    page = site.sign_in(issuer)
    it.check(f"{what}: the physician is in", page.status_code == 200, (page.status_code, page.text[:300], log(), issuer.process.text()[-800:]))
    browser.signs_in(it, site.stage, site.authority, site.origin, site.person, "/system", issuer.url)
    it.check(f"{what}: nothing had to be tried twice", '"WARN"' not in log(), log())
    it.check(f"{what}: the gateway ends in good order", site.gateway.stop() == 0, log())


def refused(it, site, issuer, what, proof, refusal, why):
    log = site.serve(issuer, **proof)
    page = site.sign_in(issuer)
    it.equal(f"{what}: refused", (page.status_code, page.headers.get("x-chartgate-refusal")), refusal)
    said = [line for line in log().splitlines() if f'"{refusal[1]}"' in line]
    it.check(f"{what}: the log says why", len(said) == 1 and why in said[0], (log(), issuer.process.text()[-600:]))
    it.check(f"{what}: the gateway ends in good order", site.gateway.stop() == 0, log())


report.run("Client certificates", body)
