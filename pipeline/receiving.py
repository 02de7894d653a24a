"""How a session connects to its camera."""

from __future__ import annotations

from collections.abc import Callable

from veilcast.config import Config
from veilcast.pipeline.addresses import Address
from veilcast.pipeline.clocks import Clock
from veilcast.pipeline.feed import Connect
from veilcast.pipeline.receive import Receiver, Sound

Connecting = Callable[[Clock, float, Callable[[Sound], None] | None], Connect]


def connecting(source: Address, config: Config) -> Connecting:
    """A camera that is reached directly."""

    def connect(clock: Clock, start_s: float, on_sound: Callable[[Sound], None] | None) -> Connect:
        return lambda first: Receiver(
            source, config.live, config.limits, clock, start_s, first, on_sound=on_sound
        )

    return connect
