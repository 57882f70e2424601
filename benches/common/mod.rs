//! What every benchmark needs: a server, a client, the disk, the machine, and percentiles.

pub mod client;
pub mod disk;
pub mod machine;
pub mod origin;
pub mod process;
pub mod run;
pub mod stats;
