"""TLS towards the brokers, the Redis servers, and whoever publishes keys: one context from the files that the settings name."""

import ssl
from typing import Protocol


class TlsFiles(Protocol):
    """PEM files; empty where there is none."""

    @property
    def ca_file(self) -> str: ...
    @property
    def certificate_file(self) -> str: ...
    @property
    def key_file(self) -> str: ...
    @property
    def check_hostname(self) -> bool: ...


def trusting(ca_file: str) -> ssl.SSLContext:
    """Verifies servers. ca_file: who may vouch for them; empty: the machine's own authorities. OSError where it cannot be used.

    An authority that somebody has named need not have every extension of RFC 5280: `openssl req -x509` and the scripts of many servers
    make it without one that Python asks for since 3.13, and that no other client asks for.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    if ca_file:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def tls_context(files: TlsFiles) -> ssl.SSLContext:
    """Read anew for each use, so that certificates can be renewed without a restart. OSError where a file cannot be used.

    The other side's certificate is always verified. Without check_hostname, one that was issued for another host will do.
    """
    try:
        context = trusting(files.ca_file)
        if files.certificate_file:
            context.load_cert_chain(files.certificate_file, files.key_file)
    except OSError as error:  # which of them it was, ssl does not say
        names = ", ".join(name for name in (files.ca_file, files.certificate_file, files.key_file) if name)
        raise OSError(f"certificates cannot be used ({names}): {error}") from error
    context.check_hostname = files.check_hostname
    return context
