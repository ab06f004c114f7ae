"""Pictures and texts in, regions out: a visual tool that finds what the texts claim."""

from actors.localiser.actor import Localiser

__all__ = ["Localiser"]
