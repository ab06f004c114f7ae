"""An actor for tests of the pool; in a module that Ray's processes can import."""

import errno
import os
import signal
import time
from pathlib import Path

import numpy as np

from medray.errors import DataError, ModelError
from medray.records import BatchContent, Dropped, EditResults, Response


def misbehave(case_id, call):
    """What a bad case does to its actor: its id says in which call, and what."""
    if case_id.startswith(f"{call}-kills"):
        os.kill(os.getpid(), signal.SIGKILL)
    if case_id.startswith(f"{call}-hangs"):
        time.sleep(600.0)
    if case_id.startswith(f"{call}-starves"):
        raise MemoryError
    if case_id.startswith(f"{call}-breaks"):
        raise ValueError("a bug")


class Worker:
    """Works with the state that it adopted last."""

    def __init__(self, index, broken=False):
        if broken == "dies":
            os._exit(1)  # as the kernel does if a model is larger than the memory
        if broken:
            raise ValueError("no such model")
        self.index, self.state = index, None

    def pid(self):
        return os.getpid()

    def adopt(self, state):
        self.state = state

    def reset(self, config):
        """What it has adopted is of another run."""
        self.state = config

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

    def fill_disk(self):
        raise OSError(errno.ENOSPC, "No space left on device", "adapter")

    def die(self, path, times):
        """End the process the first `times` calls, counted in a file, then answer; or always."""
        with open(path, "a") as file:
            file.write("x")
        if os.path.getsize(path) <= times or times < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.path.getsize(path)


class Rank:
    """A learner's rank that meets no other and learns nothing."""

    def __init__(self, rank, trouble=""):
        self.rank, self.trouble = rank, trouble

    def rendezvous(self):
        return "nowhere", 0

    def join(self, address, port):
        if self.trouble == "dies":
            os._exit(1)
        if self.trouble == "model":
            raise ModelError("model.path", "cannot be loaded", "check its files")

    def save(self, directory):
        raise OSError(errno.ENOSPC, "No space left on device", directory)

    def pid(self):
        return os.getpid()

    def span(self, seconds):
        """When it began and ended."""
        begin = time.monotonic()
        time.sleep(seconds)
        return begin, time.monotonic()

    def score_canaries(self, seconds):
        """Log-probabilities of the two tokens of one answer."""
        time.sleep(seconds)
        return [np.array([-1.0, -1.0])]


class Holder:
    """A generator that adopts any weights; of the version `stands_still` it never does."""

    def __init__(self, logp, stands_still=None):
        self.logp, self.stands_still = logp, stands_still

    def adopt(self, parcel, requests, answers, *images):
        manifest, _ = parcel
        if manifest.version == self.stands_still:
            time.sleep(600)
        return {}, [np.full(2, self.logp)]

    def now(self):
        return time.monotonic()


class Speaker:
    """A generator that yields one response at a time, and logs requests and the end of a call."""

    def __init__(self, index, path, pause=0.0):
        self.index, self.path, self.pause = index, Path(path), pause

    def note(self, what):
        with self.path.open("a") as file:
            file.write(what + "\n")

    def generate(self, version, requests, greedy, *images):
        self.note("requested " + " ".join(request.item_id for request in requests))
        for number, request in enumerate(requests):
            misbehave(request.case_id, "generate")
            time.sleep(self.pause)
            if (self.path.parent / f"die-{self.index}-{number}").exists():
                (self.path.parent / f"die-{self.index}-{number}").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            if (self.path.parent / f"hang-{self.index}-{number}").exists():
                time.sleep(4.0)
            yield [Response(request.item_id, request.case_id, version, "No", (1,), (0.0,), True)]
        self.note("finished")


class Corrector:
    """An editor that drops everything, and logs what."""

    def __init__(self, path):
        self.path = Path(path)

    def load(self, cases):
        for case in cases:
            misbehave(case.case_id, "load")
        images = [np.zeros((4, 4, 3), np.uint8) for _ in {case.image for case in cases}]
        return ([("", case.regions) for case in cases], *images)

    def edit(self, context, cases, responses, *images):
        assert len(cases) == len(responses) == len(images)
        assert all(c.case_id == r.case_id for c, r in zip(cases, responses, strict=True))
        for case in cases:
            misbehave(case.case_id, "edit")
        with self.path.open("a") as file:
            file.write("edited " + " ".join(r.item_id for r in responses) + "\n")
        dropped = [
            Dropped(r.item_id, r.case_id, context.version, "for-the-test") for r in responses
        ]
        return EditResults(tuple(dropped), (BatchContent((), (), ()),)), None


class Parrot:
    """A language model without an engine: every reply is its process and what was said last.

    What the last message says can also be "die" or "break", for good or until it is restarted, or
    "wait": two seconds.
    """

    def __init__(self, directory, seed):
        self.directory, self.broken = directory, False

    def process(self):
        if self.broken:
            raise RuntimeError("broken")
        return str(os.getpid())

    def complete(self, bodies):
        texts = [body["messages"][-1]["content"] for body in bodies]
        if "die" in texts:
            os._exit(1)
        if "wait" in texts:
            time.sleep(2.0)
        self.broken = self.broken or "break" in texts
        if self.broken:
            raise RuntimeError("broken")
        return [f"{os.getpid()} {self.directory} {text}" for text in texts]
