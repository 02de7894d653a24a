"""One look at one frame: what networks see in it at several sizes and, since people lie down and cameras hang
upside down, in the picture turned by quarters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cache, partial
from math import prod

import cv2
import numpy as np

from veilcast.config import Detect
from veilcast.pipeline import tiles
from veilcast.pipeline.detectors.candidates import (
    SAME_INSIDE,
    SAME_IOU,
    Candidates,
    Look,
    joined,
    nothing,
    suppressed,
    surer,
    tempered,
    united,
)
from veilcast.pipeline.detectors.network import NetworkDetector
from veilcast.pipeline.schedule import Pass, in_a_crowd
from veilcast.pipeline.transparency import Shown, ways
from veilcast.types import Frame, Picture, Rgb

MEMORY = 15  # looks at most that tell where small faces may be
LONG_MEMORY = 60  # that tell whether somebody lies, or the camera hangs upside down
# of the weakest detection's score:
SHOWN = 2 / 3  # what is needed to believe that somebody may be there still
FAINT = 0.5  # where the better network has to look
# scores in a turned picture, in which few people are and much that stands looks like one:
HINT = 0.4  # from which on all of it is looked at
LYING = 0.6  # from which on a face may start a track; a weaker one prolongs one at most
SURELY = 0.75  # from which on the picture is turned so in all looks to come

Each = Callable[..., Iterator[Candidates]]
Named = list[tuple[str, Candidates]]  # what passes say, beside the names of their networks
Memory = Callable[[], Candidates]  # what looks before saw; whoever asks waits for them


class Looker:
    """The networks that look at frames, in any order and several at a time."""

    def __init__(self, networks: Mapping[str, NetworkDetector], settings: Detect) -> None:
        self._networks, self._settings = networks, settings

    def look(
        self,
        frame: Frame,
        passes: Sequence[Pass],
        before: Sequence[Future[Look]] = (),
        each: Each = map,
        speaks: bool = True,
        alone: bool = False,
    ) -> Look:
        """`before`: looks that tell where to look; `each`: how passes over all of it are done, one after the
        other or, where no other look is waiting, side by side; `speaks`: also of what may be a face, for
        those who ask whether somebody is gone; `alone`: no look at such a picture comes before or after."""
        size, upright = frame.displayed_size, [step for step in passes if not step.turns]
        # back to the last thorough one but one at least
        lately = before[max(len(before) - min(MEMORY, self._settings.thorough_every + 1), 0) :]
        if _is_crowd(upright, size, lately[:-1]):  # without the last, which this one need not wait for yet
            upright = list(in_a_crowd(upright, size, self._settings.thorough_every))
        memory = cache(lambda: joined([look.result().candidates for look in lately]))
        see = partial(self._found, each=each, alone=alone)
        found = see(frame, upright, memory)
        standing = self._united(found)
        parts = {
            turns: _turned_back(see, frame, turns, upright, memory, hints)
            for turns, hints in self._turns(frame, passes, standing, before).items()
        }
        lying = {turns: surer(self._united(part), standing) for turns, part in parts.items()}
        doubted = (self._doubted(candidates) for candidates in lying.values())
        faces = suppressed(joined([standing, *doubted]), SAME_IOU, SAME_INSIDE)
        seen = joined([candidates for part in (found, *parts.values()) for _, candidates in part])
        return Look(
            tuple(faces.faces("+".join(dict(found)))),
            seen.boxes[seen.scores >= SHOWN * self._settings.weak] if speaks else None,
            seen,
            frozenset(turns for turns, found in lying.items() if (found.scores >= SURELY).any()),
        )

    def _united(self, found: Named) -> Candidates:
        """What all that is said comes to, network by network, without what is weak."""
        weak = self._settings.weak
        sure = [(name, c.take(np.flatnonzero(c.scores >= weak))) for name, c in found]
        return united([joined([c for n, c in sure if n == name]) for name in dict(sure)])

    def _turns(
        self, frame: Frame, passes: Sequence[Pass], standing: Candidates, before: Sequence[Future[Look]]
    ) -> dict[int, Candidates]:
        """How the picture has to be turned for those who lie: as it was for some whom looks before saw, or as
        a glance says that there may be some. With what glances saw, in pixels of the frame."""
        known = {turns: nothing() for look in before for turns in look.result().turns}
        for step in passes:
            if step.turns and step.turns not in known:
                there = turned(frame, step.turns)
                size = there.displayed_size
                seen = joined([self._whole(way, step, size) for way in ways(there)])
                hints = surer(seen.turned(-step.turns, size), standing)
                if (hints.scores >= HINT).any():
                    known[step.turns] = hints
        return dict(sorted(known.items()))

    def _doubted(self, lying: Candidates) -> Candidates:
        """With too low a score to start a track where they are not sure."""
        below = np.minimum(lying.scores, np.float32(0.99 * self._settings.thresh))
        return replace(lying, scores=np.where(lying.scores >= LYING, lying.scores, below))

    def _found(self, frame: Frame, passes: Sequence[Pass], memory: Memory, each: Each, alone: bool) -> Named:
        """What each pass says of a frame, in all the ways in which it can be seen, mostly one."""
        shown = [_from_the_largest(way, passes) if alone else cache(way) for way in ways(frame)]
        return [said for way in shown for said in self._said(way, passes, frame.displayed_size, memory, each)]

    def _said(
        self, shown: Shown, passes: Sequence[Pass], size: tuple[int, int], memory: Memory, each: Each
    ) -> Named:
        # the longest first, so that those that are done side by side end together
        whole = sorted((step for step in passes if not step.near), key=lambda step: -prod(step.size))
        said = dict(zip(whole, each(lambda step: self._whole(shown, step, size), whole), strict=True))
        found = [(step.network, said[step]) for step in passes if step in said]
        for step in passes:
            if step.near:
                known = joined([*(seen for _, seen in found), memory()])
                found.append((step.network, self._near(shown, step, size, known)))
        return found

    def _whole(self, shown: Shown, step: Pass, size: tuple[int, int]) -> Candidates:
        """What a pass says of a frame of displayed `size`, in its pixels."""
        seen = self._seen(step.network, shown(step.size))
        return seen.moved(size[0] / step.size[0], size[1] / step.size[1])

    def _near(self, shown: Shown, step: Pass, size: tuple[int, int], known: Candidates) -> Candidates:
        """The same around what is `known` and small for the pass; of the whole picture on a GPU, where
        nothing is cut up."""
        scale = step.size[0] / size[0], step.size[1] / size[1]
        spots = tiles.small(known.moved(*scale).boxes)
        if not len(spots):
            return nothing()
        drawn = shown(step.size)
        if not isinstance(drawn, np.ndarray):
            return self._whole(shown, step, size)
        parts = [
            tiles.at_home(self._seen(step.network, tiles.cut(drawn, place)), place, step.size)
            for place in tiles.around(spots, step.size)
        ]
        return joined(parts).moved(1 / scale[0], 1 / scale[1])

    def _seen(self, name: str, shown: Rgb | Picture) -> Candidates:
        """What one network says, in pixels of what it is shown, scores on the common scale."""
        network = self._networks[name]
        faint = FAINT * self._settings.weak
        seen = network.candidates(shown, network.kind.own(faint))
        return tempered(replace(seen, scores=network.kind.common(seen.scores)), faint)


def _turned_back(
    see: Callable[..., Named],
    frame: Frame,
    turns: int,
    upright: Sequence[Pass],
    memory: Memory,
    hints: Candidates,
) -> Named:
    """What the passes of an upright look say of the turned picture, in pixels of the frame, as are `hints`:
    what a glance saw there."""
    there, size = turned(frame, turns), frame.displayed_size
    steps = [step.turned(turns) for step in upright]
    found = see(there, steps, lambda: joined([memory(), hints]).turned(turns, size))
    return [(name, seen.turned(-turns, there.displayed_size)) for name, seen in found]


def turned(frame: Frame, quarters: int) -> Frame:
    """The frame as it is displayed where it is turned clockwise besides."""
    turns = (frame.orientation.quarter_turns + quarters) % 4
    return replace(frame, orientation=replace(frame.orientation, quarter_turns=turns))


def _is_crowd(passes: Sequence[Pass], size: tuple[int, int], before: Sequence[Future[Look]]) -> bool:
    """Whether looks before saw so much that is small that the look's parts of the picture are the whole."""
    near = next((step.size for step in passes if step.near), None)
    if near is None or not before:
        return False
    known = joined([look.result().candidates for look in before])
    spots = tiles.small(known.moved(near[0] / size[0], near[1] / size[1]).boxes)
    return tiles.around(spots, near) == [(0, 0, *near)]


def _from_the_largest(way: Shown, passes: Sequence[Pass]) -> Shown:
    """The picture at each size, in less time than each would take: smaller ones are made of the largest."""
    sizes = {p.size for p in passes}
    largest = max(sizes, key=prod)
    shown = way(largest)
    if not isinstance(shown, np.ndarray):
        return cache(way)  # on a GPU, which has its own way
    return {
        s: shown if s == largest else cv2.resize(shown, s, interpolation=cv2.INTER_AREA) for s in sizes
    }.__getitem__
