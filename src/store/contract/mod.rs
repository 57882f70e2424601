//! What the store is asked and what it answers, whichever database is below it. No SQL, and nothing of ours but the domain.

mod batch;
mod callback;
mod cancel;
mod change_feed;
mod config;
mod error;
mod event;
mod health;
mod job;
mod opened;
mod page;
mod queue;
mod retention;
mod slot;
mod timer;

pub use batch::{BatchChange, BatchJob, BatchKey, BatchPage, NewBatch, Order};
pub use callback::{
    CallbackFilter, CallbackPlaces, CallbackQuery, DeliveryReport, DeliverySubject, DueDelivery,
    DueReceiver,
};
pub use cancel::{CancelCounts, CancelFilter, CancelMany, CancelOrder, Cancellation};
pub use change_feed::{Changes, JobChange, Known, Left, TagEnds};
pub use config::{BUSY_TIMEOUT, Config, DatabasePath, LOCK_PATIENCE, Synchronous};
pub use error::{Cause, Error, Failed, Failure, Refusal};
pub use event::{Claimed, Ended, Event, Standing};
pub use health::StoreHealth;
pub use job::{Completion, ManualResult, Many, Submission, Submitted};
pub use opened::Opened;
pub use page::{Filter, Places, Portion, View};
pub use queue::{Ordered, Queue, QueueChange, QueueOrder, QueueSettings};
pub use retention::{DAY_MS, Deletion, Removed, SweepCursor, Vacuumed};
pub use slot::SlotChange;
pub use timer::{NextTimer, Now};
