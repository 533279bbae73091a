"""scikit-learn's tools around a network of chainrule's: a pipeline, a search over its settings, and what it looks at.

Source    Wolberg, Mangasarian, Street 1993, UCI "Breast cancer Wisconsin (diagnostic)", which scikit-learn brings along
"""

from chainrule.estimators import MLPClassifier  # first, because it says what to install

# isort: split
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

table = load_breast_cancer(as_frame=True)
X, X_test, y, y_test = train_test_split(table.data, table.target, stratify=table.target, random_state=0)

network = MLPClassifier(solver="adamw", learning_rate_init=0.01, early_stopping=True, monitor="loss", random_state=0)
search = GridSearchCV(
    make_pipeline(StandardScaler(), network),
    {
        "mlpclassifier__hidden_layer_sizes": [(16,), (32, 32)],
        "mlpclassifier__activation": ["relu", "gelu"],
        "mlpclassifier__dropout": [0.0, 0.2],
    },
    cv=5,
)
search.fit(X, y)
for name, value in search.best_params_.items():
    print(f"{name.removeprefix('mlpclassifier__')}: {value}")
print(f"cross-validated accuracy {search.best_score_:.3f}, on data never seen {search.score(X_test, y_test):.3f}")

# How the probability of "benign" changes with each measurement, by the derivative of the network itself.
scaler, best = search.best_estimator_
slopes = best.input_gradient(scaler.transform(X_test), output=1).mean(axis=0)
for i in np.argsort(slopes)[:3]:
    print(f"{table.feature_names[i]}: {slopes[i]:+.3f} per standard deviation")
