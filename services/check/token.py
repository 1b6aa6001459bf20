"""`python -m services token`: a token for a person who holds the gateways' secret, on standard output or in a file, and nowhere else."""

from pathlib import Path

from services.check.minting import MintingError
from services.check.settings import TokenSettings
from services.check.signing import SigningSettings, sign
from services.runtime.service import StartupError


def run(wanted: TokenSettings, signing: SigningSettings) -> int:
    """The exit code. StartupError where gateways hold no secret, or none that can be read."""
    if not signing.secret_file:
        raise StartupError("TIDEBOARD_GATEWAY_SECRET_FILE names no secret: gateways verify by keys of others, or ask nobody")
    try:
        token = sign(signing, wanted.subject, wanted.dashboards, wanted.hours * 3600)
    except OSError as error:
        raise StartupError(f"{signing.secret_file} cannot be read: {error.strerror}") from None
    except MintingError as error:
        raise StartupError(str(error)) from None
    if wanted.file:
        _write(Path(wanted.file), token)
    else:
        print(token)
    return 0


def _write(file: Path, token: str) -> None:
    try:
        file.touch(mode=0o600)
        file.write_text(token, encoding="utf-8")
    except OSError as error:
        raise StartupError(f"{file} cannot be written: {error.strerror}") from None
