"""Whatever a generator does wrong, the face is covered solid: never the source, never another's face."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.pipeline.synthetic_world import (
    Honest,
    World,
    as_image,
    embed,
    frame,
    mesh,
    person_of,
    recogniser,
    texture,
    track,
    world,
)

from veilcast.config import Cover
from veilcast.diffusion import patch
from veilcast.errors import EngineError
from veilcast.pipeline import blend, checks, finish, generate, synthetic, tone, warp
from veilcast.pipeline.align import similarity
from veilcast.pipeline.cover import Refused, cover, is_solid, regions
from veilcast.pipeline.generate import Generator, Job, Refusal, Rendering
from veilcast.pipeline.identity import TRIES
from veilcast.pipeline.likeness import Lens, Likeness, compare
from veilcast.pipeline.pixels import crop_to_rgb
from veilcast.pipeline.synthetic import Drawn, Synthesiser
from veilcast.pipeline.views import Life, Scene, View
from veilcast.types import Box, Frame, Rgb, Track

SETTINGS = Cover()
CORE = patch.mask(mesh(128), 128)


def clip(frames: int = 3, tracks: Sequence[int] = (1, 2)) -> list[Scene]:
    return [
        (frame(index, [track(n, dx=index) for n in tracks]), tuple(track(n, dx=index) for n in tracks))
        for index in range(frames)
    ]


def show(stream: World, scenes: Sequence[Scene]) -> list[Frame]:
    """The frames as they would reach the encoder."""
    shown = []
    tracks = {f.index: found for f, found in scenes}
    for after, painters in stream.synthesiser.painted(scenes):
        cover(after, regions(tracks[after.index], (), after.displayed_size, SETTINGS), SETTINGS, painters)
        shown.append(after)
    stream.guard.close()
    return shown


def solid(shown: Frame, face: Track) -> bool:
    return is_solid(shown, regions([face], (), shown.displayed_size, SETTINGS))


def likeness(shown: Frame, face: Track, person: int) -> float:
    """Of what is shown in the place of a face to a person's own face."""
    points = face.landmarks
    assert points is not None
    affine = synthetic_patch(points)
    seen = crop_to_rgb(shown, affine, 128)
    return compare(Lens(CORE)(seen), Lens(CORE)(texture(person, 128))).luma


def synthetic_patch(points: np.ndarray) -> np.ndarray:
    return similarity(points, patch.TEMPLATE * 128)


def assert_safe(stream: World, scenes: Sequence[Scene], nobody_but: int = 0) -> None:
    """Every face is solid, but for those of one track."""
    for shown, (_, tracks) in zip(show(stream, scenes), scenes, strict=True):
        for face in tracks:
            assert solid(shown, face) or face.id == nobody_but


# the generator as it should be


def test_every_face_becomes_its_persona_in_every_frame() -> None:
    stream, scenes = world(Honest()), clip(11)
    for shown, (_, tracks) in zip(show(stream, scenes), scenes, strict=True):
        for face in tracks:
            persona = person_of(stream.personas[face.id].identity.embedding)
            assert not solid(shown, face)
            assert likeness(shown, face, persona) > 0.85
            assert likeness(shown, face, face.id) < 0.6
    counts = stream.counters.snapshot()
    assert counts["faces generated"] + counts["faces carried"] == 22
    assert not [name for name in counts if "solid" in name]


def turned(number: int) -> Track:
    """A head whose box has more to hide on one side than its mesh spans."""
    seen = track(number)
    box = replace(seen.box, x1=seen.box.x1 + 0.35 * seen.box.width)
    return replace(seen, box=box)


def test_a_turned_head_is_hidden_whole_and_still_becomes_its_persona() -> None:
    scenes: list[Scene] = [(frame(0, [track(1)]), (turned(1),))]
    stream = world(Honest())
    (shown,) = show(stream, scenes)
    assert not solid(shown, turned(1))
    assert likeness(shown, turned(1), person_of(stream.personas[1].identity.embedding)) > 0.85


