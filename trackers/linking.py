"""One face, one track: back along weak detections, and across gaps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from veilcast.config import Tracking
from veilcast.trackers import kalman
from veilcast.trackers.absence import shows
from veilcast.trackers.assignment import DOUBT_HEADS, FORBIDDEN, apart_heads, assign, distances
from veilcast.trackers.base import Observation
from veilcast.trackers.life import Hit, Life
from veilcast.types import Face

BACK_HITS = 8  # detections that say how a track moved when it began
BRIDGE_HEADS = 1.2  # how far prediction and new start may lie apart, sizes included


def extend_back(lives: Sequence[Life], observations: Sequence[Observation], settings: Tracking) -> None:
    """Adds to the start of each track the weak detections that led up to it and that the forward pass
    could not use, because no track was there yet. Beyond a look that sees nothing of it only what
    lies near is its own."""
    position = {seen.index: n for n, seen in enumerate(observations)}
    reach = Fraction(settings.lead_s)
    used = {id(hit.face) for life in lives for hit in life.hits}
    for life in lives:
        first = life.hits[0]
        n = position[first.index]
        if observations[n].cut:
            continue
        state, missed = _state_at_start(life), False
        for seen in (observations[m] for m in range(n - 1, -1, -1)):
            if life.hits[0].time - seen.time > reach:
                break
            if seen.faces is not None:
                earlier = kalman.predict(state, float(seen.time - life.hits[0].time))
                face = _nearest(earlier, [face for face in seen.faces if id(face) not in used])
                if face is None:
                    missed = missed or (
                        seen.faint is not None and not shows(seen.faint, kalman.box_of(earlier))
                    )
                elif missed and apart_heads(life.hits[0].face.box, face.box.centre) > DOUBT_HEADS:
                    break
                else:
                    state, missed = kalman.update(earlier, face.box), False
                    life.hits.insert(0, Hit(seen.index, seen.time, face, face.box))
                    life.seen += 1
                    used.add(id(face))
            if seen.cut:
                break


def bridge(lives: Sequence[Life], settings: Tracking) -> list[Life]:
    """Joins each track that ended with the one that began soon after where it would have been, as one
    track under the earlier id. Predicted from both sides, so that two people are not joined because
    one walks to where the other was."""
    costs = np.full((len(lives), len(lives)), FORBIDDEN)
    starts: dict[int, kalman.State] = {}
    for a, b in _neighbours(lives, settings.bridge_s):
        if b not in starts:
            starts[b] = _state_at_start(lives[b])
        costs[a, b] = _gap_cost(lives[a], lives[b], starts[b])
    follower = dict(assign(np.where(costs <= BRIDGE_HEADS, costs, FORBIDDEN)))
    heads = sorted(set(range(len(lives))) - set(follower.values()))
    return [_joined(lives, head, follower) for head in heads]


def _joined(lives: Sequence[Life], head: int, follower: dict[int, int]) -> Life:
    chain = [lives[head]]
    while head in follower:
        head = follower[head]
        chain.append(lives[head])
    hits = [hit for life in chain for hit in life.hits]
    last = chain[-1]
    return Life(chain[0].id, last.segment, hits, last.state, sum(life.seen for life in chain), last.misses)


def _neighbours(lives: Sequence[Life], bridge_s: float) -> list[tuple[int, int]]:
    """Pairs (ended, began) of one segment with a gap of at most `bridge_s` between them."""
    by_start = sorted(range(len(lives)), key=lambda n: lives[n].hits[0].time)
    starts = [float(lives[n].hits[0].time) for n in by_start]
    pairs = []
    for a, life in enumerate(lives):
        end = float(life.last.time)
        low, high = np.searchsorted(starts, [end, end + bridge_s], side="right")
        pairs += [(a, b) for b in by_start[low:high] if lives[b].segment == life.segment]
    return pairs


def _gap_cost(ended: Life, began: Life, start: kalman.State) -> float:
    gap_s = float(began.hits[0].time - ended.last.time)
    forward = kalman.predict(ended.state, gap_s)
    backward = kalman.predict(start, -gap_s)
    there = _distance(forward, began.hits[0].face)
    back = _distance(backward, ended.last.face)
    return (there + back) / 2


def _distance(state: kalman.State, face: Face) -> float:
    return float(distances([(kalman.box_of(state), kalman.spread_px(state))], [face.box])[0, 0])


def _state_at_start(life: Life) -> kalman.State:
    first = life.hits[:BACK_HITS]
    return kalman.smooth([hit.face.box for hit in first], [float(h.time - first[0].time) for h in first])[0]


def _nearest(state: kalman.State, faces: Sequence[Face]) -> Face | None:
    costs = distances([(kalman.box_of(state), kalman.spread_px(state))], [face.box for face in faces])
    pairs = assign(costs)
    return faces[pairs[0][1]] if pairs else None
