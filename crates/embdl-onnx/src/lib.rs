//! ONNX files to graphs and back. Never approximates: what it cannot express is an error.