def test_a_still_face_is_rendered_once_and_carried() -> None:
    stream = world(Honest())
    still = [(frame(index, [track(1)]), (track(1),)) for index in range(20)]
    show(stream, still)
    assert stream.counters.snapshot()["faces generated"] == 1
    assert stream.counters.snapshot()["faces carried"] == 19


FACE = slice(120, 200), slice(70, 130)  # of the first track


def lightness(shown: Sequence[Frame]) -> np.ndarray:
    """Of each frame's first face, levels."""
    return np.array([np.mean([plane[FACE] for plane in seen.planes]) for seen in shown])


def test_what_comes_beside_a_head_leaves_a_carried_face_as_light_as_it_was() -> None:
    still = [(frame(index, [track(1)]), (track(1),)) for index in range(8)]
    for seen, _ in still[4:]:
        for plane in seen.planes:
            plane[:, 150:] = 20
    stream = world(Honest())
    light = lightness(show(stream, still))
    assert stream.counters.snapshot()["faces generated"] == 1
    assert np.ptp(light) < 2


class Brightening(Honest):
    """Draws the same face lighter from the second rendering on, for no reason."""

    def image(self, job: Job) -> np.ndarray:
        return np.asarray(super().image(job) + (0.12 * CORE if job.key[0] else 0), np.float32)


@pytest.mark.parametrize("own_tone", [False, True])
def test_a_face_does_not_flash_where_it_is_rendered_anew(own_tone: bool) -> None:
    still = [(frame(index, [track(1)]), (track(1),)) for index in range(warp.MAX_AGE + 4)]
    stream = world(Brightening())
    stream.personas[1].own_tone = own_tone
    light = lightness(show(stream, still))
    assert stream.counters.snapshot()["faces generated"] == 2
    assert np.abs(np.diff(light)).max() < 4  # of 15


def test_a_face_has_the_tone_of_its_source_unless_its_skin_may_differ() -> None:
    def too_light(image: np.ndarray) -> np.ndarray:
        return np.asarray(image + 0.15 * CORE, np.float32)

    def lighter(own_tone: bool) -> float:
        stream, (source,) = world(each(too_light)), clip(1, (1,))
        stream.personas[1].own_tone = own_tone
        points = source[1][0].landmarks
        assert points is not None
        shown, hidden = (
            tone.tone_of(crop_to_rgb(seen, synthetic_patch(points), 128), CORE, np.zeros_like(CORE)).mean()
            for seen in (*show(stream, clip(1, (1,))), source[0])
        )
        return float(shown - hidden)

    assert abs(lighter(False)) < 3
    assert abs(lighter(True)) > 8


def test_what_no_coder_keeps_is_not_shown() -> None:
    def woven(image: np.ndarray) -> np.ndarray:
        return np.asarray(image + 3 / 127.5 * (1 - 2 * (np.indices(image.shape[1:]).sum(0) % 2)), np.float32)

    plain, shown = (show(world(g), clip(1, (1,)))[0].planes[0].astype(int) for g in (Honest(), each(woven)))
    face = slice(130, 190), slice(70, 130)
    assert np.abs(shown - plain)[face].mean() < 1


def test_surroundings_stay_to_the_last_sample() -> None:
    scenes = clip(2)
    before = [[plane.copy() for plane in f.planes] for f, _ in scenes]
    for shown, planes in zip(show(world(Honest()), scenes), before, strict=True):
        for plane, old in zip(shown.planes, planes, strict=True):
            assert np.array_equal(plane[:60], old[:60])
            assert np.array_equal(plane[260:], old[260:])


