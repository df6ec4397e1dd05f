"""Use `MLXIsolationForest` where scikit-learn's `IsolationForest` was: in a pipeline, with the same numbers out."""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlx_iforest import MLXIsolationForest

rng = np.random.default_rng(0)
normal = rng.normal([14, 1000], [2, 100], size=(2000, 2))  # lead time in days, transport cost
odd = np.array([[45.0, 1000.0], [14.0, 2900.0]])

pipeline = make_pipeline(StandardScaler(), MLXIsolationForest(contamination=0.01, random_state=0))
pipeline.fit(normal)

for record, label, score in zip(odd, pipeline.predict(odd), pipeline.score_samples(odd), strict=True):
    print(f"lead time {record[0]:.0f} days, cost {record[1]:.0f}: {'anomaly' if label == -1 else 'normal'}, {score:.3f}")

forest = pipeline[-1]
print(f"grown and scored by {forest.backend_.name}: {forest.backend_.reason}")
