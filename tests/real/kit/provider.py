"""The identity providers: npm `oidc-provider` and PyPI Canaille, both over TLS of the private CA."""

import json
import os
import subprocess

from . import net

CLIENT_ID = "gateway"
CLIENT_SECRET = "gw-secret-0123456789-0123456789-01"


class OidcProvider:
    """`oidc-provider`: acr and amr in the ID token, back-channel logout."""

    def __init__(self, stage, cache, authority, origins, port=None, by_key=False):
        self._stage, self._cache, self._authority = stage, cache, authority
        self.port = port or net.free_port()
        self.url = f"https://localhost:{self.port}"
        self._clients = [
            {
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "token_endpoint_auth_method": "client_secret_basic",
                "redirect_uris": [f"{origin}/.chartgate/callback" for origin in origins],
                "post_logout_redirect_uris": [f"{origin}/.chartgate/signed-out" for origin in origins],
                "backchannel_logout_uri": f"{origins[0]}/.chartgate/backchannel-logout",
                "backchannel_logout_session_required": True,
            }
        ]
        if by_key:
            ours = self._clients[0]
            del ours["client_secret"]
            ours["token_endpoint_auth_method"] = "private_key_jwt"
            ours["jwks_uri"] = f"{origins[0]}/.chartgate/client-jwks.json?issuer=hospital"
            ours["require_pushed_authorization_requests"] = True
        self._mutual = {}
        self.process = None

    def add_client(self, client):
        self._clients.append(client)

    def may_refresh(self):
        """The client may redeem refresh tokens; without it, it gets none."""
        self._clients[0]["grant_types"] = ["authorization_code", "refresh_token"]

    def by_certificate(self, authority, port=None, **registered):
        """The client shows a certificate (RFC 8705): at `port`, which takes those of `authority` alone, else at the only one."""
        ours = self._clients[0]
        del ours["client_secret"]
        ours.update(registered)
        self._mutual = {"CLIENT_CA": str(authority.ca), **({"MTLS_PORT": str(port)} if port else {})}
        return self

    def start(self):
        environment = {
            **self._mutual,
            "PORT": str(self.port),
            "TLS_CERT": str(self._authority.cert),
            "TLS_KEY": str(self._authority.key),
            "NODE_EXTRA_CA_CERTS": str(self._authority.ca),
            "CLIENTS": json.dumps(self._clients),
        }
        self.process = self._stage.start("oidc-provider", ["node", self._cache / "node" / "op.mjs"], environment)
        net.await_port(self.port, 30, self.process.alive)
        return self

    def issuer(self):
        """The `[[identity.issuer]]` entry for it."""
        return {
            "name": "hospital",
            "url": self.url,
            "ca": str(self._authority.ca),
            "client_id": CLIENT_ID,
            "scopes": ["profile", "groups"],
            "algorithms": ["RS256"],
            "request_acr": ["urn:example:acr:mfa"],
            "name_claim": "/sub",
            "roles_claim": "/groups",
            "mfa": {"acr": ["urn:example:acr:mfa"], "amr": [["pwd", "otp"]], "require": "all"},
        }


