"""Certificates of a test's grid."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_certificates(folder: Path, *sites: str) -> None:
    """`SITE.pem` and `SITE.key` of each site, also valid for localhost, by one `ca.pem`."""
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    _openssl(
        *("req", "-x509", *new_key, "-subj", "/CN=grid", "-keyout", "ca.key", "-out", "ca.pem"),
        cwd=folder,
    )
    for site in sites:
        names = f"subjectAltName=DNS:{site},DNS:localhost"
        _openssl(
            *("req", "-x509", *new_key, "-subj", f"/CN={site}", "-addext", names),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-keyout", f"{site}.key", "-out", f"{site}.pem"),
            cwd=folder,
        )


def _openssl(*arguments: str, cwd: Path) -> None:
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)
