"""What seals key files: moto's KMS over TLS, which checks signatures and rights, and a SoftHSM token."""

import json
import os

import boto3
from botocore.config import Config

from . import net, process

# The account, its key, its policy and the key are made before the service begins to ask who calls.
UNASKED = 4


class Kms:
    """A key management service with one key and one account that may use it."""

    REGION = "eu-central-1"

    def __init__(self, stage, cache, authority):
        self._stage, self._cache, self._authority = stage, cache, authority
        self.port = net.free_port()
        self.url = f"https://localhost:{self.port}"
        self.process = self.account = self.secret = self.key = None

    def start(self):
        command = [self._cache / "bucket" / "bin" / "moto_server", "-H", "127.0.0.1", "-p", self.port, "-s", "-c", self._authority.cert, "-k", self._authority.key]
        self.process = self._stage.start("kms", command, {"INITIAL_NO_AUTH_ACTION_COUNT": str(UNASKED)})
        net.await_port(self.port, 60, self.process.alive)
        iam = self._client("iam", "nobody", "nothing")
        iam.create_user(UserName="chartgate")
        made = iam.create_access_key(UserName="chartgate")["AccessKey"]
        self.account, self.secret = made["AccessKeyId"], made["SecretAccessKey"]
        self._policy(iam, "owner", "Allow", ["kms:Encrypt", "kms:Decrypt", "iam:PutUserPolicy"])
        self.key = self._client("kms", "nobody", "nothing").create_key()["KeyMetadata"]["Arn"]
        return self

    def section(self, secret_file):
        """`[keys.kms]` for it."""
        return {"kms": {"endpoint": self.url, "region": self.REGION, "key_id": self.key, "access_key_id": self.account,
                        "secret_access_key_file": str(secret_file), "ca": str(self._authority.ca)}}

    def forbid(self, action):
        """From here on the account may not do `action`; `None` lifts it."""
        self._policy(self._client("iam", self.account, self.secret), "for-now", "Deny", [action or "kms:CreateKey"])

    def _policy(self, iam, name, effect, actions):
        statements = [{"Effect": effect, "Action": actions, "Resource": "*"}]
        iam.put_user_policy(UserName="chartgate", PolicyName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))

    def _client(self, service, account, secret):
        return boto3.client(service, endpoint_url=self.url, region_name=self.REGION, verify=str(self._authority.ca), aws_access_key_id=account,
                            aws_secret_access_key=secret, config=Config(retries={"max_attempts": 1}))


class Token:
    """A SoftHSM token with one AES key that never leaves it. Sets `SOFTHSM2_CONF` for everything that is started later."""

    MODULE = "/usr/lib/softhsm/libsofthsm2.so"
    LABEL, KEY, PIN = "chartgate", "chartgate-keys", "4711-0815"

    def __init__(self, directory):
        (directory / "tokens").mkdir(parents=True)
        conf = directory / "softhsm2.conf"
        conf.write_text(f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(conf)
        process.output(["softhsm2-util", "--init-token", "--free", "--label", self.LABEL, "--so-pin", "00000000", "--pin", self.PIN])
        process.output(["pkcs11-tool", "--module", self.MODULE, "--token-label", self.LABEL, "--login", "--pin", self.PIN, "--keygen", "--key-type", "AES:32", "--label", self.KEY, "--sensitive"])

    def section(self, pin_file):
        """`[keys.pkcs11]` for it."""
        return {"pkcs11": {"module": self.MODULE, "token": self.LABEL, "key": self.KEY, "pin_file": str(pin_file)}}
