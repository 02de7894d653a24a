"""`--replacewith synthetic`: one synthetic person for each real one, frame after frame.

Each face of a window of frames is rendered as its persona, anew or carried from a frame before, and checked.
What comes out are painters for `cover`, which carry and blend; a face without one is covered solid, and every
reason is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import cv2
import numpy as np

from veilcast.arrays import Float32, Float64, UInt8
from veilcast.counters import Counters
from veilcast.diffusion import patch
from veilcast.errors import VeilcastError
from veilcast.pipeline import blend, checks, finish, likeness, tone, warp
from veilcast.pipeline.cover import Painter
from veilcast.pipeline.generate import Guard, Job, Key, Refusal
from veilcast.pipeline.generator_model import PATCH_PX
from veilcast.pipeline.identity import Persona
from veilcast.pipeline.queues import ahead
from veilcast.pipeline.renewal import Appearance, renewed
from veilcast.pipeline.views import Life, Scene, Seen, Veil, View, Viewer, veil, windows
from veilcast.types import Box, Frame, Rgb

REDRAWS = 24  # candidates tried for a persona whose face is still too close to somebody
_YIELD = 0.05  # of the cosine with who was drawn, for each candidate that was passed over
_EVERY_LOOK = 2  # first renderings of a persona that all recognisers see; later ones the first recogniser

Painters = Mapping[int, Painter]
Drawn = Callable[[], Rgb]  # a persona's face in a patch; carrying is done when it is asked for
Coarse = Callable[[UInt8[np.ndarray, "n 128 128 3"]], Float64[np.ndarray, "n 3"]]


class Synthesiser:
    """Owns what is kept of each track; everything else is a function of the window."""

    def __init__(
        self,
        viewer: Viewer,
        guard: Guard,
        recognisers: Sequence[checks.Recogniser],
        coarse: Coarse,
        personas: Mapping[int, Persona],
        counters: Counters,
    ) -> None:
        """`coarse`: what patches say of age, gender and skin."""
        self._viewer, self._guard, self._recognisers = viewer, guard, tuple(recognisers)
        self._coarse = coarse
        self._personas, self._counters = personas, counters
        self._lives: dict[int, Life] = {}
        self.hurry = False  # whether faces are rendered in one step

    def painted(self, scenes: Iterable[Scene]) -> Iterator[tuple[Frame, Painters]]:
        """Each frame with the painters of its faces. Some frames are taken at a time, and looked at in a
        thread of its own while the faces of those before are rendered."""

        def viewed() -> Iterator[tuple[list[Scene], list[Seen]]]:
            for window in windows(scenes):
                yield window, self._views(window)

        with ahead(viewed(), 1) as ready:
            for window, views in ready:
                for (frame, _), painters in zip(window, self._painters(window, views), strict=True):
                    yield frame, painters

    def painters(self, window: Sequence[Scene]) -> list[dict[int, Painter]]:
        """For each frame: its painters by track. Never raises for a face: it has no painter then."""
        return self._painters(window, self._views(window))

    def _views(self, window: Sequence[Scene]) -> list[Seen]:
        try:
            return self._viewer.views(window, self._lives)
        except (VeilcastError, ValueError) as error:
            faces = sum(len(tracks) for _, tracks in window)
            return [Refusal(f"no view: {type(error).__name__}")] * faces

    def _painters(self, window: Sequence[Scene], views: Sequence[Seen]) -> list[dict[int, Painter]]:
        painters: list[dict[int, Painter]] = [{} for _ in window]
        pasted: list[list[Box]] = [[] for _ in window]  # filled as a frame is painted
        for view, drawn in self._rendered([view for view in views if isinstance(view, View)]):
            put_in = partial(_put_in, view=view, drawn=drawn, pasted=pasted[view.place])
            painters[view.place][view.track.id] = put_in
        for seen in views:
            if isinstance(seen, Refusal):
                self._refuse(seen.reason)
            elif isinstance(seen, Veil):  # after the faces, which are compared with what they replace
                face = veil(window[seen.place][0], seen.track)
                painters[seen.place][seen.track.id] = partial(
                    blend.paste_veil, face=face, pasted=pasted[seen.place]
                )
                self._counters.add("faces veiled")
        return painters

    def _rendered(self, views: Sequence[View]) -> Iterator[tuple[View, Drawn]]:
        """Each view with its persona's face, but for those that are refused."""
        known = [view for view in views if view.track.id in self._personas]
        self._refuse("no persona", len(views) - len(known))
        fresh: dict[int, Rgb | Refusal] = {}
        keys = self._key_views(known, fresh)
        while new := [view for view in known if keys[id(view)] is view and id(view) not in fresh]:
            fresh |= self._render(new)
            keys = self._key_views(known, fresh)  # what was to be carried from a refused one needs its own
        for view in known:
            found = fresh.get(id(view))
            if found is not None and not isinstance(found, Refusal):
                sharp = finish.sharpened(self._toned(view, found), view.core, view.steep)
                fresh[id(view)] = finished = finish.coded(sharp)
                life = self._lives[view.track.id]
                # until a track has a rendering, its first one is the one to stand in
                life.rendered = life.rendered or Appearance(view.pose, finished)
        for view in known:
            rendered = self._rendering_for(view, keys[id(view)], fresh)
            if isinstance(rendered, Refusal):
                self._refuse(rendered.reason)
            else:
                yield view, rendered

    def _key_views(self, views: Sequence[View], fresh: Mapping[int, Rgb | Refusal]) -> dict[int, View | None]:
        """For each view: the view of this window to render it from (itself, or one before), or None where the
        rendering of an earlier window may be carried. One that is refused in `fresh` is carried nowhere; of a
        persona that was never shown the rest of the window then goes without, after so many candidates."""
        latest: dict[int, tuple[warp.Pose, View | None]] = {
            track: (life.rendered.pose, None) for track, life in self._lives.items() if life.rendered
        }
        keys: dict[int, View | None] = {}
        for view in views:
            pose, key = latest.get(view.track.id, (None, None))
            if pose is None or not warp.may_carry(pose, view.pose):
                key = view
                refused = isinstance(fresh.get(id(view)), Refusal)
                if not (refused and self._personas[view.track.id].shown):
                    latest[view.track.id] = (view.pose, view)
            keys[id(view)] = key
        return keys

    def _rendering_for(
        self, view: View, key: View | None, fresh: Mapping[int, Rgb | Refusal]
    ) -> Drawn | Refusal:
        life = self._lives[view.track.id]
        if key is view:
            found = fresh[id(view)]
            if isinstance(found, Refusal):
                return self._former(view, life, found)
            life.rendered = renewed(life.rendered, view.pose, found, view.core)
            self._counters.add("faces generated")
            return partial(life.rendered.shown, view.pose.index)
        if life.rendered is None:
            return Refusal("nothing to carry")
        self._counters.add("faces carried")
        return partial(life.rendered.carried, view.pose)

    def _toned(self, view: View, rgb: Rgb) -> Rgb:
        """A rendering as light as its source, or where its skin need not have the source's tone as much
        lighter as the first one was. What it differs by alone is the generator's: it would flash."""
        life = self._lives[view.track.id]
        if life.tone is None:
            own = tone.times(tone.tone_of(rgb, view.core, view.others), view.pose.tone)
            life.tone = own if self._personas[view.track.id].own_tone else np.ones_like(own)
        return tone.toned(rgb, view.core, view.others, life.tone * view.pose.tone, view.spread)

    def _former(self, view: View, life: Life, refusal: Refusal) -> Drawn | Refusal:
        """What the persona last looked like, for a rendering that is too much like somebody. Where it repeats
        what it replaces, what is shown is compared with that once more when it is put in; where its face is
        somebody's, what is carried is looked at as a rendering is."""
        stands_in = refusal.former or refusal.close
        if not stands_in or life.rendered is None or not warp.may_bend(life.rendered.pose, view.pose):
            return refusal
        carried: Rgb | Refusal = life.rendered.carried(view.pose)
        if not refusal.former:
            (carried,) = self._looked_at([view], [carried])
        if isinstance(carried, Refusal):
            return carried
        self._counters.add("faces carried for want of a new one")
        return _as_is(carried)

    def _render(self, views: Sequence[View]) -> dict[int, Rgb | Refusal]:
        """Full renderings. A persona that was never shown and is too close to somebody is drawn again."""
        result: dict[int, Rgb | Refusal] = {}
        waiting = list(views)
        for _ in range(1 + REDRAWS):
            answers = self._accepted(waiting)
            for view, answer in zip(waiting, answers, strict=True):
                result[id(view)] = answer
            waiting = self._redrawn(waiting, answers)
            if not waiting:
                break
        return result

    def _redrawn(self, views: Sequence[View], answers: Sequence[Rgb | Refusal]) -> list[View]:
        """The views to try again, their personas drawn anew."""
        again = [
            view
            for view, answer in zip(views, answers, strict=True)
            if isinstance(answer, Refusal) and answer.close and not self._personas[view.track.id].shown
        ]
        for persona in _distinct(self._personas[view.track.id] for view in again):
            persona.redraw()
            self._counters.add("personas redrawn")
        return again

    def _accepted(self, views: Sequence[View]) -> list[Rgb | Refusal]:
        """What the generator answers, after every check that a single rendering can pass."""
        try:
            told = self._viewer.geometry(views)
        except (VeilcastError, ValueError) as error:
            return [Refusal(f"no expression: {type(error).__name__}")] * len(views)
        jobs = [self._job(view, geometry) for view, geometry in zip(views, told, strict=True)]
        answers = self._guard.render(jobs)
        found = [answers[job.key] for job in jobs]
        changed = [
            rgb if isinstance(rgb, Refusal) else _changed(view, finish.unwoven(rgb))
            for view, rgb in zip(views, found, strict=True)
        ]
        return [
            rgb if isinstance(rgb, Refusal) else _fitted(view, rgb)
            for view, rgb in zip(views, self._looked_at(views, changed), strict=True)
        ]

    def _job(self, view: View, geometry: Float32[np.ndarray, " 61"]) -> Job:
        persona = self._personas[view.track.id]
        key: Key = (view.pose.index, view.track.id, persona.counter)
        identity, noise = persona.identity.embedding, persona.noise()
        veiled = patch.veiled(view.small, view.hidden)
        return Job(key, view.pose.side, veiled, geometry, identity, noise, self.hurry)

    def _looked_at(self, views: Sequence[View], found: Sequence[Rgb | Refusal]) -> list[Rgb | Refusal]:
        """What the recognisers say; nothing may be shown where they cannot be asked."""
        try:
            return self._recognised(views, found)
        except (VeilcastError, ValueError) as error:
            return [Refusal(f"check failed: {type(error).__name__}")] * len(views)

    def _recognised(self, views: Sequence[View], found: Sequence[Rgb | Refusal]) -> list[Rgb | Refusal]:
        """Those with a face in the right place that is neither a real person nor another persona."""
        shown = [(view, rgb) for view, rgb in zip(views, found, strict=True) if not isinstance(rgb, Refusal)]
        meshes = checks.find_face(
            self._viewer.meshes, [rgb for _, rgb in shown], [view.pose.mesh for view, _ in shown]
        )
        second = iter(
            mesh if isinstance(mesh, Refusal) else self._who(view, rgb, mesh.points)
            for (view, rgb), mesh in zip(shown, meshes, strict=True)
        )
        return [rgb if isinstance(rgb, Refusal) else next(second) for rgb in found]

    def _who(self, view: View, rgb: Rgb, mesh: Float64[np.ndarray, "478 3"]) -> Rgb | Refusal:
        persona = self._personas[view.track.id]
        others = [p for p in _distinct(self._personas.values()) if p is not persona]
        looks = self._recognisers if persona.shown < _EVERY_LOOK else self._recognisers[:1]
        edge = 0.0 if persona.shown or persona.known else checks.EDGE
        seen = []
        for number, recogniser in enumerate(looks):
            embedding = recogniser.centred([recogniser.chip(rgb, mesh)])[0]
            if not number and not persona.shown and not self._as_drawn(view, rgb, embedding):
                return Refusal("not the person drawn", close=True)
            real = _stacked([p.source[number] for p in others], len(embedding))
            anchors = _stacked([p.anchor[number] for p in others if p.anchor], len(embedding))
            own = persona.anchor[number] if persona.anchor else None
            refusal = checks.who(embedding, recogniser, persona.source[number], real, own, anchors, edge)
            if refusal:
                return refusal
            seen.append(embedding)
        persona.accept(seen)  # at once: the next face of this batch must not be the same
        return rgb

    def _as_drawn(self, view: View, rgb: Rgb, embedding: Float64[np.ndarray, " d"]) -> bool:
        """Whether a persona's first rendering shows who was drawn, as the first recogniser sees it; the more
        candidates were passed over, the less is asked for: small and turned faces show nobody well."""
        persona = self._personas[view.track.id]
        least = self._recognisers[0].as_drawn - _YIELD * persona.counter
        likeness = float(embedding @ persona.identity.embedding)
        return persona.will_do(self._coarse(_as_seen(view, rgb)[None])[0], likeness >= least)

    def _refuse(self, reason: str, faces: int = 1) -> None:
        if faces:
            self._counters.add(f"faces covered solid: {reason}", faces)


