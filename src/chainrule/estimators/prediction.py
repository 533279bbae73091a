"""A trained network that answers quickly, in any number of threads."""

import threading

import numpy as np

from .. import engine, train
from ..engine import Compiled
from ..module import Module
from ..structures import Structure


class Predictor:
    """The outputs of a network, from a compiled one that is kept between calls.

    A compiled network serves one call at a time; whoever comes while it is busy has one of its own made. The network's
    parameters may be set or trained at any time: the next call uses them. What is compiled is not pickled.

    Parameters
    ----------
    network : any Module on NumPy arrays; one that the engine does not know answers in Python.
    threads : the most threads of a call.
    """

    def __init__(self, network: Module, threads: int) -> None:
        self.network, self.threads = network, threads
        self._lock = threading.Lock()
        self._compiled: Compiled | None = None
        self._refused = False

    def __call__(self, x: Structure) -> np.ndarray:
        """The outputs for x, a contiguous array (or several) of the network's dtype that has been checked."""
        if type(x) is np.ndarray and x.ndim == 2 and not self._refused and self._lock.acquire(blocking=False):
            try:
                if self._compiled is None:
                    self._compiled = engine.compile(self.network, batch_size=1, threads=self.threads)
                known: np.ndarray = self._compiled.predict(x)
                return known
            except (ValueError, TypeError, engine.EngineMissing):  # changed since it was compiled, or it cannot be
                self._compiled, self._refused = None, self._compiled is None
            finally:
                self._lock.release()
        y: np.ndarray = train.predict(self.network, x)
        return y

    def __getstate__(self) -> tuple[Module, int]:
        return self.network, self.threads

    def __setstate__(self, state: tuple[Module, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # as if made anew
