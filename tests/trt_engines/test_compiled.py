"""Compiled networks are kept for this user, and only what he wrote is ever opened."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import openvino
import pytest
from tests.trt_engines.networks import conv_network, conv_reference, pictures

from veilcast.trt_engines import openvino_engine
from veilcast.trt_engines.canary import BF16, F32_PLAIN, Rung
from veilcast.trt_engines.compiled import Compiled, CompiledCache
from veilcast.trt_engines.engine import Model, Settings
from veilcast.trt_engines.seal import KEY

MODEL = Model(conv_network(), ".onnx")
SETTINGS = Settings(shapes={"picture": ((1, 2, 4), 3, 8, 8)}, threads=1, streams=2)
ENTRY = Compiled(("picture", "map"), b"what the library exported\nin two lines")


@pytest.fixture
def cache(tmp_path: Path) -> CompiledCache:
    return CompiledCache(tmp_path / "compiled")


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time that a network is compiled rather than taken from the cache."""
    made: list[str] = []
    real = openvino_engine.compile_network

    def counted(*args: object) -> object:
        made.append("compiled")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(openvino_engine, "compile_network", counted)
    return made


def opened(cache: CompiledCache, settings: Settings = SETTINGS) -> None:
    with F32_PLAIN.open(MODEL, settings, cache) as engine:
        assert [spec.name for spec in engine.outputs] == ["map", "mean"]
        answer = engine.run({"picture": pictures(3)})
    for name, value in conv_reference(pictures(3)).items():
        np.testing.assert_allclose(answer[name], value, rtol=1e-4, atol=1e-4)


def test_a_network_is_compiled_once(cache: CompiledCache, compilations: list[str]) -> None:
    opened(cache)
    opened(cache)
    opened(CompiledCache(cache._folder))
    assert len(compilations) == 1


@pytest.mark.parametrize("rung", [F32_PLAIN, BF16], ids=lambda rung: rung.name)
def test_a_kept_network_is_the_one_that_was_compiled(cache: CompiledCache, rung: Rung) -> None:
    if rung is BF16 and not openvino_engine.has_bf16():
        pytest.skip("this processor has no bfloat16")
    told, answers = [], []
    for _ in range(2):
        with rung.open(MODEL, SETTINGS, cache) as engine:
            told.append((engine.inputs, engine.outputs, engine.label, engine.streams))
            answers.append(engine.run({"picture": pictures(3)}))
    assert told[0] == told[1]
    assert all((answers[0][name] == answers[1][name]).all() for name in ("map", "mean"))


@pytest.mark.parametrize("what", ["version", "processor", "settings"])
def test_another_library_processor_or_setting_is_another_network(
    cache: CompiledCache, compilations: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    opened(cache)
    if what != "settings":
        monkeypatch.setattr(openvino_engine, what, lambda: "another")
    opened(cache, Settings(shapes=SETTINGS.shapes, threads=1, streams=1) if what == "settings" else SETTINGS)
    assert len(compilations) == 2


@pytest.mark.parametrize("change", ["cut", "one bit", "empty", "moved", "key"])
def test_bytes_that_this_user_did_not_write_are_never_opened(
    cache: CompiledCache, compilations: list[str], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """The library's parser reads a file without looking twice: a changed one must not reach it."""
    opened(cache)
    (path,) = cache._folder.glob("*.compiled")
    data = bytearray(path.read_bytes())
    if change == "one bit":
        data[len(data) // 2] ^= 1
    if change == "key":
        (cache._folder / KEY).write_bytes(b"of somebody else, 32 bytes long.")
    path.write_bytes({"cut": bytes(data[:-1]), "empty": b""}.get(change, bytes(data)))
    if change == "moved":  # a network that this user did compile, in the place of another
        path.rename(path.with_name(f"{'0' * 32}.compiled"))
        monkeypatch.setattr("veilcast.trt_engines.compiled._key", lambda parts: "0" * 32)
    reached: list[str] = []
    monkeypatch.setattr(openvino.Core, "import_model", lambda *_: reached.append("imported"))
    opened(cache)
    assert (len(compilations), reached) == (2, [])


def test_a_changed_file_is_nothing(tmp_path: Path) -> None:
    cache = CompiledCache(tmp_path / "compiled")
    cache.put(("a",), ENTRY)
    (path,) = cache._folder.glob("*.compiled")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    assert cache.get("a") is None


def test_what_the_library_refuses_is_compiled_again(cache: CompiledCache, compilations: list[str]) -> None:
    facts = ("a", "b")
    cache.put(facts, Compiled(("picture", "map", "mean"), b"sealed by this user, and no network"))
    cache_of_rubbish = CompiledCache(cache._folder)
    cache_of_rubbish.get = lambda *_: cache.get(*facts)  # type: ignore[method-assign]
    opened(cache_of_rubbish)
    assert len(compilations) == 1


def test_files_are_this_users_alone(cache: CompiledCache) -> None:
    cache.put(("a",), ENTRY)
    assert cache.get("a") == ENTRY
    assert cache._folder.stat().st_mode & 0o077 == 0
    assert [path.stat().st_mode & 0o777 for path in cache._folder.iterdir()] == [0o600, 0o600]


def test_a_folder_that_others_may_write_is_not_used(cache: CompiledCache) -> None:
    cache.put(("a",), ENTRY)
    cache._folder.chmod(0o777)
    assert cache.get("a") is None
    cache.put(("b",), ENTRY)
    assert len(list(cache._folder.glob("*.compiled"))) == 1


def test_a_cache_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    opened(CompiledCache(tmp_path / "file" / "compiled"))


def test_what_was_not_used_for_longest_gives_way(tmp_path: Path) -> None:
    cache = CompiledCache(tmp_path / "compiled", limit_bytes=300)
    for number, name in enumerate("abc"):
        cache.put((name,), ENTRY)
        for path in cache._folder.glob("*.compiled"):
            if path.stat().st_mtime > 1e6:
                os.utime(path, (number, number))
    assert cache.get("a") == ENTRY  # and is now the newest
    cache.put(("d",), ENTRY)
    cache.put(("large",), Compiled((), bytes(400)))
    assert [name for name in ("a", "b", "c", "d", "large") if cache.get(name)] == ["a", "c", "d"]
