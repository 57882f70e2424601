//! What the pages say of the tree, held against it: every path, function and link that they name is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::source::{self, SourceFile};

/// Pages of records: what they name was there when they were written.
const RECORDS: [&str; 2] = ["docs/decisions/", "CHANGELOG.md"];
/// Folders that are made, beside those whose names begin with a dot.
const NOT_OURS: [&str; 4] = ["target", "futurity-data", "__pycache__", "node_modules"];
/// Files that a user writes; the pages name them, and the tree has none.
const OF_USERS: [&str; 2] = ["futurity.toml", "script.sh"];
/// How a name ends that is a file of the tree.
const ENDINGS: [&str; 7] = [".rs", ".md", ".py", ".toml", ".yaml", ".sh", ".sql"];

/// Everything that the pages are held against.
struct Tree {
    /// Every file and, with a `/` at its end, every folder.
    paths: BTreeSet<String>,
    code: Vec<SourceFile>,
}

struct Page {
    path: String,
    text: String,
}

#[test]
fn every_path_and_function_that_a_page_names_is_there() {
    let tree = Tree::read();
    let faults: Vec<String> =
        pages(&tree).iter().flat_map(|page| lost_names(page, &tree)).collect();
    assert!(faults.is_empty(), "{} names of nothing:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let tree = Tree::read();
    let all: Vec<&String> = tree.paths.iter().filter(|path| path.ends_with(".md")).collect();
    let faults: Vec<String> =
        all.iter().flat_map(|path| broken_links(&Page::read(path), &tree)).collect();
    assert!(faults.is_empty(), "{} broken links:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_test_that_the_page_on_security_names_is_there() {
    let tree = Tree::read();
    let page = Page::read("docs/security.md");
    let cells = page.text.lines().filter_map(|line| line.rsplit('|').nth(1));
    let words: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    assert!(words.len() > 20, "the last column names tests");
    let lost: Vec<&&str> = words.iter().filter(|word| !tree.has_test(word)).collect();
    assert!(lost.is_empty(), "docs/security.md names tests that are not there: {lost:?}");
}

#[test]
fn the_map_names_every_folder() {
    let tree = Tree::read();
    let map = Page::read("ARCHITECTURE.md").text;
    // A folder beside the file of its name is named with it.
    let names = |path: &str| {
        let folder = last_of(path);
        map.contains(folder) || map.contains(&format!("{}.rs", folder.trim_end_matches('/')))
    };
    let lost: Vec<&String> = tree.folders().filter(|path| !names(path)).collect();
    assert!(lost.is_empty(), "ARCHITECTURE.md does not name these folders: {lost:#?}");
}

#[test]
fn every_decision_has_one_row_that_says_whether_it_is_in_force() {
    let tree = Tree::read();
    let records = tree.paths.iter().filter_map(|path| path.strip_prefix(RECORDS[0]));
    let files: BTreeSet<&str> = records.filter(|name| name.starts_with(char::is_numeric)).collect();
    let index = Page::read("docs/decisions/README.md").text;
    let rows: Vec<(&str, &str)> = index.lines().filter_map(row_of_a_decision).collect();
    let named: BTreeSet<&str> = rows.iter().map(|(file, _)| *file).collect();
    let odd: Vec<_> = files.symmetric_difference(&named).collect();
    assert!(
        odd.is_empty(),
        "a page and a row belong together in docs/decisions/README.md: {odd:?}"
    );
    assert_eq!(rows.len(), named.len(), "a page has one row");
    for (file, state) in rows {
        let page = Page::read(&format!("docs/decisions/{file}")).text;
        let is_superseded = page.contains("\n**Superseded** by ");
        let fits = if is_superseded { "superseded by " } else { "in force" };
        assert!(state.starts_with(fits), "{file}: the index says {state:?}, the page {fits:?}");
    }
}

/// `| [0001](file.md) Title | state |`: the file and the state.
fn row_of_a_decision(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.strip_prefix("| [")?.split_once("](")?;
    let (file, rest) = rest.split_once(')')?;
    Some((file, rest.rsplit('|').nth(1)?.trim()))
}

#[test]
fn the_readme_is_short() {
    let lines = Page::read("README.md").text.lines().count();
    assert!(lines <= 200, "README.md has {lines} lines; 200 are read");
}

/// The pages that tell how things are, as against records of what was.
fn pages(tree: &Tree) -> Vec<Page> {
    let is_record = |path: &&String| RECORDS.iter().any(|record| path.starts_with(record));
    let paths = tree.paths.iter().filter(|path| path.ends_with(".md") && !is_record(path));
    paths.map(|path| Page::read(path)).collect()
}

fn lost_names(page: &Page, tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in (1..).zip(page.text.lines()) {
        for name in line.split('`').skip(1).step_by(2).flat_map(spelt_out) {
            if !tree.has(&name) {
                faults.push(format!("{}:{number}: `{name}`", page.path));
            }
        }
    }
    faults
}

fn broken_links(page: &Page, tree: &Tree) -> Vec<String> {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let targets = page.text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let inside = targets.map(|(target, _)| target).filter(|target| !target.contains(':'));
    let is_broken = |target: &&str| {
        let (path, heading) = target.split_once('#').unwrap_or((target, ""));
        let whole = if path.is_empty() { page.path.clone() } else { joined(folder, path) };
        let there = tree.paths.contains(&whole) || tree.paths.contains(&format!("{whole}/"));
        !there || (!heading.is_empty() && !Page::read(&whole).has_heading(heading))
    };
    inside.filter(is_broken).map(|target| format!("{}: {target}", page.path)).collect()
}

/// `docs` and `../README.md` is `README.md`.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.trim_end_matches('/').split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

/// `a/{b,c}.rs` is two names.
fn spelt_out(name: &str) -> Vec<String> {
    let parts = name.split_once('{').and_then(|(before, rest)| {
        let (choices, after) = rest.split_once('}')?;
        Some((before, choices, after))
    });
    match parts {
        Some((before, choices, after)) if choices.contains(',') => {
            choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
        }
        _ => vec![name.to_owned()],
    }
}

impl Page {
    fn read(path: &str) -> Self {
        let whole = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        Self { path: path.to_owned(), text: fs::read_to_string(whole).expect("a page") }
    }

    /// Whether a heading has this anchor, as GitHub makes them.
    fn has_heading(&self, anchor: &str) -> bool {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor_of(line.trim_start_matches('#').trim())).any(|it| it == anchor)
    }
}

fn anchor_of(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

impl Tree {
    fn read() -> Self {
        let mut paths = BTreeSet::new();
        list(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut paths);
        Self { paths, code: source::read_tree() }
    }

    /// Folders of the source, and those at the top.
    fn folders(&self) -> impl Iterator<Item = &String> {
        let is_named = |path: &&String| {
            path.ends_with('/') && (path.starts_with("src/") || path.matches('/').count() == 1)
        };
        self.paths.iter().filter(is_named)
    }

    /// Whether what is written so is there, or is no name of a file, a folder or a function.
    fn has(&self, name: &str) -> bool {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:".contains(c);
        if !name.chars().all(plain) || name.starts_with(['/', '.']) || OF_USERS.contains(&name) {
            return true;
        }
        match name.split_once("::") {
            Some((file, function)) if file.ends_with(".rs") => {
                self.code.iter().any(|code| ends_in(&code.path, file) && defines(code, function))
            }
            Some((owner, function)) if is_type(owner) && is_function(function) => {
                self.code.iter().any(|code| implements(code, owner) && defines(code, function))
            }
            Some(_) => true,
            None if is_path(name) => self.paths.iter().any(|path| ends_in(path, name)),
            None => true,
        }
    }

    /// `keys::` is a module of tests, `make …` a command, and any other word a part of a test's name.
    fn has_test(&self, word: &str) -> bool {
        match word.strip_suffix("::") {
            Some(module) => self.code.iter().any(|code| code.stem() == module),
            None if word.starts_with("make ") => true,
            None => self
                .code
                .iter()
                .any(|code| code.find(&["fn"]).any(|at| code.code(at + 1).contains(word))),
        }
    }
}

fn defines(code: &SourceFile, function: &str) -> bool {
    code.find(&["fn", function]).next().is_some()
}

fn implements(code: &SourceFile, owner: &str) -> bool {
    code.find(&["impl"]).any(|at| (1..12).any(|next| code.code(at + next) == owner))
}

fn is_type(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase()) && !word.contains('.')
}

fn is_function(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase()) && !word.contains(':')
}

