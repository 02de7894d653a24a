"""How a session connects to its camera: what is remote and speaks TCP through a relay that watches over
the peer, everything else directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from veilcast.config import Config
from veilcast.errors import StreamLost
from veilcast.pipeline.addresses import Address
from veilcast.pipeline.clocks import Clock
from veilcast.pipeline.feed import Connect
from veilcast.pipeline.receive import Receiver, Sound
from veilcast.pipeline.relay import Relay, permitted

Connecting = Callable[[Clock, float, Callable[[Sound], None] | None], Connect]


def connecting(source: Address, config: Config) -> Connecting:
    """Raises ConfigError for hosts to allow that make no sense."""
    permitted(source, config.live.allow_hosts)

    def connect(clock: Clock, start_s: float, on_sound: Callable[[Sound], None] | None) -> Connect:
        @contextmanager
        def receiver(first: int) -> Iterator[Receiver]:
            given = (source, config.live, config.limits, clock, start_s, first)
            if not source.is_remote or source.kind == "udp":
                with Receiver(*given, on_sound=on_sound) as opened:
                    yield opened
                return
            with Relay(source, config.live) as relay:
                try:
                    with Receiver(*given, relay.via, on_sound, relay.proxy) as opened:
                        yield opened
                except StreamLost:
                    if relay.trouble:  # what the relay knows is nearer to the cause
                        raise StreamLost(relay.trouble) from None
                    raise

        return receiver

    return connect
