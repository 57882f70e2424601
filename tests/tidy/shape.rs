//! The shape of a file: its length, its title, its name.

use crate::source::{SourceFile, Violation};

const LINES_MAX: usize = 400;
const MAIN_LINES_MAX: usize = 40;

/// Names that say nothing, as a whole file or folder name.
const VAGUE: &[&str] = &["types", "models", "service"];

/// Words that say nothing, anywhere in a name: `test_utils`, `queue_manager`.
const VAGUE_WORDS: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc", "manager"];

/// `unread`: the other rules see only what the lexer can read.
pub fn reads_as_rust(file: &SourceFile) -> Vec<Violation> {
    let text = "the lexer cannot read this file, so no rule is checked in it";
    let bad = (!file.readable).then(|| file.violation("unread", 1, text));
    bad.into_iter().collect()
}

/// `lines`: a file that fits in the head.
pub fn files_are_short(file: &SourceFile) -> Vec<Violation> {
    too_long(file, "lines", LINES_MAX, "split it where its topic splits")
}

/// `main`: arguments and an exit code, no more.
pub fn main_is_tiny(file: &SourceFile) -> Vec<Violation> {
    match file.path.as_str() {
        "src/main.rs" => too_long(file, "main", MAIN_LINES_MAX, "move the work to app.rs or cli"),
        _ => Vec::new(),
    }
}

/// `title`: the first line says what the file is.
pub fn opens_with_a_title(file: &SourceFile) -> Vec<Violation> {
    let first = file.text.lines().next().unwrap_or_default();
    let titled = first.strip_prefix("//!").is_some_and(|title| !title.trim().is_empty());
    let text = "the first line is no title; open the file with `//! What it is.`";
    let bad = (!titled).then(|| file.violation("title", 1, text));
    bad.into_iter().collect()
}

/// `name`: no junk drawer, neither as a file nor as a folder.
pub fn has_a_sharp_name(file: &SourceFile) -> Vec<Violation> {
    let vague = |part: &&str| {
        VAGUE.contains(part) || part.split('_').any(|word| VAGUE_WORDS.contains(&word))
    };
    let bad = file.path.trim_end_matches(".rs").split('/').find(vague);
    let complain = |part: &str| {
        let text = format!("`{part}` says nothing; name the thing, and put it beside its user");
        file.violation("name", 1, text)
    };
    bad.map(complain).into_iter().collect()
}

fn too_long(file: &SourceFile, rule: &'static str, most: usize, mend: &str) -> Vec<Violation> {
    let lines = file.text.lines().count();
    if lines <= most {
        return Vec::new();
    }
    let mut violation = file.violation(rule, lines, format!("{lines} lines of {most}; {mend}"));
    violation.weight = lines;
    vec![violation]
}
