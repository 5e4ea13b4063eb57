"""The back end and the proxies in front of it, each with one certificate, TLS 1.3 and AES-256-GCM."""

import pathlib
import shutil
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "real"))

from kit import login, net, provider  # noqa: E402
from kit.gateway import Gateway  # noqa: E402

HOST = "localhost"
SIZES = {"200 B": 200, "4 KiB": 4096, "256 KiB": 262144}


def path(size):
    """What is fetched: a result of one patient, so that Chartgate has a patient to find."""
    return f"/bench/7/{size}"


class Backend:
    """nginx with static files in memory; it counts the requests that reach it."""

    def __init__(self, stage, pin):
        self.port = net.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        base = pathlib.Path("/dev/shm")
        self.files = pathlib.Path(tempfile.mkdtemp(prefix="chartgate-bench-", dir=base if base.is_dir() else None))
        self.files.chmod(0o755)
        for size in SIZES.values():
            (self.files / str(size)).write_bytes(b"0123456789abcdef" * (size // 16) + b"x" * (size % 16))
        config = nginx(stage, "backend", 1, f"""
  server {{
    listen 127.0.0.1:{self.port} backlog=1024;
    default_type text/plain;
    keepalive_requests 1000000000;
    location = /bench/count {{ stub_status; }}
    location ~ ^/bench/7/(\\d+)$ {{ alias {self.files}/$1; add_header Cache-Control no-cache; }}
  }}""")
        self.process = stage.start("backend", [*pin, *config])
        net.await_port(self.port, 10, self.process.alive)
        self._session = net.browser(True)

    def served(self):
        """Requests answered so far, this one not counted."""
        text = self._session.get(f"{self.url}/bench/count").text
        return int(text.split("\n")[2].split()[2])

    def remove(self):
        shutil.rmtree(self.files, ignore_errors=True)


def nginx(stage, name, workers, servers):
    home = stage.directory / name
    home.mkdir()
    temporary = "".join(f"  {kind}_temp_path {home}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(f"""
daemon off; worker_processes {workers}; pid {home}/pid; error_log {home}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; open_file_cache max=16;
{temporary}{servers}
}}
""")
    return ["nginx", "-c", home / "nginx.conf", "-e", home / "error.log"]


class Proxy:
    """One contestant. `cookie` begins the name of its session's cookie, `headers` hold that cookie after sign-in."""

    def __init__(self, name, port, process, cookie=None):
        self.name, self.port, self.process, self.cookie = name, port, process, cookie
        self.headers = {}

    def url(self, size):
        return f"https://{HOST}:{self.port}{path(size)}"


def bare_nginx(stage, authority, backend, workers, pin):
    port = net.free_port()
    command = nginx(stage, "nginx", workers, f"""
  upstream emr {{ server 127.0.0.1:{backend.port}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=1024;
    ssl_certificate {authority.cert}; ssl_certificate_key {authority.key};
    ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;
    keepalive_requests 1000000000;
    location / {{
      proxy_pass http://emr; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto https;
    }}
  }}""")
    return Proxy("nginx", port, stage.start("nginx", [*pin, *command]))


def haproxy(stage, authority, backend, workers, pin):
    port = net.free_port()
    both = stage.directory / "both.pem"
    both.write_text(authority.cert.read_text() + authority.key.read_text())
    both.chmod(0o600)
    config = stage.directory / "haproxy.cfg"
    config.write_text(f"""
global
  nbthread {workers}
  maxconn 2048
  ssl-default-bind-ciphersuites TLS_AES_256_GCM_SHA384
  ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  option forwardfor
  http-reuse always
frontend clients
  bind 127.0.0.1:{port} ssl crt {both} alpn h2,http/1.1
  http-request set-header X-Forwarded-Proto https
  default_backend emr
backend emr
  server emr 127.0.0.1:{backend.port}
""")
    return Proxy("HAProxy", port, stage.start("haproxy", [*pin, "haproxy", "-db", "-f", config]))


def apache(stage, authority, backend, issuer, port, workers, pin):
    """Apache with mod_auth_openidc: the same login, one claim that must hold, and nothing recorded."""
    home = stage.directory / "apache"
    home.mkdir()
    loads = "".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"
        for name in ("mpm_event", "ssl", "socache_shmcb", "http2", "authn_core", "authz_core", "authz_user", "headers", "proxy", "proxy_http", "auth_openidc")
    )
    config = home / "httpd.conf"
    config.write_text(f"""
ServerRoot {home}
PidFile {home}/pid
ErrorLog {home}/error.log
Listen 127.0.0.1:{port}
ServerName {HOST}:{port}
{loads}
User www-data
Group www-data
StartServers 1
ServerLimit 1
ThreadLimit 640
ThreadsPerChild 640
MaxRequestWorkers 640
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
SSLEngine on
SSLCertificateFile {authority.cert}
SSLCertificateKeyFile {authority.key}
SSLProtocol TLSv1.3
SSLCipherSuite TLSv1.3 TLS_AES_256_GCM_SHA384
OIDCProviderMetadataURL {issuer.url}/.well-known/openid-configuration
OIDCCABundlePath {authority.ca}
OIDCClientID apache
OIDCClientSecret {provider.CLIENT_SECRET}
OIDCRedirectURI https://{HOST}:{port}/oidc/callback
OIDCCryptoPassphrase only-for-a-bench
OIDCScope "openid profile groups"
OIDCPKCEMethod S256
OIDCAuthRequestParams acr_values=urn:example:acr:mfa
OIDCRemoteUserClaim sub
OIDCSessionInactivityTimeout 14400
<Location "/">
  AuthType openid-connect
  <RequireAll>
    Require claim acr:urn:example:acr:mfa
    Require claim groups:emr-physicians
  </RequireAll>
</Location>
RequestHeader set X-Forwarded-Proto https
ProxyPass /oidc/callback !
ProxyPass / {backend.url}/ keepalive=On
""")
    return Proxy("Apache + mod_auth_openidc", port, stage.start("apache", [*pin, "apache2", "-D", "FOREGROUND", "-d", home, "-f", config]), "mod_auth_openidc_session")


