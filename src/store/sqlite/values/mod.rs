//! Values that are too large for a row.

pub mod chunks;
pub mod stored;
