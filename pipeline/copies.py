"""The other tracks of a source on their way into the output: sound, subtitles and fonts, byte by byte, and
without what their container tied to them.

Containers, streams and packets are av's, known here by their attributes alone: this file does not import av.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from veilcast.errors import UnsupportedMedia
from veilcast.pipeline.admission import codec_name
from veilcast.pipeline.containers import holds, starts_at_zero
from veilcast.pipeline.headers import bare_header
from veilcast.pipeline.streams import SourceStream, StreamFate, fate, kept_tags

if TYPE_CHECKING:
    from veilcast.pipeline.decode import Decoder

NO_TEXT = b"\0\0"  # the gap between two subtitles of an mp4, which the muxer fills itself
KEPT_BESIDE = ("skip_samples", "jp_dual_mono", "webvtt_identifier", "webvtt_settings", "mpegts_stream_id")


class Copies:
    """The tracks of an output that are copied. `out`: its container, whose muxer is called `muxer`."""

    def __init__(self, out: Any, muxer: str, decoder: Decoder, keep_audio: bool) -> None:
        self._out, self._muxer, self._decoder, self._keep_audio = out, muxer, decoder, keep_audio
        self._streams: dict[int, Any] = {}  # index in the source -> stream of the output

    @property
    def indices(self) -> frozenset[int]:
        """Of the source's streams that are copied."""
        return frozenset(self._streams)

    def add(self, stream: Any) -> StreamFate:
        """Plans one stream of the source: what becomes of it, and why. Raises UnsupportedMedia for sound that
        cannot come along."""
        names = str(stream.disposition.name).split("|")
        content = stream.data if stream.type == "attachment" else b""
        seen = SourceStream(stream.index, stream.type, codec_name(stream), names, stream.metadata, content)
        main = self._decoder.stream.index
        verdict = fate(seen, main, self._keep_audio)
        if not verdict.kept or stream.index == main:
            return verdict
        if verdict.kind == "audio" and self._decoder.demuxer.is_mute(stream):
            return replace(verdict, kept=False, reason="there is no sound in it")
        try:
            copy = self._copy(stream, verdict)
        except UnsupportedMedia as error:
            if verdict.kind == "audio":
                raise
            return replace(verdict, kept=False, reason=str(error).partition(";")[0])
        copy.metadata.clear()
        copy.metadata.update(kept_tags(stream.metadata))
        copy.disposition = stream.disposition
        self._streams[stream.index] = copy
        return verdict

    def _copy(self, stream: Any, verdict: StreamFate) -> Any:
        """The stream of the output that takes the packets of one of the source. Raises UnsupportedMedia."""
        what = f"{verdict.codec} {'sound' if verdict.kind == 'audio' else verdict.kind}"
        try:
            header = bare_header(verdict.codec, getattr(stream.codec_context, "extradata", None) or b"")
        except ValueError:
            raise UnsupportedMedia(
                f"the header of the {what} holds what cannot be checked; give --audio drop"
            ) from None
        try:
            if not holds(self._muxer, verdict.codec):
                raise ValueError
            copy = self._out.add_stream_from_template(stream)
        except (ValueError, LookupError):  # what av says of a codec or its parameters
            raise UnsupportedMedia(
                f"a {self._muxer} file cannot hold {what}; write to a .mkv or .mp4 file, or give --audio drop"
            ) from None
        if copy.codec_context is not None:
            copy.codec_context.extradata = header or None
        return copy

    def write(self, packets: Iterable[Any]) -> None:
        """Packets of the source's streams that are copied. Raises UnsupportedMedia, and av's errors."""
        for packet in packets:
            if self._begins(packet) and (packet.size > 2 or bytes(packet) != NO_TEXT):
                self._write(alone(packet))

    def _write(self, packet: Any) -> None:
        source, packet.stream = packet.stream, self._streams[packet.stream.index]
        self._out.start_encoding()  # an objection to the file's own header is none to this packet
        try:
            self._out.mux(packet)
        except ValueError:  # av's for an invalid argument, which here is a time
            what, advice = "sound", "give --audio drop"
            if source.type != "audio":
                what, advice = source.type, "take that stream out"
            raise UnsupportedMedia(
                f"{what} of stream {source.index} of {self._decoder.source} does not follow one clock, as "
                f"with several edits, and cannot be copied; {advice}, or join its pieces first"
            ) from None

    def _begins(self, packet: Any) -> bool:
        """Whether a packet belongs into this container: where there is no time before zero, a decoder's
        lead-in that nobody hears stays out, rather than that everything moves to make room for it."""
        if packet.pts is None or packet.pts >= 0:
            return True
        source = self._decoder.container.format.name
        if not starts_at_zero(self._muxer, codec_name(packet.stream), source):
            return True
        heard = packet.pts + (packet.duration or 0) > 0
        packet.pts, packet.dts = 0, 0
        return bool(heard)


def alone(packet: Any) -> Any:
    """A packet of a copied track without what its container tied to it, which can hold anything: a matroska
    file's additions to a block, tags. What is cut off a sound's ends, and where a subtitle stands, stay."""
    sides = list(packet.iter_sidedata())
    kept = [side for side in sides if side.data_type in KEPT_BESIDE]
    if len(kept) == len(sides):
        return packet
    copy = type(packet)(bytes(packet))
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base, copy.stream, copy.is_keyframe = packet.time_base, packet.stream, packet.is_keyframe
    for side in kept:
        copy.set_sidedata(side)
    return copy