def chartgate(stage, authority, backend, issuer, port, workers, pin):
    """The whole pipeline: session, profile with a patient, Cedar, limits, durable record."""
    gateway = Gateway(stage, authority, port)
    emr = {
        "name": "bench",
        "hosts": [HOST],
        "profile": str(HERE / "profile.toml"),
        "backend": {"url": backend.url, "protocol": "http1", "host": "public"},
    }
    plenty = "100000000/1m burst 100000000"
    gateway.configure(
        issuer.issuer(),
        [emr],
        server={"workers": workers, "limits": {"max_connections_per_address": 4096}},
        limits={"address": plenty, "user": plenty},
        log={"filter": "warn", "format": "json"},
    )
    gateway.start(pin)
    return Proxy("Chartgate", port, gateway.process, "__Host-"), gateway


def sign_in(proxy, authority, issuer):
    """Signs in as the physician and keeps the cookies as the load's."""
    session = net.browser(authority.ca)
    page = login.sign_in(session, proxy.url(200), login.people()["physician"], issuer.url)
    if page.status_code != 200 or len(page.content) != 200:
        raise RuntimeError(f"{proxy.name}: sign-in ended with {page.status_code} {page.url}: {page.text[:400]}")
    own = [c for c in session.cookies if c.name.startswith(proxy.cookie)]
    proxy.headers["Cookie"] = "; ".join(f"{c.name}={c.value}" for c in own)
    answer = net.browser(authority.ca).get(proxy.url(4096), headers=proxy.headers, allow_redirects=False)
    if answer.status_code != 200 or len(answer.content) != 4096:
        raise RuntimeError(f"{proxy.name}: the session does not carry: {answer.status_code}")


def everything(stage, authority, workers, pin_proxy, pin_rest):
    """Starts all of it; bare nginx comes first."""
    backend = Backend(stage, pin_rest)
    apache_port, chartgate_port = net.free_port(), net.free_port()
    issuer = provider.OidcProvider(stage, _cache(), authority, [f"https://{HOST}:{chartgate_port}"])
    issuer.add_client(
        {
            "client_id": "apache",
            "client_secret": provider.CLIENT_SECRET,
            "token_endpoint_auth_method": "client_secret_basic",
            "redirect_uris": [f"https://{HOST}:{apache_port}/oidc/callback"],
        }
    )
    issuer.start()
    gate, gateway = chartgate(stage, authority, backend, issuer, chartgate_port, workers, pin_proxy)
    proxies = [
        bare_nginx(stage, authority, backend, workers, pin_proxy),
        haproxy(stage, authority, backend, workers, pin_proxy),
        gate,
        apache(stage, authority, backend, issuer, apache_port, workers, pin_proxy),
    ]
    for proxy in proxies:
        net.await_port(proxy.port, 20, proxy.process.alive)
    time.sleep(1)
    for proxy in proxies:
        if proxy.cookie:
            sign_in(proxy, authority, issuer)
    return backend, proxies, gateway


def _cache():
    from kit import cache

    return cache.CACHE
