"""The head of a cluster: where it is (`address`), how one of the command's own is kept apart
(`own`), what is said when it is lost (`watch`), and which nodes leave, as it says (`draining`)."""

from actors.head.address import Address, find_address
from actors.head.own import OwnProcesses
from actors.head.watch import HeadWatch

__all__ = ["Address", "HeadWatch", "OwnProcesses", "find_address"]
