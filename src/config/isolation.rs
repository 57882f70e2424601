//! Where programs run, and what stands between them and the server.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::runtime::{Kind, Places, Secrets};

use super::Config;

/// What programs are kept from the server by, beside the rights of their user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// The best that the system allows; nothing, if it allows nothing.
    #[default]
    Auto,
    /// Namespaces of processes and mounts, or the server does not start.
    Namespaces,
    /// Landlock, or the server does not start.
    Landlock,
    /// Nothing.
    None,
}

/// Directories that programs use whatever they are.
const SHARED: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

impl Config {
    /// Where programs are started. One server has a data directory, so that names it.
    pub(super) fn places(&self) -> Places {
        let whole = self.data_dir.canonicalize().unwrap_or_else(|_new| self.data_dir.clone());
        let digest = Sha256::digest(whole.as_os_str().as_encoded_bytes());
        let work_dir = self.work_dir.clone().unwrap_or_else(std::env::temp_dir);
        let shared = SHARED.map(PathBuf::from).into_iter();
        let shared = shared.chain([work_dir.clone(), self.programs.directory.clone()]);
        Places {
            name: digest[..6].iter().map(|byte| format!("{byte:02x}")).collect(),
            cgroups: self.cgroups,
            isolation: match self.isolation {
                Isolation::Auto => None,
                Isolation::Namespaces => Some(Kind::Namespaces),
                Isolation::Landlock => Some(Kind::Landlock),
                Isolation::None => Some(Kind::None),
            },
            secrets: Secrets {
                data_dir: self.data_dir.clone(),
                used: self.programs.used(),
                // The root is above everything.
                shared: shared.filter(|it| it != Path::new("/")).collect(),
            },
            without_user: self.programs.without_user(),
            have_users: self.programs.have_users(),
            work_dir,
        }
    }
}
