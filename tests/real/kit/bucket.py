"""An S3-compatible store: moto's server over TLS of the private CA, with one account that may read, write and list.

It checks every signature, with the code that botocore signs with, and every policy, as a store in a hospital would.
"""

import json

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from . import net

# The account, its key, its policy and the bucket are made before the store begins to ask who calls.
UNASKED = 4
RIGHTS = ["s3:GetObject", "s3:PutObject", "s3:ListBucket"]
# What an archive needs beside, and what must not help anybody.
LOCKED = ["s3:GetObjectVersion", "s3:PutObjectRetention", "s3:GetObjectRetention", "s3:PutObjectLegalHold", "s3:GetObjectLegalHold",
          "s3:ListBucketVersions", "s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"]


class Bucket:
    REGION = "eu-central-1"
    # Names that one page of a listing has; a store has a thousand, and nobody waits for so many to be made.
    PAGE = 40

    def __init__(self, stage, cache, authority, name, locked=False):
        """`locked`: with Object Lock, and so with versions."""
        self._stage, self._cache, self._authority, self.name, self._locked = stage, cache, authority, name, locked
        self.port = net.free_port()
        self.url = f"https://localhost:{self.port}"
        self.account = self.secret = None
        self.process = None

    def start(self):
        command = [self._cache / "bucket" / "bin" / "moto_server", "-H", "127.0.0.1", "-p", self.port,
                   "-s", "-c", self._authority.cert, "-k", self._authority.key]
        settings = {"INITIAL_NO_AUTH_ACTION_COUNT": str(UNASKED), "MOTO_S3_DEFAULT_MAX_KEYS": str(self.PAGE)}
        self.process = self._stage.start("bucket", command, settings)
        net.await_port(self.port, 60, self.process.alive)
        iam = self._client("iam", "nobody", "nothing")
        iam.create_user(UserName="chartgate")
        made = iam.create_access_key(UserName="chartgate")["AccessKey"]
        self.account, self.secret = made["AccessKeyId"], made["SecretAccessKey"]
        allowed = {"Effect": "Allow", "Action": [*RIGHTS, *(LOCKED if self._locked else []), "s3:DeleteObject", "iam:PutUserPolicy"], "Resource": "*"}
        self._policy(iam, "owner", [allowed])
        self._client("s3", "nobody", "nothing").create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": self.REGION},
                                                                   **({"ObjectLockEnabledForBucket": True} if self._locked else {}))
        self._objects = self._client("s3", self.account, self.secret)
        return self

    def target(self, secret_file, **changes):
        """`backup.target` for it."""
        return {"s3": {"endpoint": self.url, "bucket": self.name, "region": self.REGION, "prefix": "gateway-1", "access_key_id": self.account,
                       "secret_access_key_file": str(secret_file), "ca": str(self._authority.ca), **changes}}

    def forbid(self, action):
        """From here on the account may not do `action`; `None` lifts it."""
        effect = {"Effect": "Deny", "Action": [action or "s3:CreateBucket"], "Resource": "*"}
        self._policy(self._client("iam", self.account, self.secret), "for-now", [effect])

    def names(self):
        pages = self._objects.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, name):
        return self._objects.get_object(Bucket=self.name, Key=name)["Body"].read()

    def write(self, name, content):
        self._objects.put_object(Bucket=self.name, Key=name, Body=content)

    def remove(self, name):
        self._objects.delete_object(Bucket=self.name, Key=name)

    def head(self, name, version=None):
        """What the store says of an object, or of a version of it."""
        return self._objects.head_object(Bucket=self.name, Key=name, **({"VersionId": version} if version else {}))

    def versions(self, name):
        """The versions of an object, delete markers left out."""
        found = self._objects.list_object_versions(Bucket=self.name, Prefix=name)
        return [entry["VersionId"] for entry in found.get("Versions", []) if entry["Key"] == name]

    def every_version(self):
        """Every version that the store still has: name, id, and until when nobody can remove it."""
        found = self._objects.list_object_versions(Bucket=self.name).get("Versions", [])
        heads = [(entry, self.head(entry["Key"], entry["VersionId"])) for entry in found]
        return [(entry["Key"], entry["VersionId"], head.get("ObjectLockMode"), head.get("ObjectLockRetainUntilDate")) for entry, head in heads]

    def refused(self, call, **arguments):
        """The code with which the store refuses; `None` where it does as it is told."""
        try:
            getattr(self._objects, call)(Bucket=self.name, **arguments)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return None

    def download(self, directory):
        """All of it as files, named as in the bucket."""
        for name in self.names():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(name))
        return directory

    def _policy(self, iam, name, statements):
        iam.put_user_policy(UserName="chartgate", PolicyName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))

    def _client(self, service, account, secret):
        return boto3.client(service, endpoint_url=self.url, region_name=self.REGION, verify=str(self._authority.ca), aws_access_key_id=account,
                            aws_secret_access_key=secret, config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
