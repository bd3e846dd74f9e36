"""From gold to a bundle: data, LoRA training, ONNX export, INT8."""
