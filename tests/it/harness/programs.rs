//! Programs for tests: where Python is, and what of a program is still there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::process::{Home, Process};

/// The Python that the machine has, as a whole path.
pub fn python() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let asked =
            Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        let output = asked.expect("python3, which the tests need");
        String::from_utf8(output.stdout).expect("a path").trim().to_owned()
    })
}

/// A `PATH` on which Python and the tools of the system are.
pub fn search_path() -> String {
    let python = Path::new(python()).parent().expect("a directory").display();
    format!("{python}:/usr/local/bin:/usr/bin:/bin")
}

/// A server on `home`, configured by `text`; `PYTHON` in it stands for the path of Python.
pub async fn serving(home: &Home, text: &str) -> Process {
    configure(home, text);
    home.start(&["--grace-seconds", "0"]).await
}

/// Writes the configuration file of `home`.
pub fn configure(home: &Home, text: &str) {
    let text = text.replace("PYTHON", python());
    std::fs::write(home.file("futurity.toml"), text).expect("a configuration file");
}

/// Writes a program of the test's own.
pub fn script(home: &Home, name: &str, text: &str) -> PathBuf {
    let file = home.file(name);
    std::fs::write(&file, text).expect("a script");
    file
}

/// The living processes in whose command line `mark` stands.
pub fn alive(mark: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let lines = entries.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.contains(mark).then(|| format!("{number}: {line}"))
    });
    lines.collect()
}
