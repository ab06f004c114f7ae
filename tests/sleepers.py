"""An actor for tests of the pool; in a module that Ray's processes can import."""

import os
import signal
import time

import numpy as np

from medray.errors import DataError


class Worker:
    """Does what it is told, with the state it was given."""

    def __init__(self, index, broken=False):
        if broken:
            raise ValueError("no such model")
        self.index, self.state = index, None

    def pid(self):
        return os.getpid()

    def take(self, state):
        self.state = state

    def work(self, item, seconds=0.0):
        time.sleep(seconds)
        return item, self.index, self.state

    def slow_where(self, item, index, seconds):
        """Slow on one replica only."""
        time.sleep(seconds if self.index == index else 0.0)
        return item, self.index, self.state

    def refuse(self):
        raise DataError("item 7", "is bad", "mend it")

    def crash(self):
        raise ValueError("CUDA error")

    def die(self, path, times):
        """End the process the first `times` calls, counted in a file; then answer."""
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) <= times:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.path.getsize(path)


class Rank:
    """A rank of learners that meets nobody and learns nothing."""

    def __init__(self, rank):
        self.rank = rank

    def rendezvous(self):
        return "nowhere", 0

    def join(self, address, port):
        pass

    def pid(self):
        return os.getpid()

    def span(self, seconds):
        """When it began and ended."""
        begin = time.monotonic()
        time.sleep(seconds)
        return begin, time.monotonic()

    def golden(self, seconds):
        """Log-probabilities of the two tokens of one answer."""
        time.sleep(seconds)
        return [np.array([-1.0, -1.0])]


class Holder:
    """A generator that takes over whatever comes."""

    def __init__(self, logp):
        self.logp = logp

    def cache_stats(self):
        return {}

    def update(self, manifest, shards):
        return 0.0

    def score(self, version, requests, answers, *images):
        return [np.full(2, self.logp)]

    def now(self):
        return time.monotonic()
