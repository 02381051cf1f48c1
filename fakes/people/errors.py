"""What a person on the phone expected and did not get. All are assertion errors: a case that meets one fails."""

from __future__ import annotations


class PhoneError(AssertionError):
    """Something on the phone went otherwise than the case says."""


class NotHeard(PhoneError):
    """A phrase was not heard in time. The message says what was heard instead, and when."""


class NotSilent(PhoneError):
    """Something was heard that should not have been."""


class NotConnected(PhoneError):
    """The call was not connected in time, or is not (any more) when the person wants to do something in it."""


class NotEnded(PhoneError):
    """The call was not over in time."""
