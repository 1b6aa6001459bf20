"""Images without a builder: an archive is what its parts' hashes say."""

import hashlib
import json
import tarfile
from pathlib import Path

from tests.cluster import images


def test_an_archive_names_its_parts_by_their_hashes(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    images.of_program("localhost/program:1", program, tmp_path / "program.tar")
    with tarfile.open(tmp_path / "program.tar") as archive:
        content = {name: file.read() for name in archive.getnames() if (file := archive.extractfile(name))}
    (manifest,) = json.loads(content["manifest.json"])
    config, (layer,) = json.loads(content[manifest["Config"]]), manifest["Layers"]
    assert manifest["RepoTags"] == ["localhost/program:1"]
    assert hashlib.sha256(content[manifest["Config"]]).hexdigest() == manifest["Config"].removesuffix(".json")
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content[layer]).hexdigest()}"]
    assert config["config"]["Entrypoint"] == ["/program"]
    assert not config["config"]["User"].startswith("0")


def test_the_same_program_makes_the_same_image(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    for name in ("once.tar", "again.tar"):
        images.of_program("localhost/program:1", program, tmp_path / name)
    assert (tmp_path / "once.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()


def test_its_program_can_be_run_by_anybody(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    images.of_program("localhost/program:1", program, tmp_path / "program.tar")
    with tarfile.open(tmp_path / "program.tar") as archive:
        layer = archive.extractfile(next(name for name in archive.getnames() if name.endswith(".tar")))
        assert layer is not None
        with tarfile.open(fileobj=layer) as inner:
            assert inner.getmember("program").mode == 0o755
