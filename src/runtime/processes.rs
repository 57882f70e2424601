//! What the processes of a server share: who starts them, and where they may leave their files.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;

use super::directories::take_away;
use super::process::{Cgroups, Isolation, Kind, Limits, Program, Secrets, Spawner, User};

/// Where programs are started, and what stands between them and the server.
#[derive(Clone, Debug)]
pub struct Places {
    /// What belongs to this server only, and so names its directory and its groups.
    pub name: String,
    /// Directories of attempts are made below it.
    pub work_dir: PathBuf,
    /// Whether programs run in control groups.
    pub cgroups: bool,
    /// The walls that there must be; none: the best there can be.
    pub isolation: Option<Kind>,
    /// What no program may reach, and what programs use.
    pub secrets: Secrets,
    /// The programs, as the configuration names them, that have no user of their own.
    pub without_user: Vec<String>,
    /// Whether others have one.
    pub have_users: bool,
}

/// Something that keeps programs from the server, or does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it is called.
    pub name: &'static str,
    /// Whether it is there.
    pub on: bool,
    /// What it does, or why it does not.
    pub detail: String,
}

/// Where processes are started from, and what they get. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Processes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spawner: Spawner,
    isolation: Isolation,
    /// Directories of attempts are made in it.
    directory: PathBuf,
    /// Held, so that what clears away old temporary files leaves it.
    _guard: File,
    /// Why there are none, where there are none.
    cgroups: Result<Cgroups, String>,
    /// Programs that run as root.
    as_root: Vec<String>,
}

impl Processes {
    /// Starts the spawner, and clears away what an earlier server left.
    pub fn start(places: &Places) -> io::Result<Self> {
        let cgroups = match places.cgroups {
            true => Cgroups::prepare(&places.name),
            false => Err("the configuration says so".to_owned()),
        };
        let directory = places.work_dir.join(format!("futurity-{}", places.name));
        let directory = own_directory(&directory, places.have_users)?;
        let guard = File::open(&directory)?;
        // Where it cannot be had, it is not missed.
        flock(&guard, FlockOperation::NonBlockingLockShared).unwrap_or_default();
        let (spawner, isolation) = Isolation::start(places.isolation, &places.secrets)
            .map_err(|reason| io::Error::new(io::ErrorKind::Unsupported, reason))?;
        let is_root = geteuid().is_root();
        let as_root = places.without_user.iter().filter(|_| is_root).cloned().collect();
        let shared = Shared { spawner, isolation, directory, _guard: guard, cgroups, as_root };
        let it = Self { shared: Arc::new(shared) };
        for Layer { name, on, detail } in it.layers() {
            match name {
                USER if !on => tracing::warn!("{detail}"),
                _ => tracing::info!(layer = name, on, %detail, "between programs and the server"),
            }
        }
        Ok(it)
    }

    /// All that keeps programs from the server, and what of it is not there.
    #[must_use]
    pub fn layers(&self) -> Vec<Layer> {
        let shared = &self.shared;
        let layer = |name, (on, detail): (bool, String)| Layer { name, on, detail };
        let [namespaces, landlock] = shared.isolation.told.clone();
        let closed = match namespaces.0 || landlock.0 || shared.as_root.is_empty() {
            true => (true, "programs cannot look into the server's memory and environment"),
            false => (false, "programs run as root, which nothing keeps from looking"),
        };
        let cgroups = match &shared.cgroups {
            Ok(it) if it.controllers.is_empty() => (true, "they end programs".to_owned()),
            Ok(it) => (true, format!("they end programs, and bound {}", it.controllers.join(", "))),
            Err(reason) => (false, reason.clone()),
        };
        let user = match shared.as_root.as_slice() {
            [] => (true, "no program runs as root".to_owned()),
            names => {
                let names = names.join(", ");
                (false, format!("programs run as root; give them a `user`: {names}"))
            }
        };
        vec![
            layer("not_dumpable", (closed.0, closed.1.to_owned())),
            layer("namespaces", namespaces),
            layer("landlock", landlock),
            layer("cgroups", cgroups),
            layer(USER, user),
        ]
    }

    /// Who starts them.
    pub(super) fn spawner(&self) -> &Spawner {
        &self.shared.spawner
    }

    /// What counts and bounds them, or why nothing does but the look of their reaper.
    pub fn cgroups(&self) -> Result<&[String], &str> {
        match &self.shared.cgroups {
            Ok(cgroups) => Ok(&cgroups.controllers),
            Err(reason) => Err(reason),
        }
    }

