"""Nodes that leave in the middle of a run: what is on them (`affected`), what is done about it
(`decision`), and when (`departures`)."""

from actors.loop.departures.departures import Departures

__all__ = ["Departures"]
