"""The archives of images for the test cluster: what makes another one, what is kept, and what containerd reads in it."""

import json
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.archives import keeping, layout, recipes, rootfs
from tests.cluster.archives.keeping import Recipe
from tests.servers import ROOT


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tideboard" / "images"


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As much of a checkout as goes into the image, and what lies beside it."""
    root = tmp_path / "checkout"
    for name in (
        "Dockerfile", ".dockerignore", "LICENSE", "requirements-image.lock", "tools/imagetree.py", "services/__main__.py",
        "services/gateway/app.py", "frontend/index.html", "frontend/src/wall/main.tsx",
    ):  # fmt: skip
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.setattr(recipes, "ROOT", root)
    return root


@pytest.mark.parametrize(
    "changed", ["Dockerfile", "requirements-image.lock", "services/gateway/app.py", "frontend/src/wall/main.tsx"]
)
def test_whatever_goes_into_the_image_makes_another_archive(checkout: Path, changed: str) -> None:
    before = recipes.tideboard({"a": "1"}).key
    (checkout / changed).write_text("other")
    assert recipes.tideboard({"a": "1"}).key != before


@pytest.mark.parametrize(
    "beside",
    [
        "tests/test_one.py",
        "services/__pycache__/app.pyc",
        "frontend/node_modules/x.js",
        "frontend/dist/index.html",
        "frontend/test/a.ts",
    ],
)
def test_what_does_not_go_into_the_image_changes_nothing(checkout: Path, beside: str) -> None:
    before = recipes.tideboard({"a": "1"}).key
    (checkout / beside).parent.mkdir(parents=True, exist_ok=True)
    (checkout / beside).write_text("")
    assert recipes.tideboard({"a": "1"}).key == before


def test_a_file_that_moves_makes_another_archive(checkout: Path) -> None:
    before = recipes.tideboard({"a": "1"}).key
    (checkout / "services/gateway/app.py").rename(checkout / "services/gateway/application.py")
    assert recipes.tideboard({"a": "1"}).key != before


def test_other_tags_versions_or_bases_make_another_archive(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {recipes.tideboard(tags).key for tags in ({"a": "1"}, {"b": "1"}, {"a": "2"}, {"a": "1", "b": "2"})}
    monkeypatch.setattr(rootfs, "PYTHON", rootfs.Base("python", (*rootfs.PYTHON.packages, "another")))
    assert len(keys | {recipes.tideboard({"a": "1"}).key}) == 5


def test_the_filter_of_the_build_and_the_key_let_in_the_same() -> None:
    """What the key does not see may not go into the image: .dockerignore begins with nothing, and lets in the same parts."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert allowed == set(recipes._PARTS) - {"Dockerfile", ".dockerignore"}


def test_an_archive_is_made_once_and_made_anew_for_another_key(home: Path) -> None:
    made: list[str] = []
    recipe = _recipe(made.append)
    first, again, other = keeping.kept(recipe("x")), keeping.kept(recipe("x")), keeping.kept(recipe("y"))
    assert made == ["x", "y"]
    assert first == again == home / "one-x.tar"
    assert (first.read_text(), other.read_text()) == ("x", "y")


def test_an_archive_that_could_not_be_finished_is_not_there(home: Path) -> None:
    def fail(archive: Path) -> None:
        archive.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        keeping.kept(Recipe("one", "x", fail))
    assert list(home.rglob("*.tar")) == []
    (home / "making-killed").mkdir()
    keeping.kept(_recipe(lambda _: None)("x"))
    assert sorted(path.name for path in home.iterdir()) == ["lock", "one-x.tar"]


def test_the_last_used_archives_of_each_name_are_kept(home: Path) -> None:
    recipe = _recipe(lambda _: None)
    other = keeping.kept(Recipe("other", "x", lambda archive: archive.touch()))
    for number, key in enumerate(("a", "b", "c", "a", "d")):
        keeping.kept(recipe(key))
        _age(home, by=1_000 * (5 - number), key=key)
    assert sorted(path.name for path in home.glob("one-*")) == ["one-a.tar", "one-c.tar", "one-d.tar"]
    assert other.exists()


def test_an_archive_holds_what_its_images_share_once_and_names_them_for_containerd(tmp_path: Path) -> None:
    folders = {f"example.org/it:{tag}": _image(tmp_path / tag, config=tag, layers=("base", tag)) for tag in ("a", "b")}
    archive = tmp_path / "images.tar"
    layout.write(archive, folders)
    with tarfile.open(archive) as tar:
        files = {member.name: (tar.extractfile(member) or pytest.fail(member.name)).read() for member in tar.getmembers()}
        assert len(files) == len(tar.getmembers())
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    found = {}
    for entry in json.loads(files["index.json"])["manifests"]:
        manifest = files[f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}"]
        assert len(manifest) == entry["size"]
        found[entry["annotations"]["io.containerd.image.name"]] = [
            files[f"blobs/sha256/{digest}"] for digest in layout.named(manifest)
        ]
    assert found == {"example.org/it:a": [b"a", b"base", b"a"], "example.org/it:b": [b"b", b"base", b"b"]}
    assert sum(name.startswith("blobs/") for name in files) == 5, "two manifests; the base, and what each has of its own"


def _recipe(made: Callable[[str], None]) -> Callable[[str], Recipe]:
    def of(key: str) -> Recipe:
        def make(archive: Path) -> None:
            made(key)
            archive.write_text(key)

        return Recipe("one", key, make)

    return of


def _age(home: Path, by: float, key: str) -> None:
    then = time.time() - by
    os.utime(home / f"one-{key}.tar", (then, then))


def _image(folder: Path, config: str, layers: tuple[str, ...]) -> Path:
    """An image as `buildah push dir:` leaves it."""
    folder.mkdir()

    def blob(content: str) -> dict[str, str]:
        digest = keeping.hashed(content)
        (folder / digest).write_text(content)
        return {"digest": f"sha256:{digest}"}

    manifest = {"config": blob(config), "layers": [blob(layer) for layer in layers]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
