//! Inside the store no arrow runs back up either: no file names one that leads back to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    CIRCLE,
    paths::named,
    source::{SourceFile, Violation},
};

const STORE: &str = "src/store/";
/// Tests name everything, and nothing names them: the suite, and what only SQLite promises.
const SUITES: &[&str] = &["src/store/conformance", "src/store/sqlite/tests/"];
/// A folder that is one value in several files: the parent owns it, and each file has what is done with a part of it.
const ONE_VALUE: &[&str] = &["src/store/sqlite/slots/"];
/// Parts of the store, and the parts that each may name.
const PARTS: &[(&str, &[&str])] = &[
    ("contract", &["contract"]),
    ("codec", &["contract", "codec"]),
    ("sqlite", &["contract", "codec", "sqlite"]),
];

/// For each file or folder, what it names, and in which line of which file.
type Arrows<'a> = BTreeMap<&'a str, BTreeMap<&'a str, (&'a SourceFile, usize)>>;

/// `circle`: the arrows between the files of the store lead down, at whatever distance.
pub fn no_circle_in_the_store(files: &[SourceFile]) -> Vec<Violation> {
    let arrows = arrows(files);
    let mut found = Vec::new();
    for (from, named) in &arrows {
        for (to, (file, line)) in named {
            if leads(&arrows, to, from) {
                let text = format!("{to} leads back to {from}; move what both need below both");
                found.push(file.violation(CIRCLE, *line, text));
            }
        }
    }
    found
}

/// `part`: what is shared by all backends knows none of them.
pub fn parts_of_the_store_look_down(file: &SourceFile) -> Vec<Violation> {
    let module = file.module();
    let ["store", home, ..] = module[..] else { return Vec::new() };
    if is_suite(file) {
        return Vec::new();
    }
    let Some((_, may_name)) = PARTS.iter().find(|(part, _)| *part == home) else {
        return Vec::new();
    };
    let paths = named(file);
    let bad = paths.iter().filter_map(|path| match path.below_root()?[..] {
        ["store", part, ..] if !may_name.contains(&part) => Some((path.line, part)),
        _ => None,
    });
    let complain = |(line, part)| {
        file.violation("part", line, format!("store::{home} may not name store::{part}"))
    };
    bad.map(complain).collect()
}

fn is_suite(file: &SourceFile) -> bool {
    SUITES.iter().any(|suite| file.path.starts_with(suite))
}

fn arrows(files: &[SourceFile]) -> Arrows<'_> {
    let ours = |file: &&SourceFile| file.path.starts_with(STORE) && !is_suite(file);
    let paths: BTreeSet<&str> = files.iter().filter(ours).map(|file| file.path.as_str()).collect();
    let mut arrows = Arrows::new();
    for file in files.iter().filter(ours) {
        let from = node(&file.path);
        for path in named(file) {
            let Some(to) = path.below_root().and_then(|place| home_of(&place, &paths)) else {
                continue;
            };
            if node(to) != from {
                arrows.entry(from).or_default().entry(node(to)).or_insert((file, path.line));
            }
        }
    }
    arrows
}

/// The file that a path leads into.
fn home_of<'a>(place: &[&str], paths: &BTreeSet<&'a str>) -> Option<&'a str> {
    let candidates = (2..=place.len()).rev().flat_map(|length| {
        let module = place[..length].join("/");
        [format!("src/{module}.rs"), format!("src/{module}/mod.rs")]
    });
    candidates.into_iter().find_map(|path| paths.get(path.as_str()).copied())
}

fn node(path: &str) -> &str {
    let folder = ONE_VALUE.iter().find(|folder| path.starts_with(**folder));
    folder.map_or(path, |folder| &path[..folder.len()])
}

fn leads(arrows: &Arrows<'_>, from: &str, to: &str) -> bool {
    let (mut open, mut seen) = (vec![from], BTreeSet::new());
    while let Some(place) = open.pop() {
        if place == to {
            return true;
        }
        if seen.insert(place) {
            open.extend(arrows.get(place).into_iter().flat_map(BTreeMap::keys));
        }
    }
    false
}

#[test]
fn a_circle_of_any_length_is_found_and_a_chain_is_none() {
    let files = |texts: &[(&str, &str)]| -> Vec<SourceFile> {
        texts.iter().map(|(path, text)| SourceFile::new(path, text)).collect()
    };
    let a = ("src/store/a.rs", "use crate::store::b::B;");
    let b = ("src/store/b.rs", "fn f() { super::c::go() }");
    let (end, back) = (("src/store/c.rs", "struct C;"), ("src/store/c.rs", "use super::a::A;"));
    assert!(no_circle_in_the_store(&files(&[a, b, end])).is_empty(), "a chain");
    assert_eq!(no_circle_in_the_store(&files(&[a, b, back])).len(), 3, "each arrow of a circle");
}

#[test]
fn what_is_shared_names_no_backend() {
    let contract = SourceFile::new("src/store/contract/a.rs", "use crate::store::sqlite::Txn;");
    assert_eq!(parts_of_the_store_look_down(&contract).len(), 1);
    let sqlite = SourceFile::new("src/store/sqlite/a.rs", "use crate::store::contract::Job;");
    assert!(parts_of_the_store_look_down(&sqlite).is_empty());
}
