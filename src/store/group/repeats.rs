//! Requests that come again (G8): known by their idempotency key, or by the id that the client chose. It is
//! decided in the transaction that would write the job, so of many at once one is the first.

use crate::domain::{Identity, Job, OwnedKey, Spec};

use super::{Error, Group};

impl Group<'_> {
    /// What the request is to be answered with instead of a new job; none if it has made none yet. The key
    /// is asked first: it names the whole request, the chosen id included.
    pub(super) fn look_up(
        &mut self,
        spec: &Spec,
        identity: &Identity,
    ) -> Result<Option<Error>, Error> {
        if let Some(key) = &identity.key
            && let Some(known) = self.look_up_key(key, identity)?
        {
            return Ok(Some(known));
        }
        if !identity.chooses_id {
            return Ok(None);
        }
        let known = match self.sql.fingerprint_of(spec.id)? {
            None if self.sql.is_gone(spec.id)? => Error::Expired(spec.id.0),
            None => return Ok(None),
            // A job whose id we drew has no fingerprint, and equals no request.
            Some(kept) if kept != Some(identity.fingerprint) => Error::IdConflict,
            Some(_) => {
                if let Some(key) = &identity.key {
                    // From now on the request is known by this key as well.
                    self.sql.keep_key(key, identity.fingerprint, spec.id.0, spec.created_at)?;
                }
                Error::Repeated(spec.id.0)
            }
        };
        Ok(Some(known))
    }

    pub(super) fn look_up_key(
        &mut self,
        key: &OwnedKey,
        identity: &Identity,
    ) -> Result<Option<Error>, Error> {
        let Some((fingerprint, made)) = self.sql.request_of(key)? else { return Ok(None) };
        Ok(Some(if fingerprint != identity.fingerprint {
            Error::KeyMismatch(made)
        } else if self.sql.exists(made)? {
            Error::Repeated(made)
        } else {
            Error::Expired(made)
        }))
    }

    /// Keeps what the request of a new job is known by.
    pub(super) fn remember(&mut self, job: &Job, identity: &Identity) -> Result<(), Error> {
        if identity.chooses_id {
            self.sql.keep_fingerprint(job.ordinal, identity.fingerprint)?;
        }
        if let Some(key) = &identity.key {
            let (id, created_at) = (job.spec.id.0, job.spec.created_at);
            self.sql.keep_key(key, identity.fingerprint, id, created_at)?;
        }
        Ok(())
    }
}
