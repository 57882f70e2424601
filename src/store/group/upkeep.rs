//! Changes that are no step of one job's life: what is told of it, what goes, what is cancelled many at a time.

use crate::store::Error;
use crate::store::change::Change;

use super::Group;

impl Group<'_> {
    /// Does what the change asks for, if it is one of these.
    pub(super) fn keep_up(&mut self, change: &mut Change) -> Result<(), Error> {
        match change {
            Change::Forget { id, now, reply } => reply.set(Ok(self.forget(*id, *now)?)),
            Change::AddCallback { job, callback, reply } => {
                reply.set(self.add_callback(*job, callback)?);
            }
            Change::BeginDeliveries { bodies, again, reply } => {
                let epoch = self.counters.epoch;
                for (callback, body) in bodies.iter() {
                    self.sql.keep_delivery_body(*callback, body, epoch)?;
                }
                for callback in again {
                    self.sql.begin_delivery(*callback, epoch)?;
                }
                reply.set(Ok(()));
            }
            Change::Delivered { report, reply } => {
                self.delivered(report)?;
                reply.set(Ok(()));
            }
            Change::Redeliver { id, now, reply } => reply.set(Ok(self.redeliver(*id, *now)?)),
            Change::RedeliverMany { callbacks, now, reply } => {
                reply.set(Ok(self.redeliver_many(callbacks, *now)?));
            }
            Change::DropCallback { id, now, reply } => {
                reply.set(Ok(self.drop_callback(*id, *now)?));
            }
            Change::MarkCancelled { mark, reply } => reply.set(Ok(self.mark_cancelled(mark))),
            Change::CancelPortion { portion, reply } => {
                reply.set(Ok(self.cancel_some(portion)?));
            }
            Change::UnmarkCancelled { number, reply } => {
                reply.set(Ok(self.ledger.unmark_cancelled(*number)));
            }
            other => self.change_batch(other)?,
        }
        Ok(())
    }
}
