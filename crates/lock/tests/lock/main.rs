//! Locking and verifying real folders.

mod fixture;
mod hostile;
mod round_trip;
