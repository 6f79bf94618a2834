//! Reference backend on candle tensors.
#![forbid(unsafe_code)]
