"""A local stand-in for the CleverTap API: same answers, same faults, invented data."""

from millrace.simulators.clevertap.config import Account, Settings
from millrace.simulators.clevertap.simulator import Simulator
from millrace.simulators.clevertap.store import LedgerRow

__all__ = ["Account", "LedgerRow", "Settings", "Simulator"]
