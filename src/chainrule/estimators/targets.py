"""Labels as a network can learn them, and what a network says as labels again."""

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import type_of_target


class Labels:
    """The classes of a classification.

    Parameters
    ----------
    y : (n,) labels of any one type that can be sorted; or (n, n_labels) of 0 and 1, any number of which may be 1.

    classes : (n_classes,) sorted; for several labels their numbers, 0 … n_labels-1.
    several : whether a sample may bear several labels, or none.

    Raises ValueError for numbers that are no classes, and for several columns of more than two classes.
    """

    def __init__(self, y: Any) -> None:
        kind = type_of_target(y, input_name="y", raise_unknown=True)
        if kind.startswith("continuous"):
            raise ValueError(f"Unknown label type: y must hold classes, got {kind} numbers")
        if kind == "multiclass-multioutput":
            raise ValueError("y must be (n,) labels or (n, n_labels) of 0 and 1, got several columns of more classes")
        self.several = kind == "multilabel-indicator"
        self.classes: np.ndarray = np.arange(y.shape[1]) if self.several else np.unique(np.asarray(y))

    def encode(self, y: Any) -> np.ndarray:
        """The number of each label's class, (n,); for several labels zeros and ones, (n, n_labels).

        Raises ValueError for a label that is none of the classes.
        """
        if self.several:
            ones = y.toarray() if sparse.issparse(y) else np.asarray(y)
            if ones.ndim != 2 or ones.shape[1] != len(self.classes) or not np.isin(ones, (0, 1)).all():
                raise ValueError(f"y must be (n, {len(self.classes)}) of 0 and 1, as before, got {ones.shape}")
            return ones.astype(np.int64)
        y = np.asarray(y)
        if y.ndim == 1:
            try:
                index = np.searchsorted(self.classes, y).clip(max=len(self.classes) - 1)
                if bool(np.all(self.classes[index] == y)):
                    return np.asarray(index, dtype=np.int64)
            except TypeError:  # text and numbers cannot be compared
                pass
        raise ValueError(
            f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. 'y' has {np.unique(y)}."
        )

    def decode(self, proba: np.ndarray) -> np.ndarray:
        """Labels, given the probabilities of the classes, (n, n_classes), or of each label, (n, n_labels)."""
        if self.several:
            return (proba > 0.5).astype(np.int64)
        return np.asarray(self.classes[np.argmax(proba, axis=1)])
