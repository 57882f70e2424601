//! Whose a program is.

use std::ffi::CString;

use nix::unistd;
use rustix::process::{getegid, geteuid};
use rustix::thread::{
    CapabilitySet, Gid, Uid, capabilities, remove_capability_from_bounding_set, set_capabilities,
    set_thread_gid, set_thread_groups, set_thread_uid,
};
use serde::{Deserialize, Serialize};

use super::launch::Failed;

/// A user with groups, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub user: u32,
    /// The number of its group.
    pub group: u32,
    groups: Vec<u32>,
}

/// What a program that runs as root may do beside what every user may: what containers leave it, without devices of its
/// own making and without looking into the network. The rest reaches any process and any file.
const KEPT_BY_ROOT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::AUDIT_WRITE);

impl User {
    /// The user that is named, or numbered, with the groups that it is in; and the group, if that is named too. None if
    /// this process is that already.
    pub fn find(user: Option<&str>, group: Option<&str>) -> Result<Option<Self>, String> {
        let Some(name) = user else {
            return match group {
                Some(_) => Err("group goes with user only".to_owned()),
                None => Ok(None),
            };
        };
        let known = match name.parse() {
            Ok(number) => unistd::User::from_uid(unistd::Uid::from_raw(number)),
            Err(_name) => unistd::User::from_name(name),
        };
        let known = known.map_err(|error| format!("user '{name}' cannot be looked up: {error}"))?;
        let number = known.as_ref().map(|it| it.uid.as_raw()).or_else(|| name.parse().ok());
        let number = number.ok_or_else(|| format!("there is no user '{name}'"))?;
        let group = match group {
            Some(group) => Some(group_of(group)?),
            None => known.as_ref().map(|it| it.gid.as_raw()),
        };
        let group = group
            .ok_or_else(|| format!("user {number} is in no list of users: name its group too"))?;
        if number == geteuid().as_raw() && group == getegid().as_raw() {
            return Ok(None);
        }
        if !may_change() {
            return Err(format!(
                "only a server that runs as root can start programs as another user; run it as root, or take \
                 user = \"{name}\" out"
            ));
        }
        let groups = match known {
            Some(known) => groups_of(&known.name, group)?,
            None => vec![group],
        };
        Ok(Some(Self { user: number, group, groups }))
    }

    pub(super) fn is_root(&self) -> bool {
        self.user == 0
    }

    /// Makes this process, which has one thread, its own.
    pub(super) fn become_it(&self) -> Result<(), Failed> {
        let groups: Vec<Gid> = self.groups.iter().map(|number| Gid::from_raw(*number)).collect();
        set_thread_groups(&groups)
            .and_then(|()| set_thread_gid(Gid::from_raw(self.group)))
            .and_then(|()| set_thread_uid(Uid::from_raw(self.user)))
            .map_err(Failed::errno("change the user"))
    }
}

fn group_of(name: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let found = unistd::Group::from_name(name)
        .map_err(|error| format!("group '{name}' cannot be looked up: {error}"))?;
    found.map(|it| it.gid.as_raw()).ok_or_else(|| format!("there is no group '{name}'"))
}

fn groups_of(name: &str, group: u32) -> Result<Vec<u32>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("groups of user '{name}': {error}");
    let text = CString::new(name).map_err(|error| failed(&error))?;
    let groups = unistd::getgrouplist(&text, unistd::Gid::from_raw(group));
    let groups = groups.map_err(|error| failed(&error))?;
    Ok(groups.into_iter().map(unistd::Gid::as_raw).collect())
}

fn may_change() -> bool {
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    capabilities(None).is_ok_and(|own| own.effective.contains(needed))
}

/// A process that runs as root keeps only what does not reach the server.
pub(super) fn weaken_root() -> Result<(), Failed> {
    let drop_all = || {
        for capability in (CapabilitySet::all() - KEPT_BY_ROOT).iter() {
            match remove_capability_from_bounding_set(capability) {
                // An older kernel does not know it.
                Err(rustix::io::Errno::INVAL) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        let mut own = capabilities(None)?;
        own.inheritable = CapabilitySet::empty();
        set_capabilities(None, own)
    };
    drop_all().map_err(Failed::errno("give up capabilities"))
}
