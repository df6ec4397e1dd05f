"""Anomaly detection for supply chains; start with `anomaly_detection.anomaly_detection_api.AnomalyDetectionAPI`."""
