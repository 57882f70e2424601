//! The secrets of a data directory, as a server needs them to start.

use crate::config::Config;
use crate::engine::secret::{self, SEAL_KEY_FILE, WEBHOOK_SECRET_FILE, WebhookSecrets};
use crate::store::{self, CallbackQuery, Store};

use super::Failure;

/// Those that sign webhooks, and the key that seals what callbacks give in confidence. Where there is none it is made, but no other key
/// in the place of one that is lost: what that has sealed would never open again, and nobody would be told.
pub(super) async fn open(
    config: &Config,
    store: &Store,
) -> Result<(WebhookSecrets, [u8; 32]), Failure> {
    let data_dir = &config.data_dir;
    let is_there = data_dir.join(SEAL_KEY_FILE).exists();
    if !is_there && !config.accept_data_loss && has_sealed(store).await.map_err(unread)? {
        return Err(Failure::Damaged(vec![format!(
            "{} is missing, and callbacks are sealed with it: bring it back from a backup, or start once with \
             --accept-data-loss, and they cannot be delivered",
            data_dir.join(SEAL_KEY_FILE).display()
        )]));
    }
    if is_there && !data_dir.join(WEBHOOK_SECRET_FILE).exists() {
        tracing::warn!(
            "the webhook secret is missing, so a new one is made: receivers do not know it"
        );
    }
    WebhookSecrets::open(data_dir)
        .and_then(|secrets| Ok((secrets, secret::seal_key(data_dir)?)))
        .map_err(Failure::io("the secrets cannot be kept"))
}

async fn has_sealed(store: &Store) -> Result<bool, store::Failure> {
    Ok(!store.callback_places(&CallbackQuery::Sealed, None, 1).await?.places.is_empty())
}

fn unread(error: store::Failure) -> Failure {
    Failure::io("the callbacks cannot be read")(std::io::Error::other(error))
}
