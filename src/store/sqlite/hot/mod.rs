//! The statements of nearly every commit, held ready.

pub mod multi_row_insert;
pub mod new_row;
pub mod result_row;
pub mod statements;
