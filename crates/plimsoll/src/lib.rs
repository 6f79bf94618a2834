//! Local LLM inference with pinned, verified weights.
#![forbid(unsafe_code)]