class Canaille:
    """Canaille: no acr, `amr` by RFC 8176, `auth_time` with a fraction. Who signs in first enrols a TOTP secret."""

    def __init__(self, stage, cache, authority, origins, members, callback="callback"):
        self._stage, self._authority, self._origins, self._members = stage, authority, origins, members
        self._callback = callback
        self._bin = cache / "canaille" / "bin" / "canaille"
        self._directory = stage.directory / "canaille"
        self.port = net.free_port()
        self.url = f"https://localhost:{self.port}"
        self.process = None

    def start(self, factors=("password", "otp")):
        """Starts it. Called again with other factors, it keeps its accounts and keys."""
        fresh = not self._directory.exists()
        self._directory.mkdir(exist_ok=True)
        if fresh:
            self._call(self._configure(factors, key=None), "jwk", "create", "rsa", into="key.jwk")
        environment = self._configure(factors, key=json.loads((self._directory / "key.jwk").read_text()))
        if fresh:
            self._populate(environment)
        if self.process:
            self.process.stop(seconds=3)
        self.process = self._stage.start(
            "canaille",
            [self._bin, "run", "--bind", f"127.0.0.1:{self.port}", "--certfile", self._authority.cert, "--keyfile", self._authority.key],
            environment,
            cwd=self._directory,
        )
        net.await_port(self.port, 60, self.process.alive)
        return self

    def _configure(self, factors, key):
        # The file is TOML; JSON strings and arrays are valid TOML values.
        jwk = "" if key is None else f"ACTIVE_JWKS = [{{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in key.items())} }}]\n"
        path = self._directory / "canaille.toml"
        path.write_text(
            'SECRET_KEY = "only-for-a-test-000000000000000000000"\n'
            f'SERVER_NAME = "localhost:{self.port}"\nPREFERRED_URL_SCHEME = "https"\n'
            f'[CANAILLE]\nNAME = "Hospital"\nDATABASE = "sql"\nAUTHENTICATION_FACTORS = {json.dumps(list(factors))}\nENABLE_REGISTRATION = false\n'
            f'[CANAILLE_SQL]\nDATABASE_URI = "sqlite:///{self._directory}/accounts.db"\n'
            '[CANAILLE.ACL.DEFAULT]\nPERMISSIONS = ["edit_self", "use_oidc"]\nREAD = ["user_name", "groups"]\nWRITE = ["given_name"]\n'
            f"[CANAILLE_OIDC]\n{jwk}"
        )
        return {"CANAILLE_CONFIG": str(path)}

    def _populate(self, environment):
        self._call(environment, "install")
        ids = {}
        for person, group in self._members:
            made = self._call(environment, "create", "user", "--user-name", person.name, "--password", person.password,
                              "--family-name", person.name.split(".")[-1].title(), "--given-name", "Test", "--emails", f"{person.name}@clinic.test")
            ids.setdefault(group, []).append(json.loads(made)["id"])
        for group, members in ids.items():
            self._call(environment, "create", "group", "--display-name", group, *[part for m in members for part in ("--members", m)])
        uris = [part for origin in self._origins for part in ("--redirect-uris", f"{origin}/.chartgate/{self._callback}")]
        after = [part for origin in self._origins for part in ("--post-logout-redirect-uris", f"{origin}/.chartgate/signed-out")]
        scopes = [part for scope in ("openid", "profile", "groups") for part in ("--scope", scope)]
        client = json.loads(self._call(environment, "create", "client", "--client-id", CLIENT_ID, "--client-secret", CLIENT_SECRET,
                                       *uris, *after, "--token-endpoint-auth-method", "client_secret_basic", "--grant-types", "authorization_code", "--grant-types", "refresh_token",
                                       "--response-types", "code", *scopes, "--client-name", "Chartgate", "--contacts", "it@clinic.test"))
        # Without an audience of its own the client would get ID tokens with an empty `aud`, which must be refused.
        self._call(environment, "set", "client", client["id"], "--audience", client["id"])

    def in_group(self, group, person):
        """From here on `person` is the only member of `group`."""
        environment = {"CANAILLE_CONFIG": str(self._directory / "canaille.toml")}
        found = json.loads(self._call(environment, "get", "user", "--user-name", person.name))
        self._call(environment, "set", "group", group, "--members", found[0]["id"])

    def _call(self, environment, *arguments, into=None):
        done = subprocess.run([str(self._bin), *arguments], env={**os.environ, **environment}, cwd=self._directory, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"canaille {arguments[:2]}: {done.stderr[-2000:]}")
        if into:
            (self._directory / into).write_text(done.stdout)
        return done.stdout

    def issuer(self):
        """The `[[identity.issuer]]` entry for it."""
        return {
            "name": "canaille",
            "url": self.url,
            "ca": str(self._authority.ca),
            "client_id": CLIENT_ID,
            "scopes": ["profile", "groups"],
            # Unless the client is set up otherwise, an RSA key signs with the longest hash.
            "algorithms": ["RS512"],
            "name_claim": "/preferred_username",
            "roles_claim": "/groups",
            "mfa": {"amr": [["pwd", "otp"]], "require": "any"},
        }
