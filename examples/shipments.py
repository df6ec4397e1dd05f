"""Train on shipments, save the model, load it again and judge new records."""

import tempfile
from pathlib import Path

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.synthetic import generate

records = generate("realistic", 3500, seed=1).frame  # in the order in which they reached the books
history, new = records.head(3000), records.tail(500)
api = AnomalyDetectionAPI()
api.fit(history)

predictions, scores = api.predict(new)
print(f"{(predictions == -1).sum()} of {len(new)} new records raise an alert; the worst three:")
for found in sorted(api.explain_anomalies(new, predictions, scores), key=lambda item: item["score"])[:3]:
    print(f"  row {found['index']}, score {found['score']:.3f}: {found['explanation']}")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "shipments.safetensors"
    api.save_model(path)
    answer = AnomalyDetectionAPI(path).detect_anomaly(new.iloc[0].to_dict())
print(f"the first record by the loaded model: {answer['risk_level']} risk, severity {answer['severity']:.0f} of 100")
