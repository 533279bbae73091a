"""When to stop training."""

from itertools import accumulate

from ..arguments import number, positive
from .history import History


class EarlyStopping:
    """Stop when the last `patience` epochs brought nothing better than all those before.

    Better is a (validation) loss that is lower by more than `min_delta`.

    Parameters
    ----------
    patience : how many epochs to wait for something better.
    min_delta : by how much it must be better, in the units of the loss.

    Source    Prechelt 1998, "Early stopping - but when?"

    Any function of the History that says True for "stop" can stand in its place.
    """

    def __init__(self, patience: int = 10, *, min_delta: float = 0.0) -> None:
        self.patience = positive(self, "patience", patience)
        self.min_delta = number(self, "min_delta", min_delta, least=0)

    def __call__(self, history: History) -> bool:
        """Whether the run is to stop now; it depends on the losses alone, so a resumed run decides the same."""
        losses, patience = history.monitored, self.patience
        return len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience]) - self.min_delta

    def ahead(self, history: History) -> int:
        """How many epochs it takes at least until this says True, however bad they are."""
        losses, patience = history.monitored, self.patience
        n, tail = len(losses), losses[-patience:]
        before = list(accumulate(losses, min))
        after = list(accumulate(reversed(tail), min))[::-1]  # of the last epochs alone
        for seen in range(max(1, n + 1 - patience), n):
            # Once the run has seen + patience epochs, this is asked of them; what is to come cannot be counted on.
            if after[seen - (n - len(tail))] >= before[seen - 1] - self.min_delta:
                return seen + patience - n
        return patience + (n == 0)

    def __repr__(self) -> str:
        return f"EarlyStopping(patience={self.patience}, min_delta={self.min_delta})"
