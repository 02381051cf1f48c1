"""What a person expected, on the phone or at a browser, and did not get.

All are assertion errors: a case that meets one fails.
"""

from __future__ import annotations


class PersonError(AssertionError):
    """Something went otherwise than the case says."""


class NotHeard(PersonError):
    """A phrase was not heard in time. The message says what was heard instead, and when."""


class NotSilent(PersonError):
    """Something was heard that should not have been."""


class NotConnected(PersonError):
    """There was no connection in time, or there is none (any more) when the person wants to do something with it."""


class NotEnded(PersonError):
    """The conversation was not over in time."""
