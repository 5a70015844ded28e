"""A really started Orthanc with its DICOMweb plugin, on a free loopback port, with a storage folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ["ORTHANC", "PLUGIN", "REASON", "Orthanc", "free_port"]

ORTHANC = shutil.which("Orthanc")
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
REASON = "no Orthanc with DICOMweb plugin (Debian packages orthanc and orthanc-dicomweb)"


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class Orthanc:
    """The PACS, and what a test asks of it beside DICOMweb."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        folder.mkdir(parents=True, exist_ok=True)
        self._configuration = folder / "orthanc.json"
        settings = {
            "Name": "CASR-Net test", "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"), "Plugins": [str(PLUGIN)], "HttpPort": port,
            "RemoteAccessAllowed": False, "AuthenticationEnabled": False, "DicomServerEnabled": False,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }  # fmt: skip
        self._configuration.write_text(json.dumps(settings))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def start(self) -> Orthanc:
        """Start, and wait until it answers."""
        assert ORTHANC is not None
        log = self.folder / "orthanc.log"
        with open(log, "ab") as stream:
            self.process = subprocess.Popen(
                [ORTHANC, str(self._configuration)], stdout=stream, stderr=stream, start_new_session=True,
            )  # fmt: skip
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.get("/system")
                return self
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"Orthanc did not start:\n{log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """End it; what it has stored stays."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
            self.process = None

    def get(self, path: str) -> Any:
        """Orthanc's own REST interface; JSON, or bytes of a file."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            body = answer.read()
            return json.loads(body) if "json" in answer.headers.get("Content-Type", "") else body

    def store(self, file: Path) -> str:
        """Store a DICOM file; gives Orthanc's name of the instance."""
        made = urllib.request.Request(f"http://127.0.0.1:{self.port}/instances", file.read_bytes(), method="POST")
        with urllib.request.urlopen(made, timeout=30) as answer:
            return str(json.loads(answer.read())["ID"])

    def delete(self, instance: str) -> None:
        """Remove an instance, by Orthanc's name of it."""
        made = urllib.request.Request(f"http://127.0.0.1:{self.port}/instances/{instance}", method="DELETE")
        urllib.request.urlopen(made, timeout=30).close()

    def instances(self, modality: str) -> list[str]:
        """Orthanc's names of the instances of a modality."""
        body = json.dumps({"Level": "Series", "Query": {"Modality": modality}, "Expand": True}).encode()
        made = urllib.request.Request(f"http://127.0.0.1:{self.port}/tools/find", body, method="POST")
        with urllib.request.urlopen(made, timeout=30) as answer:
            return [name for series in json.loads(answer.read()) for name in series["Instances"]]

    def file(self, instance: str, path: Path) -> Path:
        """Fetch an instance as it is stored."""
        path.write_bytes(self.get(f"/instances/{instance}/file"))
        return path
