//! Integration tests: a real server, through its doors.

mod contract;
