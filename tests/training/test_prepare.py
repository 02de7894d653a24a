"""Deriving: the format of the data, resuming, alignment by the mesh."""

from __future__ import annotations

import csv
import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.training import toy

from veilcast.diffusion import patch
from veilcast.errors import ConfigError, InputMissing, ModelMissing, NotVideo
from veilcast.training import derive, faces, sets
from veilcast.training.arrays import CHUNK, Array, Cache, Stage
from veilcast.training.prepare import open_table

NAMES = ("shard", "key", "source", "identity", "age", "gender", "side_px", "inside")


def write_data(folder: Path, count: int = 6, inside: str = "1.0") -> Path:
    """A data folder as docs/training.md describes it."""
    rng, side = np.random.default_rng(0), 160
    folder.mkdir()
    columns = [f"{point}_{axis}" for point in faces.POINTS for axis in "xy"]
    with (
        tarfile.open(folder / "a.tar", "w") as tar,
        gzip.open(folder / "index.csv.gz", "wt", newline="") as file,
    ):
        rows = csv.DictWriter(file, [*NAMES, *columns])
        rows.writeheader()
        for n in range(count):
            data = io.BytesIO()
            Image.fromarray(toy.picture(rng)).resize((side, side)).save(data, "WEBP")
            info = tarfile.TarInfo(f"{n}.webp")
            info.size = data.tell()
            data.seek(0)
            tar.addfile(info, data)
            values = ["a.tar", info.name, "toy", f"p{n}", "40" if n else "", "male", side, inside]
            rows.writerow(
                dict(zip([*NAMES, *columns], [*values, *(patch.TEMPLATE * side).ravel()], strict=True))
            )
    return folder


def test_the_index_and_the_shards_are_read(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data")
    entries = faces.read_index(data)
    assert len(entries) == 6
    assert entries[0].age is None
    assert entries[1].age == 40
    assert faces.decode(faces.Shards(data).read(entries[3])).shape == (160, 160, 3)


def test_pictures_that_leave_their_original_are_left_out(tmp_path: Path) -> None:
    assert faces.read_index(write_data(tmp_path / "data", inside="0.8")) == []


def test_one_person_in_ten_is_held_out() -> None:
    held = [faces.Entry("", "", "", f"person-{n}", None, "", 160, 1.0, ()).held_out for n in range(2000)]
    assert 0.07 < np.mean(held) < 0.13
    assert not faces.Entry("", "", "", "", None, "", 160, 1.0, ()).held_out


def test_a_missing_index_and_a_strange_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="index of the training data"):
        faces.read_index(tmp_path)
    with gzip.open(tmp_path / "index.csv.gz", "wt") as file:
        file.write("a,b\n1,2\n")
    with pytest.raises(NotVideo, match=r"docs/training\.md"):
        faces.read_index(tmp_path)


def test_a_cache_belongs_to_its_data(tmp_path: Path) -> None:
    open_table(write_data(tmp_path / "one"), tmp_path / "cache")
    with pytest.raises(ConfigError, match="other data"):
        open_table(write_data(tmp_path / "two", count=5), tmp_path / "cache")


STAGE = Stage("squares", {"square": Array((), "float32")})


def test_deriving_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    seen: list[int] = []

    def squares(rows: np.ndarray) -> Mapping[str, np.ndarray]:
        seen.extend(rows.tolist())
        return {"square": rows.astype(np.float32) ** 2}

    cache = Cache(tmp_path, 3 * CHUNK - 10)
    cache.create(STAGE)
    first = cache.run(STAGE, squares, 0, 1)
    assert next(first) == 0
    del first  # stopped
    assert len(cache.ready("squares")) == CHUNK

    assert list(Cache(tmp_path, cache.count).run(STAGE, squares, 0, 1)) == [1, 2]
    assert sorted(seen) == list(range(cache.count))
    np.testing.assert_array_equal(cache.open("square"), np.arange(cache.count) ** 2)


def test_workers_share_the_chunks(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 4 * CHUNK)
    cache.create(STAGE)
    done = [
        list(cache.run(STAGE, lambda rows: {"square": np.zeros(len(rows))}, worker, 2)) for worker in (0, 1)
    ]
    assert done == [[0, 2], [1, 3]]


def test_a_stage_waits_for_what_it_needs(tmp_path: Path) -> None:
    cache, late = Cache(tmp_path, CHUNK), Stage("late", {"late": Array((), "uint8")}, ("squares",))
    cache.create(STAGE)
    cache.create(late)
    assert list(cache.run(late, lambda rows: {"late": rows}, 0, 1)) == []


def test_patches_are_aligned_by_the_mesh(tmp_path: Path) -> None:
    """Whatever the index's points say, the mesh's five points come to lie on the template."""
    data = write_data(tmp_path / "data")
    entries = faces.read_index(data)
    found = toy.mesh(np.random.default_rng(0)) * (derive.MESH_SIDE / toy.SIDE)
    turned = patch.move(found, np.array([[0.9, 0.2, 3.0], [-0.2, 0.9, 30.0]]))

    def mesh(batch: np.ndarray) -> Mapping[str, np.ndarray]:
        count = len(batch)
        return {"mesh": np.repeat(turned[None], count, 0), "presence": np.ones((count, 1))}

    def shapes(points: np.ndarray) -> Mapping[str, np.ndarray]:
        return {"blendshapes": np.zeros((len(points), 52))}

    values = derive.Faces(entries, faces.Shards(data), mesh, shapes, 128)(np.arange(3))
    assert values["patch"].shape == (3, 128, 128, 3)
    for landmarks in values["landmarks"]:
        error = patch.five(landmarks) - patch.TEMPLATE * 128
        assert np.abs(error).max() < 2
        np.testing.assert_allclose(error.mean(0), 0, atol=1e-6)


def test_skin_tone_is_darker_where_the_cheeks_are() -> None:
    landmarks = toy.mesh(np.random.default_rng(0))
    light, dark = (np.full((128, 128, 3), colour, np.uint8) for colour in ((230, 190, 170), (90, 60, 45)))
    assert derive.ita(light, landmarks) > 30 > derive.ita(dark, landmarks)


def test_unlabelled_pictures_take_their_attributes_from_the_embedding() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 16))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    y = unit[:, :2] * 0.5 + 0.4
    guess = sets.ridge(x[:300], y[:300], x[300:])
    assert np.median(np.abs(guess - y[300:])) < 0.01


def test_what_was_not_derived_yet_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    toy.cache(folder)
    (folder / "latent.npy").unlink(missing_ok=True)
    with pytest.raises(ModelMissing, match=r"no `latent` yet; run `veilcast train prepare`"):
        sets.from_cache(folder)


def test_a_set_without_any_ages_and_genders_is_refused(tmp_path: Path) -> None:
    """All-zero attributes would teach personas without age or gender."""
    cache = toy.cache(tmp_path / "cache")
    (cache.folder / "attributes.done").write_bytes(bytes(cache.chunks))
    with pytest.raises(ModelMissing, match="--stages attributes"):
        sets.from_cache(cache.folder, latents=False)