def test_the_generator_never_sees_the_face_that_it_replaces() -> None:
    """Two sources that differ under the mask alone, by detail finer than a few average colours, are one to
    the generator."""
    asked: list[list[Job]] = []

    class Spy(Honest):
        def generate(self, jobs: Sequence[Job]) -> Sequence[Rendering]:
            asked.append(list(jobs))
            return super().generate(jobs)

    for fine in (1, -1):
        scenes = clip(1, (1,))
        x, y = (int(v) for v in track(1).box.centre)
        spot = fine * 60 * (np.indices((32, 32)).sum(0) % 2 * 2 - 1)
        for plane in scenes[0][0].planes:
            plane[y - 16 : y + 16, x - 16 : x + 16] = 120 + spot
        show(world(Spy()), scenes)
    a, b = asked[0][0], asked[1][0]
    assert np.abs(a.veiled - b.veiled).max() < 0.02
    assert np.array_equal(a.geometry, b.geometry)


# generators that fail, one way each


class Broken(Honest):
    """Honest but for `change`, a function of the jobs and their right answers."""

    def __init__(self, change: Callable[[Sequence[Job], list[Rendering]], object]) -> None:
        self._change = change

    def generate(self, jobs: Sequence[Job]) -> Sequence[Rendering]:
        return self._change(jobs, list(super().generate(jobs)))  # type: ignore[return-value]


def each(change: Callable[[np.ndarray], np.ndarray]) -> Broken:
    return Broken(lambda jobs, right: [replace(r, image=change(r.image)) for r in right])


def source_of(number: int, side: int) -> np.ndarray:
    return as_image(texture(number, side))


