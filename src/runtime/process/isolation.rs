//! Which walls there can be between programs and the server, and why not others.

use std::path::PathBuf;

use super::handle::Spawner;
use super::mounts::{mounts, names_of, points_of};
use super::walls::{Kind, Walls, landlock_scopes_signals};

/// What programs must not reach, and what they need.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Directories that programs work in, and the files that they are.
    pub used: Vec<PathBuf>,
    /// Other directories that they may want to be whole.
    pub shared: Vec<PathBuf>,
}

/// What stands between programs and the server.
#[derive(Clone, Debug)]
pub struct Isolation {
    /// What they hold off, or why they do not, in words for the operator: of namespaces, then of Landlock.
    pub told: [(bool, String); 2],
}

impl Isolation {
    /// Puts up the best walls there can be, or those that are `wanted`, and starts who starts programs behind them.
    ///
    /// # Errors
    /// Why those that are wanted cannot be had.
    pub fn start(wanted: Option<Kind>, secrets: &Secrets) -> Result<(Spawner, Self), String> {
        let mut told = [Kind::Namespaces, Kind::Landlock].map(|_| (false, UNWANTED.to_owned()));
        let best_first = [Kind::Namespaces, Kind::Landlock, Kind::None];
        for (place, kind) in best_first.into_iter().enumerate() {
            if wanted.is_some_and(|wanted| wanted != kind) {
                continue;
            }
            let (walls, says) = match plan(kind, secrets) {
                Ok(planned) => planned,
                Err(reason) if wanted == Some(kind) => return Err(reason),
                Err(reason) => {
                    told[place] = (false, reason);
                    continue;
                }
            };
            match Spawner::start(walls) {
                Ok(spawner) => {
                    if let Some(of_kind) = told.get_mut(place) {
                        *of_kind = (true, says);
                    }
                    if kind == Kind::Namespaces && wanted.is_none() {
                        told[1].1 = "namespaces do the same, and more".to_owned();
                    }
                    return Ok((spawner, Self { told }));
                }
                Err(refused) if wanted == Some(kind) || kind == Kind::None => {
                    return Err(refused.to_string());
                }
                Err(refused) => told[place] = (false, refused.to_string()),
            }
        }
        Err("no program can be started".to_owned())
    }
}

/// Of walls that nobody asked for.
const UNWANTED: &str = "the configuration says so";

/// What is to be put up, and what that holds off.
fn plan(kind: Kind, secrets: &Secrets) -> Result<(Walls, String), String> {
    let whole = |paths: &[PathBuf]| -> Vec<PathBuf> {
        paths.iter().filter_map(|it| it.canonicalize().ok()).collect()
    };
    let used = whole(&secrets.used);
    let mounts = mounts();
    // Where there is no data directory, as in a check, there is nothing to hide.
    let data_dir = secrets.data_dir.canonicalize().ok();
    let names = data_dir.as_ref().map(|it| names_of(it, &mounts)).unwrap_or_default();
    let mut walls = Walls {
        kind,
        hidden: Vec::new(),
        read_only: points_of(&["cgroup", "cgroup2"], &mounts),
        read_only_for_root: points_of(&["sysfs"], &mounts),
    };
    match kind {
        Kind::Namespaces => {
            let says = match inside(&used, &names) {
                Some(inside) => format!(
                    "programs see no process but their own; the data directory is NOT hidden, for {} lies in it",
                    inside.display()
                ),
                None => {
                    walls.hidden = names;
                    "programs see no process but their own, and nothing of the data directory"
                        .to_owned()
                }
            };
            Ok((walls, says))
        }
        Kind::Landlock => landlock(walls, names, (&used, &whole(&secrets.shared))),
        Kind::None => Ok((walls, String::new())),
    }
}

fn landlock(
    mut walls: Walls,
    names: Vec<PathBuf>,
    (used, shared): (&[PathBuf], &[PathBuf]),
) -> Result<(Walls, String), String> {
    let scopes = landlock_scopes_signals();
    let signals = match scopes {
        true => "programs can signal no process but their own",
        false => "programs can signal the server: Linux before 6.12 does not keep them from it",
    };
    let is_below = |folder: &&PathBuf| {
        folder.is_dir() && names.iter().any(|name| name != *folder && name.starts_with(folder))
    };
    let above = used.iter().chain(shared).find(is_below);
    let files = match (inside(used, &names), above) {
        (Some(inside), _) => {
            format!("the data directory is NOT closed to them, for {} lies in it", inside.display())
        }
        (None, Some(folder)) => format!(
            "the data directory is NOT closed to them, for it lies in {}, which they use",
            folder.display()
        ),
        (None, None) => {
            walls.hidden = names;
            "the data directory is closed to them".to_owned()
        }
    };
    if walls.hidden.is_empty() && !scopes {
        return Err(format!("{signals}; {files}"));
    }
    Ok((walls, format!("{signals}; {files}")))
}

/// What programs are, or work in, and what would be hidden from them.
fn inside<'a>(used: &'a [PathBuf], names: &[PathBuf]) -> Option<&'a PathBuf> {
    used.iter().find(|it| names.iter().any(|name| it.starts_with(name)))
}
