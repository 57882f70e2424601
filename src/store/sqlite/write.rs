//! What the writer can be asked: a write, and the way back to whoever asked.

use std::borrow::Cow;
use std::fmt::Debug;

use tokio::sync::oneshot;

use crate::domain::JobId;
use crate::store::contract::{Error, Failed, Failure, Refusal};
use crate::store::sqlite::slots::Slots;
use crate::store::sqlite::txn::Txn;

/// What a row is taken for that brings no value of its own.
pub const ROW_BYTES: usize = 256;

/// What came of a write: what it was to find out, or why it was refused; or why nothing could be written.
pub type Ran<T> = Result<Result<T, Refusal>, Failure>;

/// When a write runs among those of its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It ends what runs, and looks at nothing that another member of its group may have written.
    End,
    /// It may look at any row, so what has ended before it is there.
    Change,
    /// It brings what nobody has accepted yet. It comes after all others, since slots that become free in its group are its
    /// own if nobody waited before; and it is refused while there is little room on the disk.
    Submission,
    /// It clears away, after all others too.
    Upkeep,
}

/// What becomes of a write that the database has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfRefused {
    /// Whoever asked hears of it, and may ask again.
    Answer,
    /// It is tried again if the reason passes: whoever asked would not ask again.
    RetryIfItPasses,
    /// It is tried again.
    Retry,
}

/// One write. The writer runs it in its transaction, and answers after the commit.
pub trait Write: Debug + Send {
    /// What whoever asked is told.
    type Output: Send;

    /// Does it, as a part of the transaction. A refusal has written nothing.
    fn run(&mut self, txn: &mut Txn<'_>) -> Ran<Self::Output>;

    /// About how many bytes it writes.
    fn bytes(&self) -> usize {
        ROW_BYTES
    }

    /// Its value, if that is so large that it may be written ahead, in pieces.
    fn large_value(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn phase(&self) -> Phase {
        Phase::Change
    }

    fn if_refused(&self) -> IfRefused {
        IfRefused::Answer
    }

    /// The job of which it brings the outcome.
    fn job_of_outcome(&self) -> Option<JobId> {
        None
    }

    /// What it does where nothing can be written; none if it needs the database.
    fn run_on_slots(&mut self, _slots: &mut Slots) -> Option<Self::Output> {
        None
    }
}

/// The way back to whoever asked. The effect is decided while the group is assembled, and told only after its commit.
pub struct Reply<T> {
    sender: Option<oneshot::Sender<Result<T, Error>>>,
    failed: Option<Failed>,
    effect: Option<Result<T, Refusal>>,
}

impl<T> Reply<T> {
    /// Calls `failed` too if nothing comes of it, after the answer.
    pub fn new(sender: oneshot::Sender<Result<T, Error>>, failed: Option<Failed>) -> Self {
        Self { sender: Some(sender), failed, effect: None }
    }

    /// To nobody.
    pub fn none() -> Self {
        Self { sender: None, failed: None, effect: None }
    }

    /// To whoever waits for something else, and hears only of a failure.
    pub fn of_failure(failed: Failed) -> Self {
        Self { failed: Some(failed), ..Self::none() }
    }

    fn set(&mut self, effect: Result<T, Refusal>) {
        self.effect = Some(effect);
    }

    fn send(self, failure: Option<&Failure>) {
        let effect = match failure {
            Some(failure) => Err(Error::Failed(failure.clone())),
            None => self
                .effect
                .map_or(Err(Error::Failed(Failure::Closed)), |it| it.map_err(Error::Refused)),
        };
        let error = self.failed.is_some().then(|| effect.as_ref().err().cloned()).flatten();
        if let Some(sender) = self.sender {
            // Whoever asked may be gone; the write stands all the same.
            drop(sender.send(effect));
        }
        if let (Some(failed), Some(error)) = (self.failed, error) {
            failed(error);
        }
    }
}

/// A write on its way, whatever it is.
pub trait Pending: Debug + Send {
    fn phase(&self) -> Phase;
    fn bytes(&self) -> usize;
    fn if_refused(&self) -> IfRefused;
    fn job_of_outcome(&self) -> Option<JobId>;

    /// Its value, if that is larger than so many bytes and not written yet.
    fn large_value(&self, bytes_max: usize) -> Option<String>;

    /// Its value is written, in that payload.
    fn is_written_ahead(&mut self, payload: i64);

    /// The payload that holds its value already.
    fn written_ahead(&self) -> Option<i64>;

    /// Does it, and keeps what is to be answered.
    fn run(&mut self, txn: &mut Txn<'_>) -> Result<(), Failure>;

    /// The same where nothing can be written; false if it needs the database.
    fn run_on_slots(&mut self, slots: &mut Slots) -> bool;

    /// Tells whoever asked: what was decided, or that the commit failed.
    fn answer(self: Box<Self>, failure: Option<&Failure>);
}

/// A write and whom to answer.
struct Asked<W: Write> {
    write: W,
    reply: Reply<W::Output>,
    written_ahead: Option<i64>,
}

/// A write on its way.
pub fn pending<W: Write + 'static>(write: W, reply: Reply<W::Output>) -> Box<dyn Pending> {
    Box::new(Asked { write, reply, written_ahead: None })
}

impl<W: Write> Debug for Asked<W> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.write.fmt(formatter)
    }
}

impl<W: Write> Pending for Asked<W> {
    fn phase(&self) -> Phase {
        self.write.phase()
    }

    fn bytes(&self) -> usize {
        self.write.bytes()
    }

    fn if_refused(&self) -> IfRefused {
        self.write.if_refused()
    }

    fn job_of_outcome(&self) -> Option<JobId> {
        self.write.job_of_outcome()
    }

    fn large_value(&self, bytes_max: usize) -> Option<String> {
        if self.written_ahead.is_some() {
            return None;
        }
        self.write.large_value().filter(|it| it.len() > bytes_max).map(Cow::into_owned)
    }

    fn is_written_ahead(&mut self, payload: i64) {
        self.written_ahead = Some(payload);
    }

    fn written_ahead(&self) -> Option<i64> {
        self.written_ahead
    }

    fn run(&mut self, txn: &mut Txn<'_>) -> Result<(), Failure> {
        txn.written_ahead = self.written_ahead;
        self.reply.set(self.write.run(txn)?);
        Ok(())
    }

    fn run_on_slots(&mut self, slots: &mut Slots) -> bool {
        let Some(output) = self.write.run_on_slots(slots) else { return false };
        self.reply.set(Ok(output));
        true
    }

    fn answer(self: Box<Self>, failure: Option<&Failure>) {
        self.reply.send(failure);
    }
}