def hangs(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
    time.sleep(30)
    return right


def fails(error: BaseException) -> Broken:
    def change(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        raise error

    return Broken(change)


def noisy(image: np.ndarray) -> np.ndarray:
    return (image + np.random.default_rng(0).normal(0, 0.05, image.shape)).astype(np.float32)


def with_pixel(value: float) -> Broken:
    def change(image: np.ndarray) -> np.ndarray:
        image = image.copy()
        image[1, 3, 3] = value
        return image

    return each(change)


def elsewhere(image: np.ndarray) -> np.ndarray:
    """The world's mesh network finds the face of a red picture to the side."""
    return np.clip(image + np.array([0.6, -0.3, -0.6], np.float32)[:, None, None], -1, 1)


FAILURES: dict[str, Callable[[], Generator]] = {
    "returns the source": lambda: Broken(
        lambda jobs, right: [Rendering(j.key, noisy(source_of(j.key[1], j.side))) for j in jobs]
    ),
    "returns the source brighter": lambda: Broken(
        lambda jobs, right: [Rendering(j.key, 0.5 * noisy(source_of(j.key[1], j.side)) + 0.3) for j in jobs]
    ),
    "a pixel is not a number": lambda: with_pixel(np.nan),
    "a pixel is infinite": lambda: with_pixel(np.inf),
    "a pixel is no colour": lambda: with_pixel(1e4),
    "nothing but one colour": lambda: each(lambda image: np.full_like(image, 0.2)),
    "nothing but faint noise": lambda: each(lambda image: 0.002 * image),
    "short batch": lambda: Broken(lambda jobs, right: right[:-1] if len(right) > 9 else []),
    "empty batch": lambda: Broken(lambda jobs, right: []),
    "answers twice": lambda: Broken(lambda jobs, right: right + right[:1]),
    "answers for somebody who did not ask": lambda: Broken(
        lambda jobs, right: [*right, Rendering((9, 9, 9), right[0].image)]
    ),
    "answers without a key": lambda: Broken(lambda jobs, right: [r.image for r in right]),
    "wrong size": lambda: each(lambda image: image[:, :64, :64]),
    "channels last": lambda: each(lambda image: np.ascontiguousarray(image.transpose(1, 2, 0))),
    "wrong type": lambda: each(lambda image: (image * 127).astype(np.int8)),
    "no picture at all": lambda: Broken(lambda jobs, right: [Rendering(j.key, None) for j in jobs]),  # type: ignore[arg-type]
    "no list": lambda: Broken(lambda jobs, right: None),
    "one face for everybody": lambda: Broken(
        lambda jobs, right: [Rendering(j.key, as_image(texture(77, j.side))) for j in jobs]
    ),
    "one face for everybody, a little different": lambda: Broken(
        lambda jobs, right: [
            Rendering(j.key, as_image(texture(77, j.side)) + np.float32(0.001 * n))
            for n, j in enumerate(jobs)
        ]
    ),
    "no face": lambda: each(lambda image: 0.08 * image),
    "face elsewhere": lambda: each(elsewhere),
    "raises": lambda: fails(RuntimeError("the device is gone")),
    "engine error": lambda: fails(EngineError("no backend")),
    "out of memory": lambda: fails(MemoryError()),
    "ends the process": lambda: fails(SystemExit(3)),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_generator_that_fails_leaves_solid_covers(name: str) -> None:
    stream = world(FAILURES[name]())
    shared = name == "one face for everybody, a little different"  # the first may have it, nobody else
    assert_safe(stream, clip(), nobody_but=1 if shared else 0)
    counts = stream.counters.snapshot()
    assert sum(count for reason, count in counts.items() if "solid" in reason) == 3 if shared else 6


def test_without_an_expression_there_are_solid_covers() -> None:
    def lost(meshes: np.ndarray) -> np.ndarray:
        raise EngineError("the network is gone")

    stream = world(Honest(), expression=lost)
    assert_safe(stream, clip())
    told = stream.counters.snapshot()
    assert (
        told["faces covered solid: no expression: EngineError"] == 2
    )  # of each track the first; none is carried
    assert told["faces covered solid: nothing to carry"] == 4


def test_a_generator_that_hangs_leaves_solid_covers_in_time_and_is_never_asked_again() -> None:
    stream = world(Broken(hangs), timeout_s=0.3)
    began = time.monotonic()
    assert_safe(stream, clip(20))
    assert time.monotonic() - began < 10
    assert stream.guard.lost


def test_a_rendering_of_an_earlier_window_is_stale() -> None:
    kept: list[np.ndarray] = []

    def freezes(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        kept.append(right[0].image)
        return [replace(right[0], image=kept[0])]

    stream, scenes = world(Broken(freezes)), clip(40, (1,))
    shown = [frame_ for scene in scenes[:: warp.MAX_AGE + 1] for frame_ in show_open(stream, [scene])]
    stream.guard.close()
    assert not solid(shown[0], scenes[0][1][0])
    assert solid(shown[1], scenes[warp.MAX_AGE + 1][1][0])
    assert stream.counters.snapshot()["faces covered solid: stale"] == 1


def test_an_answer_that_comes_late_is_not_taken_for_the_next_one() -> None:
    def late(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        time.sleep(0.6)
        return right

    stream = world(Broken(late), timeout_s=0.2)
    scenes = clip(20)
    assert_safe(stream, scenes[:8])
    time.sleep(0.6)
    assert_safe(stream, scenes[8:])


def test_faces_with_swapped_keys_never_go_to_two_people() -> None:
    """Once both personas have been shown, a swap of their pictures is noticed: what each looked like before
    stands in for a while."""
    calls = []

    def swaps(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        calls.append(len(jobs))
        images = [r.image for r in right]
        return (
            [replace(r, image=i) for r, i in zip(right, images[::-1], strict=True)]
            if len(calls) > 1
            else right
        )

    stream = world(Broken(swaps))
    turning = [(f, tuple(replace(t) for t in tracks)) for f, tracks in clip(60)[:: warp.MAX_AGE + 1]]
    first, *rest = turning
    shown = [frame_ for scene in ([first], rest) for frame_ in show_open(stream, scene)]
    stream.guard.close()
    assert not any(solid(shown[0], face) for face in first[1])
    drawn = {number: person_of(p.identity.embedding) for number, p in stream.personas.items()}
    own, none = shown[1], shown[2:]
    for face in rest[0][1]:
        likenesses = {number: likeness(own, face, person) for number, person in drawn.items()}
        assert likenesses.pop(face.id) > 0.85
        assert max(likenesses.values()) < 0.6
    assert len(none) == 1
    assert all(solid(none[0], face) for face in rest[1][1])
    assert stream.counters.snapshot()["faces covered solid: another persona"] == 2


def show_open(stream: World, scenes: Sequence[Scene]) -> list[Frame]:
    """`show` without closing the stream."""
    shown = []
    for (after, painters), (_, tracks) in zip(stream.synthesiser.painted(scenes), scenes, strict=True):
        cover(after, regions(tracks, (), after.displayed_size, SETTINGS), SETTINGS, painters)
        shown.append(after)
    return shown


def test_a_face_that_is_refused_does_not_take_those_after_it_along() -> None:
    due = warp.MAX_AGE + 1  # then a still face is rendered anew

    def nothing_then(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        return [replace(r, image=0 * r.image) if r.key[0] == due else r for r in right]

    stream = world(Broken(nothing_then))
    still = [(frame(index, [track(1)]), (track(1),)) for index in range(due + 6)]
    shown = show(stream, still)
    assert [index for index, after in enumerate(shown) if solid(after, track(1))] == [due]


def test_a_rendering_that_repeats_the_source_is_replaced_by_the_one_before_for_a_while() -> None:
    due = warp.MAX_AGE + 1  # then a still face is rendered anew

    def the_source_then(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        own = source_of(1, len(right[0].image[0]))
        return [replace(r, image=own) if r.key[0] >= due else r for r in right]

    stream = world(Broken(the_source_then))
    last = round(warp.BEND * warp.MAX_AGE)
    still = [(frame(index, [track(1)]), (track(1),)) for index in range(last + 4)]
    persona = person_of(stream.personas[1].identity.embedding)
    for index, after in enumerate(show(stream, still)):
        assert solid(after, track(1)) == (index > last)
        if index <= last:
            assert likeness(after, track(1), persona) > 0.85
            assert likeness(after, track(1), 1) < 0.6
    counts = stream.counters.snapshot()
    assert counts["faces carried for want of a new one"] == last - due + 1
    assert counts["faces covered solid: too much like the source"] == 3


@pytest.mark.parametrize("everything", [False, True])
def test_where_a_rendering_has_the_source_s_face_the_one_before_stands_in_if_it_has_not(
    everything: bool,
) -> None:
    """The recogniser alone tells the source: in what is rendered from a frame on, or in whatever it sees."""
    due = warp.MAX_AGE + 1  # then a still face is rendered anew
    now = False

    def pale_then(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        nonlocal now
        now = now or jobs[0].key[0] >= due
        return [replace(r, image=r.image / 2 + 0.4 if r.key[0] >= due else r.image) for r in right]

    def source_in_pale(rgb: np.ndarray) -> dict[str, np.ndarray]:
        found = embed(rgb)["embedding"]
        taken = (rgb.mean((1, 2, 3)) > 150) | (now and everything)
        return {"embedding": np.where(taken[:, None], stream.personas[1].source[0], found)}

    stream = world(Broken(pale_then))
    object.__setattr__(stream.synthesiser._recognisers[0].engine, "function", source_in_pale)
    still = [(frame(index, [track(1)]), (track(1),)) for index in range(due + 8)]
    person = person_of(stream.personas[1].identity.embedding)
    for index, after in enumerate(show(stream, still)):
        assert solid(after, track(1)) == (everything and index >= due)
        assert solid(after, track(1)) or likeness(after, track(1), person) > 0.85
    counts = stream.counters.snapshot()
    assert counts.get("faces carried for want of a new one", 0) == (0 if everything else 8)
    assert counts.get("faces covered solid: too close to its source", 0) == (8 if everything else 0)


def test_where_the_first_rendering_has_the_source_s_face_the_next_one_stands_in() -> None:
    """A persona that was shown in a later frame of the window is not drawn again because of the first."""

    def pale_at_first(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        return [replace(r, image=r.image / 2 + 0.4 if r.key[0] == 0 else r.image) for r in right]

    def source_in_pale(rgb: np.ndarray) -> dict[str, np.ndarray]:
        taken = rgb.mean((1, 2, 3)) > 150
        return {"embedding": np.where(taken[:, None], stream.personas[1].source[0], embed(rgb)["embedding"])}

    stream = world(Broken(pale_at_first))
    object.__setattr__(stream.synthesiser._recognisers[0].engine, "function", source_in_pale)
    growing = [track(1, size=1 if index == 0 else 0.9) for index in range(3)]
    person = person_of(stream.personas[1].identity.embedding)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            warp, "may_carry", lambda rendered, now: False
        )  # each frame has a rendering of its own
        shown = show(stream, [(frame(index, [face]), (face,)) for index, face in enumerate(growing)])
    for after, face in zip(shown, growing, strict=True):
        assert not solid(after, face)
        assert likeness(after, face, person) > 0.85
    assert stream.personas[1].counter == 0
    assert stream.counters.snapshot()["faces carried for want of a new one"] == 1


def test_a_persona_too_close_to_its_source_is_drawn_again() -> None:
    def first_draw_is_the_source(jobs: Sequence[Job], right: list[Rendering]) -> list[Rendering]:
        return [
            r if r.key[2] else replace(r, image=source_of(r.key[1], len(r.image[0]))[:, :, ::-1].copy())
            for r in right
        ]

    # a mirrored source differs in its pixels, so only the recogniser can tell
    def knows_mirrors(rgb: np.ndarray) -> dict[str, np.ndarray]:
        return {"embedding": embed(rgb)["embedding"] + embed(rgb[:, :, :, ::-1])["embedding"]}

    stream = world(Broken(first_draw_is_the_source))
    eye = stream.synthesiser._recognisers[0]
    object.__setattr__(eye.engine, "function", knows_mirrors)
    for number, persona in stream.personas.items():
        from tests.pipeline.synthetic_world import source_of as met

        persona.source = met(number, eye).embeddings
    scenes = clip(2)
    for shown, (_, tracks) in zip(show(stream, scenes), scenes, strict=True):
        assert not any(solid(shown, face) for face in tracks)
    assert {persona.counter for persona in stream.personas.values()} == {1}
    assert stream.counters.snapshot()["personas redrawn"] == 2


@pytest.mark.parametrize(("misread", "candidate"), [(0, 0), (3, 3), (99, TRIES)])
def test_a_persona_that_looks_like_another_gender_is_drawn_again_but_not_for_ever(
    misread: int, candidate: int
) -> None:
    seen = 0

    def masculine_first(patches: np.ndarray) -> np.ndarray:
        nonlocal seen
        seen += 1
        return np.array([[0.4, 0.9 if seen <= misread else 0.3, 0.3]])

    stream = world(Honest(), known=(1,), coarse=masculine_first)
    scenes = clip(3, tracks=(1,))
    for shown, (_, tracks) in zip(show(stream, scenes), scenes, strict=True):
        assert not any(solid(shown, face) for face in tracks)
    assert stream.personas[1].counter == candidate


@pytest.mark.parametrize(("others", "candidate"), [(0, 0), (3, 3), (99, TRIES)])
def test_a_persona_that_comes_out_as_somebody_else_is_drawn_again_but_not_for_ever(
    others: int, candidate: int
) -> None:
    stream = world(Honest(), known=(1,))
    (eye,), persona = stream.synthesiser._recognisers, stream.personas[1]

    def sees(rgb: np.ndarray) -> dict[str, np.ndarray]:
        """Its identity from a candidate on, and its neighbour before."""
        drawn = persona.identity.embedding
        return {"embedding": np.stack([drawn if persona.counter >= others else np.roll(drawn, 1)] * len(rgb))}

    object.__setattr__(eye.engine, "function", sees)
    object.__setattr__(eye, "as_drawn", 0.55)  # and hardly less from the last of the candidates
    scenes = clip(3, tracks=(1,))
    for shown, (_, tracks) in zip(show(stream, scenes), scenes, strict=True):
        assert not any(solid(shown, face) for face in tracks)
    assert persona.counter == candidate


@pytest.mark.parametrize(
    ("cosine", "new", "shown_before"), [(0.5, True, True), (0.58, False, True), (0.61, False, False)]
)
def test_a_persona_that_can_still_be_another_must_be_further_from_its_source(
    cosine: float, new: bool, shown_before: bool
) -> None:
    """Another crop of the same rendering may be a little more like the source."""
    near = recogniser()  # too close from a cosine of .6 on
    source, other = np.eye(2)
    rendered, nobody = cosine * source + np.sqrt(1 - cosine**2) * other, np.zeros((0, 2))
    assert (checks.who(rendered, near, source, nobody, None, nobody, checks.EDGE) is None) == new
    assert (checks.who(rendered, near, source, nobody, None, nobody) is None) == shown_before


@pytest.mark.parametrize("known", [False, True])
def test_a_persona_of_another_picture_stays_where_a_new_one_is_drawn_again(known: bool) -> None:
    """Both are a little further from their sources than they have to be, but not by much."""
    stream = world(Honest(), known=(1,))
    (eye,), persona = stream.synthesiser._recognisers, stream.personas[1]
    drawn = texture(person_of(persona.identity.embedding), 256)
    rendered = eye.centred([eye.chip(drawn, mesh(256))])[0]
    aside = np.roll(rendered, 1) - (np.roll(rendered, 1) @ rendered) * rendered
    between = eye.too_close - checks.EDGE / 2
    persona.source = (between * rendered + np.sqrt(1 - between**2) * aside / np.linalg.norm(aside),)
    persona.known = known
    show(stream, clip(1))
    assert (persona.counter > 0) == (not known)


def test_who_was_never_met_is_covered_solid() -> None:
    stream, scenes = world(Honest(), known=(1,)), clip(2)
    for shown, (_, tracks) in zip(show(stream, scenes), scenes, strict=True):
        assert not solid(shown, tracks[0])
        assert solid(shown, tracks[1])


def test_small_faces_are_veiled_by_a_few_colours() -> None:
    scenes = [(frame(0, [track(1, size=0.2)]), (track(1, size=0.2),))]
    stream = world(Honest())
    (shown,) = show(stream, scenes)
    assert not solid(shown, scenes[0][1][0])
    assert likeness(shown, scenes[0][1][0], 1) < 0.9
    assert stream.counters.snapshot() == {"faces veiled": 1}


def test_what_is_left_out_of_veils_are_faces_that_were_put_in() -> None:
    """Not those that were refused at the last moment: they are covered solid, and veiled till then."""
    scenes = clip(1)
    shown, (one, *_) = scenes[0]
    stream = world(Honest())
    (view,) = stream.synthesiser._views([(shown, (one,))])
    assert isinstance(view, View)
    pasted: list[Box] = []
    with pytest.raises(Refused):
        synthetic._put_in(shown, view, lambda: crop_to_rgb(shown, view.to_patch, view.pose.side), pasted)
    assert pasted == []
    synthetic._put_in(shown, view, lambda: texture(50, view.pose.side), pasted)
    assert pasted == [one.box]


def test_a_face_is_put_in_before_the_veils_of_its_frame() -> None:
    """So that it is compared with the source itself."""
    small, large = track(1, size=0.2), track(2)
    stream = world(Honest())
    (painters,) = stream.synthesiser.painters([(frame(0, [small, large]), (small, large))])
    assert list(painters) == [2, 1]


def test_a_face_that_no_mesh_is_found_in_is_veiled_in_that_frame_alone() -> None:
    scenes = clip(3)
    seen, tracks = scenes[1]
    flat = tuple(np.full_like(plane, 120) for plane in seen.planes)  # something is in front of everybody
    stream = world(Honest())
    shown = show(stream, [scenes[0], (replace(seen, planes=flat), tracks), scenes[2]])
    assert not any(solid(picture, face) for picture in shown for face in tracks)
    counts = stream.counters.snapshot()
    assert counts["faces veiled"] == len(tracks)
    assert counts["faces generated"] + counts.get("faces carried", 0) == 2 * len(tracks)


def test_damaged_frames_have_no_synthetic_faces() -> None:
    shown, tracks = clip(1)[0]
    stream = world(Honest())
    assert [
        painters for _, painters in stream.synthesiser.painted([(replace(shown, damaged=True), tracks)])
    ] == [{}]


def test_fitted_anew_in_every_frame_a_face_would_darken(monkeypatch: pytest.MonkeyPatch) -> None:
    once = synthetic._blended

    def anew(view: View, rgb: Rgb) -> blend.Synthetic:
        return once(view, blend.fitted(rgb, view.context, view.core, view.others))

    monkeypatch.setattr(synthetic, "_blended", anew)
    with pytest.raises(AssertionError):
        test_what_comes_beside_a_head_leaves_a_carried_face_as_light_as_it_was()


def test_in_the_tone_of_each_rendering_a_face_would_flash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tone, "toned", lambda rgb, *rest: rgb)
    for own_tone in (False, True):
        with pytest.raises(AssertionError):
            test_a_face_does_not_flash_where_it_is_rendered_anew(own_tone)
    with pytest.raises(AssertionError):
        test_a_face_has_the_tone_of_its_source_unless_its_skin_may_differ()


def test_without_a_coder_what_none_keeps_would_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finish, "coded", lambda face: face)
    with pytest.raises(AssertionError):
        test_what_no_coder_keeps_is_not_shown()


# each check has a mutant: without it, a failure above shows a face


MUTANTS = [
    (
        "returns the source",
        [
            (synthetic, "_changed", lambda view, rgb: rgb),
            (Likeness, "shown", False),
            (checks, "who", lambda *a: None),
        ],
    ),
    (
        "returns the source brighter",
        [
            (synthetic, "_changed", lambda view, rgb: rgb),
            (Likeness, "shown", False),
            (checks, "who", lambda *a: None),
        ],
    ),
    ("no face", [(checks, "PRESENCE", -1.0)]),
    ("face elsewhere", [(checks, "MISPLACED", 9.0)]),
    ("a pixel is no colour", [(generate, "_RANGE", 1e9)]),
]


@pytest.mark.parametrize(("name", "changes"), MUTANTS)
def test_the_failure_is_noticed_by_its_check_alone(
    name: str, changes: list[tuple[object, str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = world(FAILURES[name]())
    for module, attribute, mutant in changes:
        monkeypatch.setattr(module, attribute, mutant)
    with pytest.raises(AssertionError):
        assert_safe(stream, clip(), nobody_but=1)


def test_without_its_digest_a_stale_rendering_would_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "_digest", lambda image: str(time.monotonic_ns()).encode())
    with pytest.raises(AssertionError):
        test_a_rendering_of_an_earlier_window_is_stale()


def test_unless_it_is_looked_at_what_stands_in_would_show_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    former = Synthesiser._former

    def unlooked(self: Synthesiser, view: View, life: Life, refusal: Refusal) -> Drawn | Refusal:
        return former(self, view, life, replace(refusal, former=refusal.close))

    monkeypatch.setattr(Synthesiser, "_former", unlooked)
    test = test_where_a_rendering_has_the_source_s_face_the_one_before_stands_in_if_it_has_not
    with pytest.raises(AssertionError):
        test(True)
