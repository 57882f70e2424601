//! What the processes of a server share: who starts them, and where they may leave their files.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::process::{Cgroups, Limits, Program, Spawner};

/// Where processes are started from, and what they get. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Processes {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spawner: Spawner,
    /// Directories of attempts are made in it.
    directory: PathBuf,
    /// Why there are none, where there are none.
    cgroups: Result<Cgroups, String>,
}

impl Processes {
    /// Starts the spawner, and clears away what an earlier server left in `directory`. Its groups are called `name`,
    /// if it is to make some.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(directory: &Path, name: Option<&str>) -> io::Result<Self> {
        let none = || Err("the configuration says so".to_owned());
        let cgroups = name.map_or_else(none, Cgroups::prepare);
        match std::fs::remove_dir_all(directory) {
            // A program of a server that was killed a moment ago may still write; its keeper is about to end it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "some of what an earlier server left stays");
            }
            _ => {}
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        match &cgroups {
            Ok(cgroups) => {
                tracing::info!(controllers = ?cgroups.controllers, "programs run in cgroups of their own")
            }
            Err(reason) => tracing::info!(%reason, "programs run without cgroups"),
        }
        let directory = directory.canonicalize()?;
        Ok(Self { shared: Arc::new(Shared { spawner: Spawner::start()?, directory, cgroups }) })
    }

    /// Who starts them.
    pub(super) fn spawner(&self) -> &Spawner {
        &self.shared.spawner
    }

    /// What counts and bounds them, or why nothing does but the look of their keeper.
    pub fn cgroups(&self) -> Result<&[String], &str> {
        match &self.shared.cgroups {
            Ok(cgroups) => Ok(&cgroups.controllers),
            Err(reason) => Err(reason),
        }
    }

    /// Takes away what was made for programs, once none of them runs.
    pub(super) fn clear(&self) {
        if let Ok(cgroups) = &self.shared.cgroups {
            cgroups.remove();
        }
    }

    /// Makes a place for one program. Nothing else has this name meanwhile.
    pub(super) async fn place(&self, name: &str) -> io::Result<Place> {
        let directory = self.shared.directory.join(name);
        let cgroup = self.shared.cgroups.as_ref().ok().map(|cgroups| cgroups.group(name));
        let mut make = tokio::fs::DirBuilder::new();
        make.mode(0o700);
        match make.create(&directory).await {
            // Left by an attempt of the same number, whose end was not recorded.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                tokio::fs::remove_dir_all(&directory).await?;
                make.create(&directory).await?;
            }
            made => made?,
        }
        Ok(Place { name: name.to_owned(), directory: Some(directory), cgroup })
    }
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
        limits: Limits,
    ) -> Program {
        let own = self.directory.clone().unwrap_or_default();
        for name in ["HOME", "TMPDIR"] {
            if !environment.iter().any(|(given, _)| given == name) {
                environment.push((name.to_owned(), own.display().to_string()));
            }
        }
        let directory = elsewhere.map_or(own, Path::to_owned);
        let (name, cgroup) = (self.name.clone(), self.cgroup.clone());
        Program { name, argv, environment, directory, cgroup, limits }
    }

    /// Takes the directory away with all that was left in it.
    pub(super) async fn remove(mut self) {
        if let Some(group) = self.cgroup.take() {
            let cleared = tokio::task::spawn_blocking(move || Cgroups::clear(&group));
            // It fails only if the server ends meanwhile.
            drop(cleared.await);
        }
        if let Some(directory) = self.directory.take()
            && let Err(error) = tokio::fs::remove_dir_all(&directory).await
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
            runtime.spawn_blocking(move || drop(std::fs::remove_dir_all(directory)));
        }
    }
}
