"""Certificates for tests: an authority of our own, a server for 127.0.0.1, one for another host, a client, and somebody else's authority. By openssl."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, PEM; together: both in one file, as Kafka wants them."""

    certificate: Path
    key: Path

    @property
    def together(self) -> Path:
        found = self.certificate.with_suffix(".both.pem")
        found.write_text(self.key.read_text() + self.certificate.read_text())
        return found


@dataclass(frozen=True)
class Certificates:
    """stranger: an authority that vouches for none of these."""

    authority: Pair
    server: Pair
    elsewhere: Pair
    client: Pair
    stranger: Pair


def make(folder: Path, *hosts: str) -> Certificates:
    """Make them all; a server of 127.0.0.1 is known by its address and as localhost. hosts: other names of the server."""
    authority = _authority(folder, "authority")
    return Certificates(
        authority,
        _issued(folder, "server", authority, ",".join(["IP:127.0.0.1", "DNS:localhost", *(f"DNS:{host}" for host in hosts)])),
        _issued(folder, "elsewhere", authority, "DNS:elsewhere.example"),
        _issued(folder, "client", authority, "DNS:client.example"),
        _authority(folder, "stranger"),
    )


def _authority(folder: Path, name: str) -> Pair:
    return _request(folder, name)


def _issued(folder: Path, name: str, by: Pair, names: str) -> Pair:
    signed = ("-CA", str(by.certificate), "-CAkey", str(by.key))
    return _request(
        folder, name, *signed, "-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE"
    )


def _request(folder: Path, name: str, *more: str) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(pair.key))
    command = ("openssl", "req", "-x509", *made, "-out", str(pair.certificate), "-subj", f"/CN={name}", "-days", "2", *more)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pair
