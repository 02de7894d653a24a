"""Everything that `--replacewith synthetic` needs, opened together: the generator's folder, the networks
that look, the key. Two passes over a stream: `meet` its people, then have them `painted`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

import veilcast.diffusion
from veilcast.config import Synthetic
from veilcast.counters import Counters
from veilcast.diffusion.draw import ScopeKey, draw
from veilcast.errors import ConfigError, EngineError
from veilcast.pipeline import checks
from veilcast.pipeline.generate import Generator, Guard
from veilcast.pipeline.generator_model import GeneratorModel
from veilcast.pipeline.identity import NOBODY_KNOWN, Persona, Source, cast, people
from veilcast.pipeline.landmarks import MeshFinder
from veilcast.pipeline.plan import Plan
from veilcast.pipeline.policy import Policy, parse_policy
from veilcast.pipeline.report import DIGITAL_SOURCE_TYPE
from veilcast.pipeline.survey import Observer, survey
from veilcast.pipeline.synthetic import Painters, Synthesiser
from veilcast.pipeline.views import MOVING_CLOSEUP_PX, STILL_CLOSEUP_PX, Scene, Viewer
from veilcast.trt_engines.engine import Engine
from veilcast.trt_engines.models import ModelFile, Models
from veilcast.trt_engines.open import open_engine, open_together
from veilcast.types import Frame, Track

BUILT_IN = "small"
ROLES = ("landmarks478", "dlib", "faceres")  # third-party weights that faces are looked at with

Open = Callable[[ModelFile], Engine]


def built_in() -> Path:
    """The folder of the generator that comes with the package."""
    return Path(next(iter(veilcast.diffusion.__path__))) / BUILT_IN


def read_key(settings: Synthetic) -> ScopeKey:
    """The secret that identities are drawn with: of a file, of a test's seed, or a new one for this run.

    Raises ConfigError for a file that cannot be read or is shorter than 32 bytes.
    """
    if settings.identity_key_file is None:
        return ScopeKey.random() if settings.seed is None else ScopeKey.unsafe_from_seed(settings.seed)
    path = settings.identity_key_file
    if settings.seed is not None:
        raise ConfigError("--seed and --identity-key-file exclude each other; leave out --seed")
    try:
        return ScopeKey(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"cannot read the identity key {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigError(
            f"the identity key {path} is shorter than 32 bytes; make one with `head -c 32 /dev/urandom`"
        ) from None


class Studio:
    """A context manager. Raises ModelMissing, ModelCorrupt, EngineError, ConfigError when it is opened,
    before any work."""

    def __init__(
        self,
        settings: Synthetic,
        models: Models,
        open_network: Open = open_engine,
        patience_s: float = 30.0,
        shared: Path | int | None = None,
    ) -> None:
        """`patience_s`: how long the generator may take to answer, once. `shared`: the socket of one that
        renders for others too, by its name or as a file descriptor."""
        self._patience_s = patience_s
        self._key = read_key(settings)
        self._policy: Policy = parse_policy(settings.attributes)
        self._counters = Counters()
        self._people: dict[int, Persona] = {}
        self._stream: Synthesiser | None = None
        model = settings.model or built_in()
        with ExitStack() as stack:
            self._model = stack.enter_context(GeneratorModel(model, open_network, shared))
            wanted = [models.file(role) for role in ROLES]
            meshes, dlib, faceres = open_together(wanted, open_network, stack)
            self._meshes = MeshFinder(meshes)
            self._recognisers = (
                checks.dlib(dlib, self._model.constants.identity_mean),
                checks.faceres(faceres),
            )
            self._observer = Observer(self._meshes, self._recognisers, self._model)
            self._guard = self._guarded(self._model.generator)
            stack.callback(self._guard.close)
            self._stack = stack.pop_all()

    def _guarded(self, generator: Generator) -> Guard:
        return Guard(generator, self._patience_s)

    def meet(self, frames: Iterable[Frame], plan: Plan, nonce: bytes) -> None:
        """Looks at the people of a whole file and issues their personas. `nonce` names the file: with the
        same key, another nonce gives other people."""
        self._people = self._issued(survey(frames, plan, self._observer), nonce)

    def painted(self, scenes: Iterable[Scene]) -> Iterator[tuple[Frame, Painters]]:
        """Each frame of the same file with the painters of its faces, for `cover`."""
        return self._synthesiser(self._people).painted(scenes)

    def still(
        self, frame: Frame, tracks: Sequence[Track], nonce: bytes, candidate: int | None = None
    ) -> tuple[Painters, int | None]:
        """The painters of one picture whose tracks are all different people; what was met before is not
        touched. `candidate`: the one that the first track's person has in other pictures. Gives the one that
        it has in this picture; None where it has no face here. Raises EngineError."""
        lifetimes = {track.id: (frame.index, frame.index) for track in tracks}
        met = self._observer.sources(self._observer.look(frame, tracks), lifetimes)
        main = tracks[0].id if tracks else -1
        people = self._issued(met, nonce, {} if candidate is None else {main: candidate})
        drawn = self._synthesiser(people, STILL_CLOSEUP_PX)
        painters = drawn.painters([(frame, tuple(tracks))])[0]
        shown = main in painters and main in people
        return painters, people[main].identity.number if shown else None

    # -- streams, whose people are met one by one

    @property
    def known(self) -> Collection[int]:
        """The tracks that have a persona."""
        return self._people.keys()

    def forget(self, keep: Collection[int] = ()) -> None:
        """The people of all tracks but these."""
        self._people = {track: self._people[track] for track in keep if track in self._people}
        self._stream = None  # it reads the people that were; the next frame makes another

    def meet_one(self, frame: Frame, track: Track, nonce: bytes) -> None:
        """Issues a persona to a track that is seen well in this frame, away from everybody that is known.
        Raises EngineError."""
        met = self._observer.sources(
            self._observer.look(frame, [track]), {track.id: (frame.index, frame.index)}
        )
        for source in met:
            others = list(self._people.values())
            avoid = [source.embeddings[0], *(p.source[0] for p in others)]
            avoid += [p.identity.embedding for p in others]
            space, shape = self._model.space(), self._model.latent_shape
            draws = draw(
                self._key, nonce, source.track, space, np.stack(avoid), self._policy.misfit(source.coarse)
            )
            misdrawn = self._policy.misdrawn(source.coarse)
            own_tone = self._policy.own_tone
            self._people[track.id] = Persona([source], draws, shape, misdrawn=misdrawn, own_tone=own_tone)
            self._counters.add("personas issued")

    def next_painters(self, frame: Frame, tracks: Sequence[Track], hurry: bool = False) -> Painters:
        """The painters of the stream's next frame. `hurry`: in one step, however many the model takes. Raises
        EngineError where the generator is lost."""
        if self._guard.lost:
            raise EngineError("the generator hangs")
        if self._stream is None:
            self._stream = self._synthesiser(self._people)
        self._stream.hurry = hurry
        return self._stream.painters([(frame, tuple(tracks))])[0]

    def _issued(
        self, found: Sequence[Source], nonce: bytes, known: Mapping[int, int] = NOBODY_KNOWN
    ) -> dict[int, Persona]:
        groups = people(found, [recogniser.same_person for recogniser in self._recognisers])
        self._counters.add("personas issued", len(groups))
        self._counters.add("tracks linked", len(found) - len(groups))
        space, shape = self._model.space(), self._model.latent_shape
        return cast(groups, space, self._key, nonce, self._policy, shape, known)

    def _synthesiser(
        self, personas: Mapping[int, Persona], closeup_px: float = MOVING_CLOSEUP_PX
    ) -> Synthesiser:
        mean_mesh, sides = self._model.constants.mean_mesh, self._model.sides
        viewer = Viewer(self._meshes, self._model.expression, mean_mesh, sides, closeup_px)
        model = self._model
        return Synthesiser(viewer, self._guard, self._recognisers, model.coarse, personas, self._counters)

    def told(self) -> dict[str, Any]:
        """For the report: what made the faces, on what terms, and what became of them. Says pseudonymised:
        a persona is the same one all through its file."""
        manifest = self._model.manifest
        return {
            "model": manifest.name,
            "terms": manifest.licence,
            "digital_source_type": DIGITAL_SOURCE_TYPE,
            "identities": "pseudonymised within this file",
            "counts": self._counters.snapshot(),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._people = {}
        self._stack.close()
