"""Which work of a device is sure to be done before which work of another one begins.

The stand-in does everything at once; a GPU does what its stream was given, in order, and knows of other streams only
what events and waits of the host tell. This keeps a vector clock for each device's stream and refuses a copy between
devices of what may not be written yet, and memory that is used again while another device may still read it.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict


class Order:
    """Clocks of the devices' streams."""

    def __init__(self):
        self._issued = Counter()  # work that a device was given
        self._known = defaultdict(Counter)  # of that, by another device: what its stream has waited for
        self._done = Counter()  # what the host has waited for
        self._freed = defaultdict(list)  # by device: (reader, work) of memory that its pool has back
        self._lock = threading.RLock()

    def wrote(self, allocation, device):
        with self._lock:
            self._issued[device] += 1
            allocation.written = device, self._issued[device]

    def allocated(self, device):
        with self._lock:
            for reader, work in self._freed.pop(device, []):
                if not self._before(device, reader, work):
                    raise AssertionError(f"memory of device {device} is used again that device {reader} may be reading")

    def copied(self, allocation, reader):
        """A copy of the allocation to another device, in the stream of that."""
        with self._lock:
            if allocation.written and not self._before(reader, *allocation.written):
                raise AssertionError(f"device {reader} copies from device {allocation.device} what may not be there yet")
            self._issued[reader] += 1
            allocation.readers.append((reader, self._issued[reader]))

    def freed(self, allocation):
        with self._lock:
            self._freed[allocation.device] += allocation.readers

    def waited(self, device):
        """The host, for all that the device was given."""
        with self._lock:
            self._done[device] = self._issued[device]

    def clock(self, device):
        with self._lock:
            return self._known[device] | Counter({device: self._issued[device]})

    def follow(self, device, clock):
        with self._lock:
            self._known[device] |= clock

    def _before(self, later, device, work):
        return later == device or work <= max(self._done[device], self._known[later][device])
