//! What is taken away on request, and what is told of what is gone.

use uuid::Uuid;

use crate::domain::{BatchId, JobId};
use crate::store::Deletion;

use super::{Engine, Error};

impl Engine {
    /// Forgets a job that is done, at once: nothing is left to tell of it.
    pub async fn forget(&self, id: JobId) -> Result<(), Error> {
        match self.shared.store.delete(id, self.now()).await? {
            Deletion::Deleted => Ok(()),
            Deletion::Missing => Err(self.missing(id).await),
            Deletion::NotDone => Err(Error::NotDone(id)),
            Deletion::DeliveryOpen => Err(Error::DeliveryOpen(id)),
            Deletion::OfBatch => Err(Error::OfBatch(id)),
        }
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
