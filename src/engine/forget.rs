//! What is taken away on request, and what is told of what is gone.

use uuid::Uuid;

use crate::domain::{BatchId, Callback, CallbackId, JobId};
use crate::store::{Forgetting, Owner, Redelivery};

use super::{Engine, Error};

impl Engine {
    /// Forgets a job that is done, at once: nothing is left to tell of it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Expired`]; [`Error::NotDone`], [`Error::DeliveryOpen`], [`Error::OfBatch`].
    pub async fn forget(&self, id: JobId) -> Result<(), Error> {
        match self.shared.store.forget(id, self.now()).await? {
            Forgetting::Forgotten => Ok(()),
            Forgetting::Missing => Err(self.missing(id).await),
            Forgetting::NotDone => Err(Error::NotDone(id)),
            Forgetting::DeliveryOpen => Err(Error::DeliveryOpen(id)),
            Forgetting::OfBatch => Err(Error::OfBatch(id)),
        }
    }

    /// Tells a callback once more, at once: the same id and bytes, the whole schedule anew. Gives the
    /// callback as it stands then.
    ///
    /// # Errors
    /// [`Error::CallbackNotFound`], [`Error::CallbackWaits`], [`Error::CallbackPending`].
    pub async fn redeliver(&self, id: CallbackId) -> Result<Callback, Error> {
        let owner = match self.shared.store.redeliver(id, self.now()).await? {
            Redelivery::Due(owner) => owner,
            Redelivery::Missing => return Err(Error::CallbackNotFound(id)),
            Redelivery::NotDone => return Err(Error::CallbackWaits(id)),
            Redelivery::Pending => return Err(Error::CallbackPending(id)),
        };
        let callbacks = match owner {
            Owner::Job(job) => self.shared.store.callbacks(job).await?,
            Owner::Batch(batch) => self.shared.store.batch_callbacks(batch).await?,
        };
        callbacks.into_iter().find(|it| it.id == id).ok_or(Error::CallbackNotFound(id))
    }

    /// Takes a callback away, with what was, or was to be, delivered. A POST on its way may still arrive.
    ///
    /// # Errors
    /// [`Error::CallbackNotFound`].
    pub async fn drop_callback(&self, id: CallbackId) -> Result<(), Error> {
        if self.shared.store.drop_callback(id, self.now()).await? {
            return Ok(());
        }
        Err(Error::CallbackNotFound(id))
    }

    /// Why there is no job of this id: it never was, or it has expired (F22).
    pub(super) async fn missing(&self, id: JobId) -> Error {
        self.gone(id.0).await.unwrap_or(Error::NotFound(id))
    }

    /// Why there is no batch of this id.
    pub(super) async fn missing_batch(&self, id: BatchId) -> Error {
        self.gone(id.0).await.unwrap_or(Error::BatchNotFound(id))
    }

    async fn gone(&self, id: Uuid) -> Option<Error> {
        match self.shared.store.is_gone(id, self.now()).await {
            Ok(true) => Some(Error::Expired(id)),
            Ok(false) => None,
            Err(error) => Some(error.into()),
        }
    }
}
