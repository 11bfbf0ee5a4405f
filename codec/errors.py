"""Every error that leaves the public API, each with the exit code of the command line.

CodecError                 1   any failure below
  InputError               1   a picture or file that cannot be read, or is not supported
    LimitError             1   more pixels or memory than the caller grants
  OutputError              1   a target that cannot be written
    OutputExistsError      3   a target that exists already
  FileFormatError          4   not a vqcodec file, or one that cannot be right
    DamagedFileError       4   truncated, altered or inconsistent
    UnsupportedFileError   4   written by a newer version
  WeightsError             5   a weights file that cannot be read or is not sound
    ModelNotFoundError     5   no weights with the name or id that was asked for
  TrainingError            1   training cannot start or has diverged
  ClusterError             1   a cluster that cannot be reached, or that gave up
"""

from __future__ import annotations


class CodecError(Exception):
    """Base of all errors of this package; `str()` is one line that says what to do.

    Args:
        message: the line; where an option of the caller's would help, it names the argument.
        field: name of that argument in the API, such as "to_8bit"; None where none helps.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InputError(CodecError):
    """The input cannot be read, or holds a kind of picture that is not supported."""


class LimitError(InputError):
    """The picture has more pixels, or needs more memory, than the caller grants."""


def too_long(name: object, limit: int) -> LimitError:
    """The error for a file that is longer than a limit in bytes."""
    return LimitError(
        f"{name}: longer than {limit} bytes; allow more with max_memory", field="max_memory"
    )


class OutputError(CodecError):
    """The output cannot be written."""


class OutputExistsError(OutputError):
    """The output exists and overwriting was not asked for."""

    exit_code = 3


class FileFormatError(CodecError):
    """The data is not a vqcodec file."""

    exit_code = 4


class DamagedFileError(FileFormatError):
    """The file is truncated, altered or contradicts itself."""


class UnsupportedFileError(FileFormatError):
    """The file was written by a newer version of the format."""


class WeightsError(CodecError):
    """The weights file cannot be read, or fails its checks."""

    exit_code = 5


class ModelNotFoundError(WeightsError):
    """No weights file has the name or id that was asked for."""


class TrainingError(CodecError):
    """Training cannot start, or its numbers are no longer finite."""


class ClusterError(CodecError):
    """There is no such cluster, its library is missing, or it gave up."""


def one_line(message: str) -> str:
    """A message without line breaks, whatever names in it hold."""
    return " ".join(line.strip() for line in message.splitlines())
