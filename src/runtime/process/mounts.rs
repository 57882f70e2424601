//! What is mounted where (proc(5), `mountinfo`).

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Something that is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The file system, as a pair of numbers.
    device: String,
    /// Which directory of the file system it shows.
    root: PathBuf,
    pub(super) point: PathBuf,
    /// Of which kind the file system is.
    pub(super) kind: String,
}

/// All that this process sees.
pub(super) fn mounts() -> Vec<Mount> {
    let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
    text.split(|byte| *byte == b'\n').filter_map(parsed).collect()
}

/// All paths by which a directory can be reached: a file system may be mounted twice.
pub(super) fn names_of(directory: &Path, mounts: &[Mount]) -> Vec<PathBuf> {
    let mut names = vec![directory.to_owned()];
    let Ok(own) = directory.metadata() else { return names };
    let holds = |mount: &&Mount| directory.starts_with(&mount.point);
    // Of two at one point the later lies on top.
    let Some(home) = mounts.iter().filter(holds).max_by_key(|it| it.point.components().count())
    else {
        return names;
    };
    let inner = home.root.join(directory.strip_prefix(&home.point).unwrap_or(Path::new("")));
    for mount in mounts.iter().filter(|mount| mount.device == home.device) {
        let Ok(below) = inner.strip_prefix(&mount.root) else { continue };
        let name = mount.point.join(below);
        let is_it = |it: &fs::Metadata| (it.dev(), it.ino()) == (own.dev(), own.ino());
        if !names.contains(&name) && name.metadata().is_ok_and(|it| is_it(&it)) {
            names.push(name);
        }
    }
    names
}

/// Where file systems of these kinds are mounted, without those below another.
pub(super) fn points_of(kinds: &[&str], mounts: &[Mount]) -> Vec<PathBuf> {
    let of_kind = mounts.iter().filter(|mount| kinds.contains(&mount.kind.as_str()));
    let mut points: Vec<PathBuf> = of_kind.map(|mount| mount.point.clone()).collect();
    points.sort();
    points.dedup_by(|point, before| point.starts_with(before));
    points
}

fn parsed(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let device = text(fields.nth(2)?);
    let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?);
    Some(Mount { device, root, point, kind })
}

/// A space and some other characters are written as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\');
        let code = octal.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read_with_its_odd_characters() {
        let line = br"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root rw";
        let mount = parsed(line).unwrap();
        let (root, point) = ("/mnt1".into(), "/mnt 2".into());
        assert_eq!(mount, Mount { device: "98:0".into(), root, point, kind: "ext3".into() });
        assert!(parsed(b"36 35").is_none());
    }
}
