"""A mail server, made of `aiosmtpd`: takes mail over STARTTLS, TLS or in clear from the account it knows, into a Maildir.

mail_server.py PORT MAILDIR starttls|tls|clear [CERT KEY]       USERNAME and PASSWORD in the environment
"""

import asyncio
import hmac
import os
import ssl
import sys

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

port, maildir, security, *files = sys.argv[1:]
context = None
if files:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)


def known(_server, _session, _envelope, _mechanism, data):
    print("a password was sent", flush=True)
    given = isinstance(data, LoginPassword) and data.login + b"\n" + data.password
    wanted = f"{os.environ['USERNAME']}\n{os.environ['PASSWORD']}".encode()
    # Not `handled`: the server itself says 535.
    return AuthResult(success=bool(given) and hmac.compare_digest(given, wanted), handled=False)


def connection():
    tls = {"tls_context": context, "require_starttls": True} if security == "starttls" else {}
    # Of its own it takes a password only after STARTTLS; with TLS from the first byte there is none.
    return SMTP(Mailbox(maildir), hostname="mail.clinic.test", authenticator=known, auth_required=True, auth_require_tls=security == "starttls", **tls)


async def serve():
    server = await asyncio.get_running_loop().create_server(connection, "127.0.0.1", int(port), ssl=context if security == "tls" else None)
    await server.serve_forever()


asyncio.run(serve())
