//! All that ships on a device: tensors, quantization, encodings, the file format, planning, execution. Never does I/O, reads a clock or starts a thread.
