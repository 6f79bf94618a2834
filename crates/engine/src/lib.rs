//! Forward pass, paged cache, scheduler, sampling and Generate.
#![forbid(unsafe_code)]
