//! Which files are compiled at all, and where tests live.

use std::collections::HashSet;

use crate::{
    ORPHAN,
    source::{SourceFile, Violation},
};

/// `orphan`: every file is a crate's root or is named by a `mod`; else nobody compiles it.
pub fn orphans(files: &[SourceFile]) -> Vec<Violation> {
    let declared: HashSet<String> = files.iter().flat_map(declares).collect();
    let lost = files.iter().filter(|file| !is_root(&file.path) && !declared.contains(&file.path));
    lost.map(|file| {
        let text = "no `mod` names this file, so nobody compiles it; declare it or remove it";
        file.violation(ORPHAN, 1, text)
    })
    .collect()
}

/// `test-home`: a test in another folder would be a binary of its own, or no test at all.
pub fn tests_live_where_cargo_looks(file: &SourceFile) -> Vec<Violation> {
    let Some(inside) = file.path.strip_prefix("tests/") else { return Vec::new() };
    if !inside.contains('/') || inside.starts_with("it/") || inside.starts_with("tidy/") {
        return Vec::new();
    }
    // `#[test]`, `#[tokio::test]`, `#[tokio::test(start_paused = true)]`.
    let attribute = |at: &usize| {
        let opened = (0..*at).rev().take(4).find(|i| file.code(*i) == "[");
        opened.is_some_and(|open| open > 0 && file.code(open - 1) == "#")
            && matches!(file.code(at + 1), "]" | "(")
    };
    let text = "a test outside tests/*.rs and tests/it; move it to tests/it";
    let bad = file.find(&["test"]).filter(attribute);
    bad.map(|at| file.violation("test-home", file.tokens[at].line, text)).collect()
}

/// The files that a file's `mod name;` lines may mean.
fn declares(file: &SourceFile) -> Vec<String> {
    let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let own = match file.stem() {
        "mod" | "lib" | "main" => folder.to_owned(),
        _ if is_root(&file.path) => folder.to_owned(),
        stem => format!("{folder}/{stem}"),
    };
    let mut names = Vec::new();
    for at in file.find(&["mod"]).filter(|at| file.code(at + 2) == ";") {
        let name = file.code(at + 1);
        names.push(format!("{own}/{name}.rs"));
        names.push(format!("{own}/{name}/mod.rs"));
    }
    for at in file.find(&["#", "[", "path", "="]) {
        let path = file.tokens.get(at + 4).map_or("", |token| token.text.trim_matches('"'));
        names.push(format!("{folder}/{path}"));
    }
    names
}

fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts[..],
        ["src", "main.rs" | "lib.rs"] | ["src", "bin", ..] | ["tests", _] | ["tests", _, "main.rs"]
    )
}