def _as_seen(view: View, rgb: Rgb) -> Rgb:
    """A rendering as it will look in its frame, in the size of a patch."""
    face = _blended(view, _fitted(view, rgb))
    weight = face.mask[:, :, None]
    seen = (weight * face.rgb + (1 - weight) * view.context).astype(np.uint8)
    small: Rgb = cv2.resize(seen, (PATCH_PX, PATCH_PX), interpolation=cv2.INTER_AREA)
    return small


def _fitted(view: View, rgb: Rgb) -> Rgb:
    """A rendering in the colours around it, from which on it is carried."""
    return blend.fitted(rgb, view.context, view.core, view.others)


def _changed(view: View, rgb: Rgb) -> Rgb | Refusal:
    """The rendering, where it is another face than the source's once its light is not."""
    if view.like(likeness.relit(rgb, view.core, view.like)).shown:
        return Refusal("too much like the source", close=True, former=True)
    return rgb


def _distinct(personas: Iterable[Persona]) -> list[Persona]:
    return list({id(persona): persona for persona in personas}.values())


def _stacked(vectors: Sequence[np.ndarray], size: int) -> np.ndarray:
    return np.stack(vectors) if vectors else np.zeros((0, size))


def _as_is(rgb: Rgb) -> Drawn:
    return lambda: rgb


def _put_in(frame: Frame, view: View, drawn: Drawn, pasted: list[Box]) -> None:
    """What a painter does, in the thread that covers: meanwhile the next faces are rendered. Only what was
    put in is `pasted`."""
    blend.paste(frame, _blended(view, drawn()))
    pasted.append(view.track.box)


def _blended(view: View, rgb: Rgb) -> blend.Synthetic:
    """The face as it goes into its frame."""
    sharp = finish.sharpened(rgb, view.core, view.steep)
    relit = likeness.relit(sharp, view.core, view.like)
    mask = blend.feathered(view.core)
    return blend.Synthetic(view.track.id, view.track.box, relit, view.to_patch, mask)
