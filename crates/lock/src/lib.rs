//! models.toml, models.lock and verified weights.
#![forbid(unsafe_code)]
