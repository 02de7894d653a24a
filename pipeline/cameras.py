"""Many cameras: each with a keeper and a process of its own. What changes is stopped and started anew, on
its slate; what does not change is not touched."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from veilcast.errors import ConfigError
from veilcast.pipeline.addresses import check_readable
from veilcast.pipeline.generators import Generators
from veilcast.pipeline.keeper import Keeper, OnEvent
from veilcast.pipeline.live_job import Camera
from veilcast.pipeline.recordings import check_new


class Cameras:
    """A context manager: all processes end with it."""

    def __init__(self, on_event: OnEvent = lambda name, facts: None) -> None:
        self._on_event = on_event
        self._keepers: dict[str, Keeper] = {}
        self.generators = Generators()
        self._lock = threading.Lock()

    def apply(self, cameras: Sequence[Camera]) -> None:
        """These and no others. Raises ConfigError where two cameras share a name or an output, OutputExists
        where a recording that is new here would find its name taken, InputMissing where a file that is to be
        played is not there; then nothing has changed."""
        check(cameras)
        with self._lock:
            self._check_files(cameras)
            wanted = {camera.name: self._sharing(camera) for camera in cameras}
            gone = [k for n, k in self._keepers.items() if wanted.get(n) != k.camera]
            self._end(gone)
            self.generators.keep({camera.generator for camera in wanted.values()})
            for name, camera in wanted.items():
                if name not in self._keepers:
                    self._keepers[name] = keeper = Keeper(camera, self._on_event)
                    keeper.start()

    def _check_files(self, cameras: Sequence[Camera]) -> None:
        """What is already being recorded goes on under the next number; what was played may be gone."""
        on_air = [keeper.camera for keeper in self._keepers.values()]
        known = {address for camera in on_air for address in (camera.source, *camera.outputs)}
        for camera in cameras:
            if camera.source not in known:
                check_readable(camera.source)
            for address in camera.outputs:
                if address not in known:
                    check_new(address)

    def _sharing(self, camera: Camera) -> Camera:
        """All that draw faces with the same model ask one process for them."""
        config = camera.config
        if config.cover.replacewith != "synthetic":
            return camera
        from veilcast.pipeline.studio import built_in  # heavy, and most draw no faces

        model = config.synthetic.model or built_in()
        return replace(camera, generator=self.generators.at(model, config.device))

    def status(self) -> list[dict[str, Any]]:
        return [keeper.status() for keeper in list(self._keepers.values())]

    def over(self) -> bool:
        """Whether all have ended: files that were played."""
        return all(keeper.join(0) for keeper in list(self._keepers.values()))

    @property
    def keepers(self) -> tuple[Keeper, ...]:
        return tuple(self._keepers.values())

    def _end(self, gone: Sequence[Keeper]) -> None:
        """All at once: each takes its time to leave."""
        threads = [threading.Thread(target=keeper.stop) for keeper in gone]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for keeper in gone:
            del self._keepers[keeper.camera.name]

    def __enter__(self) -> Cameras:
        return self

    def __exit__(self, *rest: object) -> None:
        with self._lock:
            self._end(list(self._keepers.values()))
            self.generators.close()


def check(cameras: Sequence[Camera]) -> None:
    """Raises ConfigError."""
    names = [camera.name for camera in cameras]
    outputs = [address.reveal() for camera in cameras for address in camera.outputs]
    if len(set(names)) < len(names):
        raise ConfigError("two cameras have the same name; a name is what status and logs know them by")
    if len(set(outputs)) < len(outputs):
        raise ConfigError("two outputs are the same; they would write over each other")
