"""scikit-learn estimators on the engine; they need the extra "sklearn"."""

from ..extras import require

require("sklearn", "sklearn")

from .mlp import MLPClassifier, MLPRegressor  # noqa: E402 - after the error that names the extra
from .network import NetworkClassifier, NetworkRegressor  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor", "NetworkClassifier", "NetworkRegressor"]
