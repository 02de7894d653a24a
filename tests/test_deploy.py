"""The files of deploy/ and the samples fit each other: what needs neither podman nor a cluster to be seen."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from veilcast.pipeline.camera_file import load
from veilcast.pipeline.detect import RUNS
from veilcast.pipeline.studio import ROLES

ROOT = Path(__file__).resolve().parent.parent
UNIT = (ROOT / "deploy" / "veilcast-live.service").read_text()
RECIPE = (ROOT / "deploy" / "Containerfile").read_text()
SAMPLE = (ROOT / "configs" / "cameras.toml").read_text()
CLUSTER = (ROOT / "docs" / "kuberay.yaml").read_text()
STATE = "/var/lib/veilcast"
BUILD, IMAGE = RECIPE.split("\nFROM ")[-2:]


def test_the_sample_can_be_read_where_the_unit_runs(tmp_path: Path) -> None:
    """With the state's folder in another place; each file that it names is there."""
    (tmp_path / "state/recordings/yard").mkdir(parents=True)
    for name in re.findall(r'in_credentials = "(.*?)"', SAMPLE):
        (tmp_path / name).write_text("user:password\n")
    (tmp_path / "cameras.toml").write_text(SAMPLE.replace(STATE, str(tmp_path / "state")))
    site = load(tmp_path / "cameras.toml", tmp_path)
    assert [camera.name for camera in site.cameras] == ["door", "yard"]
    assert site.listen == ("127.0.0.1", 8080)


def test_recordings_of_the_sample_lie_where_the_unit_and_the_container_may_write() -> None:
    folders = re.findall(r'"(/.*?)/"', SAMPLE)
    assert folders
    for folder in folders:
        assert folder.startswith(f"{STATE}/recordings/")
        assert f" {folder}\n" in UNIT  # made before the first start
    assert f"ReadWritePaths={STATE}\n" in UNIT
    assert f"./recordings:{STATE}/recordings" in RECIPE


@pytest.mark.parametrize("told", [UNIT, BUILD], ids=["unit", "container"])
def test_all_weights_of_cameras_are_there_before_the_first_start(told: str) -> None:
    (named,) = re.findall(r"models pull (?:--quiet )?(.*)", told)
    assert set(named.split()) == {kind.name for kind in RUNS["cpu"].values()} | set(ROLES)
    assert f"VEILCAST_MODELS={STATE}/models" in told


def test_compiled_networks_are_kept_between_starts_of_a_container() -> None:
    """Its root is read-only; they lie beside the weights, and the folder is its user's alone."""
    assert f"VOLUME {STATE}/engines\n" in IMAGE
    assert f":{STATE}/engines " in RECIPE
    assert re.search(rf"install -d -o veilcast -g veilcast -m 0700 .*{STATE}/engines\n", IMAGE)
    assert f"VEILCAST_MODELS={STATE}/models" in IMAGE


def test_no_sources_and_no_builder_are_in_the_image_that_runs() -> None:
    copied = re.findall(r"^COPY (.*)", IMAGE, re.MULTILINE)
    assert copied
    assert all(line.startswith("--from=build ") for line in copied)
    assert "apt-get" not in IMAGE
    assert "npm" in BUILD


def test_images_are_built_from_all_that_the_package_consists_of_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    taken = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    links = {path.name for path in (ROOT / "src" / "veilcast").iterdir() if path.is_symlink()}
    assert taken == {"pyproject.toml", project["readme"], *project["license-files"], "src", *links}


@pytest.mark.parametrize("told", [RECIPE, CLUSTER], ids=["container", "cluster"])
def test_no_registry_is_named(told: str) -> None:
    assert not re.search(r"\b[\w-]+\.(io|com|org|net)/", told.replace("ray.io/v1", ""))


def test_a_site_that_runs_wild_is_bounded_and_a_camera_that_dies_is_no_end() -> None:
    for line in (r"MemoryMax=\d+%", r"TasksMax=\d+", "OOMPolicy=continue"):
        assert re.search(rf"^{line}$", UNIT, re.MULTILINE)
    assert "--memory" in RECIPE
    assert "--pids-limit" in RECIPE


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze: apt-get install systemd")
    unit = tmp_path / "veilcast-live.service"
    unit.write_text(re.sub(r"ExecStart=\S+", "ExecStart=/bin/true", UNIT))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_example_for_kubernetes_brings_the_driver_of_its_store() -> None:
    registry = pytest.importorskip("fsspec.registry", reason="the extra `batch` is not installed")
    recipe = CLUSTER.split("apiVersion")[0]
    for scheme in set(re.findall(r"(\w+)://BUCKET", CLUSTER)):
        driver = registry.known_implementations[scheme]["class"].split(".")[0]
        assert re.search(rf"pip install .*\b{driver}\b", recipe)
