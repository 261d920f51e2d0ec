//! Bytes and named tensors by name: disk, hub, PEFT folders. Knows no model.

pub mod tensorboard;
