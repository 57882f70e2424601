//! Directories that programs have left, and how they go.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, chmod, openat};
use rustix::io::Errno;
use rustix::path::Arg as _;

/// Takes a directory away with all that is in it, also where its program has taken the right to write from itself, as
/// caches of modules do.
pub(super) fn take_away(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(CWD, &directory.into_c_str()?)?;
            std::fs::remove_dir_all(directory)
        }
        done => done,
    }
}

/// Gives the owner all rights to a directory and to those in it. Links are not followed: they lead to what is not the
/// program's.
fn open_up(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A directory that may not be read can still be held.
    let held = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
    chmod(format!("/proc/self/fd/{}", held.as_raw_fd()), Mode::RWXU)?;
    let opened = openat(&held, c".", flags, Mode::empty())?;
    for entry in Dir::new(opened)? {
        let entry = entry?;
        let may_be_one = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        if !may_be_one || [c".", c".."].contains(&entry.file_name()) {
            continue;
        }
        match open_up(held.as_fd(), entry.file_name()) {
            Err(error) if error.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) => {}
            done => done?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_a_program_closed_to_itself_goes_and_what_it_links_to_stays_as_it_is() {
        let outside = tempfile::tempdir().expect("a directory");
        let place = tempfile::tempdir().expect("a directory");
        let kept = outside.path().join("kept");
        fs::create_dir(&kept).expect("a directory");
        fs::set_permissions(&kept, Permissions::from_mode(0o555)).expect("its rights");
        let work = place.path().join("work");
        let deep = work.join("go/pkg/mod");
        fs::create_dir_all(&deep).expect("directories");
        fs::write(deep.join("go.mod"), "1").expect("a file");
        symlink(&kept, deep.join("link")).expect("a link");
        for (path, mode) in [(deep.clone(), 0o555), (work.join("go/pkg"), 0o000)] {
            fs::set_permissions(path, Permissions::from_mode(mode)).expect("its rights");
        }
        // Who may do everything needs no rights, so this part is tried on its own as well.
        open_up(CWD, &work.clone().into_c_str().expect("a path")).expect("opened up");
        let mode = |path: &Path| fs::metadata(path).expect("a directory").permissions().mode();
        assert_eq!([mode(&deep) & 0o777, mode(&kept) & 0o777], [0o700, 0o555]);
        fs::set_permissions(&deep, Permissions::from_mode(0o000)).expect("its rights");
        take_away(&work).expect("taken away");
        assert!(!work.exists() && kept.exists());
    }
}
