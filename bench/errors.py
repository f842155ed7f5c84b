"""Errors a person can act on, and the exit codes every command shares."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    REGRESSION_OR_FAILED_CELLS = 1
    BAD_INPUT = 2
    CANNOT_JUDGE = 3
    INTERRUPTED = 130


class InputError(ValueError):
    """Something the user gave is wrong.

    The message is one line that says what is wrong, where, and what to do; the command line prints it
    without a traceback and exits with code 2.
    """


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its name where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def because(error: Exception) -> str:
    """Why something failed, in words: of an error of the system its meaning, without number and path."""
    return error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)


class DataError(InputError):
    """A data file is missing or malformed; the message names the file and, where there is one, the row."""
