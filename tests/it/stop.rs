//! stop.
