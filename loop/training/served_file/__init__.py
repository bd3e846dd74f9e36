"""From a trained model to the file that serves: ONNX, its graph, and as much INT8 as the answers bear."""