    /// Takes away what was made for programs, once none of them runs. What is not empty stays.
    pub(super) fn clear(&self) {
        drop(fs::remove_dir(&self.shared.directory));
        if let Ok(cgroups) = &self.shared.cgroups {
            cgroups.remove();
        }
    }

    /// Makes a place for one program of `user`. Nothing else has this name meanwhile.
    pub(super) async fn place(&self, name: &str, user: Option<&User>) -> io::Result<Place> {
        let directory = self.shared.directory.join(name);
        let cgroup = self.shared.cgroups.as_ref().ok().map(|cgroups| cgroups.group(name));
        let mut make = tokio::fs::DirBuilder::new();
        make.mode(0o700);
        match make.create(&directory).await {
            // Left by an attempt of the same number, whose end was not recorded.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                removed(directory.clone()).await?;
                make.create(&directory).await?;
            }
            made => made?,
        }
        let place = Place { name: name.to_owned(), directory: Some(directory), cgroup };
        if let (Some(user), Some(directory)) = (user, &place.directory) {
            std::os::unix::fs::chown(directory, Some(user.user), Some(user.group))?;
        }
        Ok(place)
    }
}

/// What is called the user of programs.
const USER: &str = "user";

/// Makes a directory for directories of programs, whose users may go through it if they are `others`; takes away what
/// an earlier server left there.
fn own_directory(directory: &Path, others: bool) -> io::Result<PathBuf> {
    let mode = if others { 0o711 } else { 0o700 };
    match DirBuilder::new().mode(mode).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    // In a place where everybody may write, somebody may have been there first.
    let found = fs::symlink_metadata(directory)?;
    if !found.is_dir() || found.uid() != geteuid().as_raw() {
        let text = format!("{} is somebody else's: name another work_dir", directory.display());
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    fs::set_permissions(directory, Permissions::from_mode(mode))?;
    for entry in fs::read_dir(directory)? {
        // A program of a server that was killed a moment ago may still write; its reaper is about to end it.
        if let Err(error) = entry.and_then(|entry| take_away(&entry.path())) {
            tracing::warn!(%error, "some of what an earlier server left stays");
        }
    }
    directory.canonicalize()
}

/// A directory that one program has to itself, and the group that it runs in. It goes with its owner.
#[derive(Debug)]
pub(super) struct Place {
    name: String,
    directory: Option<PathBuf>,
    cgroup: Option<PathBuf>,
}

impl Place {
    /// A program that runs here, or in `elsewhere` if that is given: its home and its temporary files are here.
    pub(super) fn program(
        &self,
        argv: Vec<String>,
        mut environment: Vec<(String, String)>,
        elsewhere: Option<&Path>,
        (limits, user): (Limits, Option<User>),
    ) -> Program {
        let own = self.directory.clone().unwrap_or_default();
        for name in ["HOME", "TMPDIR"] {
            if !environment.iter().any(|(given, _)| given == name) {
                environment.push((name.to_owned(), own.display().to_string()));
            }
        }
        let directory = elsewhere.map_or(own, Path::to_owned);
        let (name, cgroup) = (self.name.clone(), self.cgroup.clone());
        Program { name, argv, environment, directory, cgroup, limits, user }
    }

    /// Takes the directory away with all that was left in it.
    pub(super) async fn remove(mut self) {
        if let Some(group) = self.cgroup.take() {
            let cleared = tokio::task::spawn_blocking(move || Cgroups::clear(&group));
            // It fails only if the server ends meanwhile.
            drop(cleared.await);
        }
        if let Some(directory) = self.directory.take()
            && let Err(error) = removed(directory.clone()).await
        {
            tracing::warn!(%error, directory = %directory.display(), "the directory of an attempt stays");
        }
    }
}

impl Drop for Place {
    /// The attempt was given up in the middle: the directory goes when nobody waits for it.
    fn drop(&mut self) {
        if let (Some(directory), Ok(runtime)) =
            (self.directory.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn_blocking(move || drop(take_away(&directory)));
        }
    }
}

async fn removed(directory: PathBuf) -> io::Result<()> {
    let taken = tokio::task::spawn_blocking(move || take_away(&directory)).await;
    taken.unwrap_or_else(|ended| Err(io::Error::other(ended)))
}