fn is_path(name: &str) -> bool {
    let is_folder = name.ends_with('/') && !name.contains(':');
    is_folder || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether the path ends in these whole parts.
fn ends_in(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

/// `src/engine/keys/` is `keys/`.
fn last_of(folder: &str) -> &str {
    let end = folder.trim_end_matches('/');
    &folder[end.rfind('/').map_or(0, |at| at + 1)..]
}

fn list(root: &Path, below: &str, paths: &mut BTreeSet<String>) {
    for entry in fs::read_dir(root.join(below)).expect("the folder can be listed") {
        let entry = entry.expect("the entry can be read");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{below}{name}");
        if entry.file_type().expect("its type").is_dir() {
            list(root, &format!("{path}/"), paths);
            paths.insert(format!("{path}/"));
        } else {
            paths.insert(path);
        }
    }
}

#[test]
fn names_that_lead_nowhere_are_found_and_others_are_not() {
    let paths = ["src/a/", "src/a/b.rs", "docs/x.md"].map(str::to_owned).into();
    let code = vec![SourceFile::new("src/a/b.rs", "impl Deep<X> { fn dive() {} }")];
    let tree = Tree { paths, code };
    for there in ["b.rs", "a/b.rs", "src/a/", "a/", "b.rs::dive", "Deep::dive", "POST /v1/x"] {
        assert!(tree.has(there), "{there}");
    }
    for nothing in ["c.rs", "x/b.rs", "src/c/", "b.rs::swim", "Deep::swim", "Flat::dive"] {
        assert!(!tree.has(nothing), "{nothing}");
    }
    for no_name in ["/proc/", "futurity.toml", "result", "1.5", "std::io", "--listen"] {
        assert!(tree.has(no_name), "{no_name}");
    }
    let page = |text: &str| Page { path: "docs/y.md".to_owned(), text: text.to_owned() };
    assert_eq!(
        broken_links(&page("[a](x.md) [b](../src/a/b.rs) [c](https://x.y)"), &tree).len(),
        0
    );
    assert_eq!(broken_links(&page("[a](z.md) [b](src/a/b.rs)"), &tree).len(), 2);
    assert!(page("## What `a/b` is").has_heading("what-ab-is"));
    assert_eq!(spelt_out("a/{b,c}.rs"), ["a/b.rs", "a/c.rs"]);
}
