"""The humans of a scenario: who dials, answers, speaks, listens, presses keys and hangs up."""

from fakes.people.errors import NotConnected, NotEnded, NotHeard, NotSilent, PersonError
from fakes.people.human import nearly_whole
from fakes.people.person import Person

__all__ = ["NotConnected", "NotEnded", "NotHeard", "NotSilent", "Person", "PersonError", "nearly_whole"]
