"""Everything that can go wrong, with the exit code of each.

VeilcastError                 1
├── ConfigError               3   a setting is unknown, out of range or contradicts another
├── SomeFailed                4   some of several inputs; each was told by itself
├── InputError
│   ├── InputMissing         10   no such file, or not readable
│   ├── NotVideo             11   not media, or media without a video stream
│   ├── UnsupportedMedia     12   a codec, pixel format or container that cannot be carried exactly
│   ├── DamagedMedia         13   decoding it would need guesses
│   ├── InputTooLarge        14   beyond the limits on pixels, rate, streams, duration, bytes
│   └── StreamLost           15   a live stream cannot be reached, or ended; a played file showed nothing
├── OutputError
│   ├── OutputExists         20   and --overwrite was not given; a camera's recording never replaces anything
│   ├── NotWritable          21   folder missing or read-only
│   ├── DiskFull             22
│   └── VerificationFailed   23   what was written does not decode to what was meant
├── ModelError
│   ├── ModelMissing         30   weights not in the cache or folder
│   ├── ModelCorrupt         31   SHA-256 differs
│   └── EngineError          32   no backend could run the network
├── BatchError
│   ├── StoreFailed          24   an object store does not answer, or not with what it has
│   ├── JournalBusy          25   another process runs this job
│   └── Cancelled            26   by `veilcast jobs cancel`, or with the job
├── PrivacyTripped           40   a policy said stop: a lost track, a damaged frame, a broken gate
├── WorkerError
│   ├── WorkerHung           50   killed by its deadline
│   └── WorkerDied           51   killed by a signal or out of memory
└── EvaluationFailed         60   the measurement itself is wrong: its control failed, or the two do not match

Messages are one sentence: what, where, what to do. They never hold a password, a key or a
library's own exception text with a URL in it.
"""

from __future__ import annotations

from typing import ClassVar


class VeilcastError(Exception):
    exit_code: ClassVar[int] = 1


class ConfigError(VeilcastError):
    exit_code = 3


class SomeFailed(VeilcastError):
    exit_code = 4


class InputError(VeilcastError):
    pass


class InputMissing(InputError):
    exit_code = 10


class NotVideo(InputError):
    exit_code = 11


class UnsupportedMedia(InputError):
    exit_code = 12


class DamagedMedia(InputError):
    exit_code = 13


class InputTooLarge(InputError):
    exit_code = 14


class StreamLost(InputError):
    exit_code = 15


class OutputError(VeilcastError):
    pass


class OutputExists(OutputError):
    exit_code = 20


class NotWritable(OutputError):
    exit_code = 21


class DiskFull(OutputError):
    exit_code = 22


class VerificationFailed(OutputError):
    exit_code = 23


class ModelError(VeilcastError):
    pass


class ModelMissing(ModelError):
    exit_code = 30


class ModelCorrupt(ModelError):
    exit_code = 31


class EngineError(ModelError):
    exit_code = 32


class BatchError(VeilcastError):
    pass


class StoreFailed(BatchError):
    exit_code = 24


class JournalBusy(BatchError):
    exit_code = 25


class Cancelled(BatchError):
    exit_code = 26


class PrivacyTripped(VeilcastError):
    exit_code = 40


class WorkerError(VeilcastError):
    pass


class WorkerHung(WorkerError):
    exit_code = 50


class WorkerDied(WorkerError):
    exit_code = 51


class EvaluationFailed(VeilcastError):
    exit_code = 60
