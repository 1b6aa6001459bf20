"""What the registry should hold, given the files of a folder and what it holds. Pure; reading files and writing is `dashboards`' work.

What becomes of several documents with one name, and of broken ones, is `contract.claims`' to say.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from services.contract.claims import Claim, Kind, Settled, parse, settle
from services.contract.document import NAME_PATTERN, DocumentError
from services.contract.registry import Entry, Fault
from services.local.yamlfile import Document, YamlError, documents

_SOURCE: Final = re.compile(r"^\s*kind:\s*[\"']?Source\b", re.MULTILINE)
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9]+")


def entries(files: Mapping[str, str], before: Mapping[str, Entry], kind: Kind = "Dashboard") -> dict[str, Entry]:
    """The entries of one kind by name. files: text by source; before: those of these files so far, which hold the last good documents.

    Of several documents with one name the file that had it before keeps it, or else the first one; the fault names the other.
    """
    said = (claim for source in sorted(files) for claim in claims(source, files[source], before, kind))
    return {name: _entry(settled, kind) for name, settled in settle(said, before).items()}


def claims(source: str, text: str, before: Mapping[str, Entry], kind: Kind = "Dashboard") -> Iterator[Claim]:
    """What a file says of one kind. A file that cannot be read says of everything that it held that it is broken."""
    try:
        contents = documents(text)
    except YamlError as error:
        fault = Fault("", error.reason, error.line, source)
        held = [entry.name for entry in before.values() if entry.source == source]
        for name in held or ([_name_of_file(source)] if _looks_like(text) == kind else []):
            yield Claim(name, source, error.line, None, fault)
        return
    for document in contents:
        if _kind(document) == kind:
            yield _claim(source, document, kind, sole=len(contents) == 1, before=before)


def _kind(document: Document) -> Kind:
    """Whatever is no source is a dashboard, if a broken one."""
    match document.content:
        case {"kind": "Source"}:
            return "Source"
    return "Dashboard"


def _looks_like(text: str) -> Kind:
    """What a file that is not YAML was meant to be."""
    return "Source" if _SOURCE.search(text) else "Dashboard"


def _claim(source: str, document: Document, kind: Kind, *, sole: bool, before: Mapping[str, Entry]) -> Claim:
    try:
        name = parse(kind, document.content).name
        line = document.line_of("metadata.name")
        return Claim(name, source, line, document.content, None)
    except DocumentError as error:
        line = document.line_of(error.path)
        return Claim(_name(source, document, sole, before), source, line, None, Fault(error.path, error.reason, line, source))


def _name(source: str, document: Document, sole: bool, before: Mapping[str, Entry]) -> str:
    """The name that a broken document means: its own, or that of the only one which its file held, or the file's."""
    match document.content:
        case {"metadata": {"name": str(name)}} if NAME_PATTERN.match(name):
            return name
    held = [entry.name for entry in before.values() if entry.source == source]
    return held[0] if sole and len(held) == 1 else _name_of_file(source)


def _name_of_file(source: str) -> str:
    stem = source.rsplit("/", 1)[-1].rsplit(".", 1)[0]
    return _NOT_IN_NAMES.sub("-", stem.lower()).strip("-")[:63].strip("-") or "unnamed"


def _entry(settled: Settled, kind: Kind) -> Entry:
    """Who claims a name in vain is told of beside it."""
    entry, others = settled.entry, settled.others
    if entry.fault is not None or not others:
        return entry
    reason = f"{entry.name!r} is also the name of a {kind.lower()} in {entry.source}"
    return msgspec.structs.replace(entry, fault=Fault("metadata.name", reason, others[0].line, others[0].source))
