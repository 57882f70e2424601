//! Secrets of the server in its data directory, each made at the first start.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::outbound::Secret;

/// The secret that signs webhooks, in the form that receivers take: `whsec_…`.
const WEBHOOK_SECRET_FILE: &str = "webhook-secret";
/// The key that seals what callbacks give in confidence, in base64.
const SEAL_KEY_FILE: &str = "seal-key";

/// The secret that signs webhooks; made if there is none.
///
/// # Errors
/// An I/O error, or one that says that the file does not hold a secret.
pub fn webhook_secret(data_dir: &Path) -> io::Result<Secret> {
    let make = || Secret::from_bytes(rand::random::<[u8; 32]>().to_vec()).map(|it| it.to_text());
    let text = kept(&data_dir.join(WEBHOOK_SECRET_FILE), || make().unwrap_or_default())?;
    Secret::parse(text.trim()).map_err(|error| {
        let file = data_dir.join(WEBHOOK_SECRET_FILE);
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", file.display()))
    })
}

/// The key that seals what callbacks give in confidence; made if there is none.
///
/// # Errors
/// An I/O error, or one that says that the file does not hold a key.
pub fn seal_key(data_dir: &Path) -> io::Result<[u8; 32]> {
    let file = data_dir.join(SEAL_KEY_FILE);
    let text = kept(&file, || STANDARD.encode(rand::random::<[u8; 32]>()))?;
    let bytes = STANDARD.decode(text.trim()).unwrap_or_default();
    bytes.try_into().map_err(|_wrong_length| {
        let detail =
            format!("{}: not 32 bytes in base64; restore it from a backup", file.display());
        io::Error::new(io::ErrorKind::InvalidData, detail)
    })
}

/// Writes `text` to a new file that only its owner can read, and makes it durable under that name.
///
/// # Errors
/// An I/O error.
pub fn write_private(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    let mut handle =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    handle.write_all(text.as_bytes())?;
    handle.sync_all()?;
    std::fs::rename(&new, file)?;
    let directory = file.parent().unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn kept(file: &Path, make: impl FnOnce() -> String) -> io::Result<String> {
    match File::open(file) {
        Ok(mut handle) => {
            let mut text = String::new();
            handle.read_to_string(&mut text)?;
            Ok(text)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = make();
            write_private(file, &text)?;
            Ok(text)
        }
        Err(error) => Err(error),
    }
}
