"""Models in other forms: scikit-learn, ONNX, plain data."""
