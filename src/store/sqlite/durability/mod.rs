//! What is kept on the disk, and how a start and an end find it.

pub mod backup;
pub mod checkpoint;
pub mod ended;
pub mod files;
pub mod fsck;
pub mod health;
pub mod high_water;
pub mod patience;
pub mod recovery;
pub mod space;
pub mod vacuum;
pub mod wal;
