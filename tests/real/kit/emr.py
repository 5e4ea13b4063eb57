"""The EMRs: Opal (login form, CSRF token, session cookie) and Orthanc (HTTP Basic, DICOMweb)."""

import json
import shutil

import requests

from . import cache, net


class Opal:
    """Opal on its own development server, with the site name it is reached by in its local settings."""

    PASSWORD = "Legacy-pass-1"

    def __init__(self, stage, cache, host):
        self._stage, self._cache, self._host = stage, cache, host
        self.port = net.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        # The cached project is seeded once; every run works on a copy, so that it always begins alike.
        project = self._stage.directory / "opal"
        shutil.copytree(self._cache / "opal-project", project)
        (project / "local_settings.py").write_text(f'ALLOWED_HOSTS = ["127.0.0.1", "{self._host}"]\n')
        python = self._cache / "opal" / "bin" / "python"
        self.process = self._stage.start(
            "opal-server", [python, "manage.py", "runserver", f"127.0.0.1:{self.port}", "--noreload"], {"PYTHONUNBUFFERED": "1"}, cwd=project
        )
        net.await_port(self.port, 60, self.process.alive)
        return self


class Orthanc:
    """Orthanc with its DICOMweb plug-in: one service account, and connections that it closes after a second."""

    ACCOUNT = ("legacy", "legacy-pass")

    def __init__(self, stage):
        self._stage = stage
        self.port = net.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        storage = self._stage.directory / "orthanc"
        storage.mkdir()
        settings = {
            "Name": "PACS",
            "StorageDirectory": str(storage),
            "IndexDirectory": str(storage),
            "HttpPort": self.port,
            # It binds every interface and refuses strangers itself; the tier runs it in a network of its own.
            "RemoteAccessAllowed": False,
            "DicomServerEnabled": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {self.ACCOUNT[0]: self.ACCOUNT[1]},
            "KeepAlive": True,
            "Plugins": ["/usr/share/orthanc/plugins"],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
        }
        path = self._stage.directory / "orthanc.json"
        path.write_text(json.dumps(settings))
        self.process = self._stage.start("orthanc-server", ["Orthanc", path])
        net.await_port(self.port, 60, self.process.alive)
        net.await_true("Orthanc answers", lambda: self._answers(), 30)
        return self

    def behind(self, host, repository):
        """How a gateway that serves it as `host` is configured."""
        return {
            "name": "pacs",
            "hosts": [host],
            "profile": str(repository / "policies" / "emr" / "orthanc.toml"),
            "backend": {"url": self.url, "protocol": "http1", "host": "public", "idle_timeout": "500ms"},
            "identity": {"basic": {"username": self.ACCOUNT[0], "password": self.ACCOUNT[1]}},
        }

    def _answers(self):
        try:
            return self.direct().get(f"{self.url}/system", timeout=5).ok
        except requests.ConnectionError:
            return False

    def direct(self):
        """A session that goes to Orthanc itself, as the gateway does."""
        session = requests.Session()
        session.trust_env = False
        session.auth = self.ACCOUNT
        return session

    def upload(self, path):
        """Stores a DICOM file and returns Orthanc's description of the instance."""
        answer = self.direct().post(f"{self.url}/instances", data=path.read_bytes(), headers={"Content-Type": "application/dicom"})
        answer.raise_for_status()
        return answer.json()


def sample(name):
    """A DICOM file that the pydicom package ships."""
    return next((cache.CACHE / "kit" / "lib").glob(f"python3*/site-packages/pydicom/data/test_files/{name}"))
