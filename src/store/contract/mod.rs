//! What the store is asked and what it answers, whichever database is below it. No SQL, and nothing of ours but the domain.

mod batch;
mod callback;
mod cancel;
mod change_feed;
mod config;
mod error;
mod event;
mod job;
mod page;
mod queue;
mod retention;
mod timer;

pub use batch::{BatchPage, NewBatch, Order, Place};
pub use callback::{
    CallbackFilter, CallbackPlaces, CallbackTurn, CallbackTurned, DeliveryReport, DueDelivery,
    Redelivery, Told, Turn,
};
pub use cancel::{CancelCounts, CancelOrder, CancelPortion, Cancellation, Mark, Unfinished};
pub use change_feed::{Changes, JobChange, Known, Left, TagEnds};
pub use config::{BUSY_TIMEOUT, Config, DatabasePath, LOCK_PATIENCE, Synchronous};
pub use error::{Cause, Error, Failure, Refusal};
pub use event::{Claimed, Ended, Event, Standing};
pub use job::{Completion, Many, Settlement, Submission, Submitted};
pub use page::{Filter, Page, Places, Portion};
pub use queue::{Ordered, Queue, QueueChange, QueueOrder, QueueSettings};
pub use retention::{Cleaned, DAY_MS, Forgetting, Shrunk, Swept};
pub use timer::{Alarm, Moment};
