"""Certificates as operators hand them out, made anew for each run."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificates(folder: Path) -> Path:
    """Make a CA, a server certificate for localhost and a client certificate, as PEM files.

    ``foreign.pem`` is signed by another authority, ``stranger.pem``. Returns the folder.
    """

    def openssl(*arguments):
        subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)

    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "stranger"):
        openssl(
            "req", "-x509", *new, "-days", "2", "-subj", f"/CN={authority}",
            "-keyout", f"{authority}.key", "-out", f"{authority}.pem",
        )  # fmt: skip
    for name, authority in (("server", "ca"), ("client", "ca"), ("foreign", "stranger")):
        openssl(
            "req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr"
        )
        Path(folder, "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey",
            f"{authority}.key", "-CAcreateserial", "-days", "2", "-extfile", "names",
            "-out", f"{name}.pem",
        )  # fmt: skip
    return folder
