"""Use `MLXIsolationForest` where scikit-learn's `IsolationForest` was, here at the end of a pipeline."""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlx_iforest import MLXIsolationForest

rng = np.random.default_rng(0)
normal = rng.normal([14, 1000], [2, 100], size=(2000, 2))  # lead time in days, transport cost
odd = rng.normal([45, 2900], [5, 300], size=(20, 2))  # late and dear
shipments = np.vstack([normal, odd])

pipeline = make_pipeline(StandardScaler(), MLXIsolationForest(contamination=0.01, random_state=0))
labels = pipeline.fit(shipments).predict(shipments)
scores = pipeline.score_samples(shipments)

alerts = labels == -1
print(f"{alerts[:2000].sum()} of 2000 normal shipments raise an alert, {alerts[2000:].sum()} of 20 odd ones:")
for row in np.argsort(scores)[:3]:
    print(f"  lead time {shipments[row, 0]:.0f} days, cost {shipments[row, 1]:.0f}: score {scores[row]:.3f}")

forest = pipeline[-1]
print(f"grown and scored by {forest.backend_.name}: {forest.backend_.reason}")
