"""Bad networks for tests: a camera behind a link of its own that loses packets, is narrow, or goes down.

The link is a pair of virtual cards, its far end in a network namespace. A process that waits for the end of
its standard input holds the namespace, so that nothing is left behind, however a test run ends."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.live_media import Server, served

NEEDED = ("ip", "nft", "tc", "unshare", "nsenter")
PATIENCE_S = 20
_LINKS = itertools.count(os.getpid() * 7)  # a card that is gone may keep its name for a moment


@dataclass(frozen=True)
class Link:
    """`host` is the address of the far end, `card` the card there."""

    host: str
    card: str
    holder: int

    def there(self, *words: str) -> list[str]:
        """A command as it is run at the far end."""
        return ["nsenter", "-t", str(self.holder), "-n", *words]

    @contextmanager
    def served(self, units: Path, *options: str) -> Iterator[Server]:
        with served(units, "--address", self.host, *options, before=self.there(), host=self.host) as server:
            yield server

    def lose(self, percent: int) -> None:
        """So many packets of a hundred, each way."""
        _run(*self.there("nft", "add", "table", "inet", "bad"))
        for hook in ("input", "output"):
            chain = f"{{ type filter hook {hook} priority 0; }}"
            _run(*self.there("nft", f"add chain inet bad {hook} {chain}"))
            rule = f"add rule inet bad {hook} numgen random mod 100 < {percent} drop"
            _run(*self.there("nft", rule))

    def narrow(self, kbit: int) -> None:
        """So much a second from there, a quarter of a second of it waiting at most."""
        shape = ("rate", f"{kbit}kbit", "burst", "8kb", "latency", "250ms")
        _run(*self.there("tc", "qdisc", "add", "dev", self.card, "root", "tbf", *shape))

    def up(self, is_up: bool) -> None:
        _run(*self.there("ip", "link", "set", self.card, "up" if is_up else "down"))


@contextmanager
def link() -> Iterator[Link]:
    """Skips, visibly, where the machine does not let a test have one."""
    for tool in NEEDED:
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool}, which bad networks are made with: apt-get install iproute2 nftables")
    number = next(_LINKS) % 16_000
    net = f"10.213.{number >> 6}.{(number & 63) * 4}".rsplit(".", 1)
    ours, theirs = (f"{net[0]}.{int(net[1]) + n}" for n in (1, 2))
    near, far = f"vcn{number}", f"vcf{number}"
    with subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        try:
            assert holder.stdout is not None
            if not holder.stdout.readline():
                pytest.skip("network namespaces cannot be made here: no rights to")
            made = Link(theirs, far, holder.pid)
            peer = ("type", "veth", "peer", "name", far, "netns", str(holder.pid))
            _run("ip", "link", "add", near, *peer)
            _run("ip", "addr", "add", f"{ours}/30", "dev", near)
            _run("ip", "link", "set", near, "up")
            _run(*made.there("ip", "addr", "add", f"{theirs}/30", "dev", far))
            for card in ("lo", far):
                _run(*made.there("ip", "link", "set", card, "up"))
            yield made
        finally:
            holder.kill()  # and with the namespace its card, and with that ours


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if "not permitted" in done.stderr:
        pytest.skip("network cards cannot be made here: no rights to")
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
