//! The words of `docs/glossary.md`: the list of those that are our own only gets shorter.

use std::collections::BTreeSet;

use crate::source::{self, SourceFile};

const PAGE: &str = include_str!("../../docs/glossary.md");
const OWN: &str = "\n## Words of our own\n";
/// How many words of our own there may be. Lower it when one goes.
const OWN_MAX: usize = 19;
/// Words that were ours and went: no name bears them again.
const WENT: [&str; 14] = [
    "alarm",
    "attendant",
    "confidence",
    "courier",
    "doomed",
    "lanes",
    "ledger",
    "misfit",
    "seat",
    "shelf",
    "suspects",
    "swept",
    "told",
    "turn",
];

#[test]
fn the_list_of_our_own_words_only_gets_shorter() {
    let words = own_words(PAGE);
    assert!(!words.is_empty(), "the table was read");
    assert!(
        words.len() <= OWN_MAX,
        "{} words of our own, at most {OWN_MAX}: take the word of the field",
        words.len()
    );
    let used = parts_of_names(&source::read_tree());
    let unused: Vec<&String> = words.iter().filter(|word| !used.contains(*word)).collect();
    assert!(
        unused.is_empty(),
        "no type or module bears these: take their rows out of docs/glossary.md, and lower OWN_MAX: {unused:?}"
    );
}

#[test]
fn a_word_that_went_does_not_come_back() {
    let used = parts_of_names(&source::read_tree());
    let back: Vec<&&str> = WENT.iter().filter(|word| used.contains(**word)).collect();
    assert!(back.is_empty(), "docs/glossary.md says what they are called now: {back:?}");
}

/// The first cells of the table below the heading.
fn own_words(page: &str) -> BTreeSet<String> {
    let (_, table) = page.split_once(OWN).expect("the heading");
    let rows = table.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.map(|cell| cell.trim().to_owned()).filter(|cell| cell != "word").collect()
}

/// The words of which the names of types, modules and files in `src` are made.
fn parts_of_names(files: &[SourceFile]) -> BTreeSet<String> {
    let mut parts = BTreeSet::new();
    for file in files.iter().filter(|file| file.in_src()) {
        parts.extend(parts_of(file.stem()));
        for kind in ["struct", "enum", "trait", "type", "mod"] {
            parts.extend(file.find(&[kind]).flat_map(|at| parts_of(file.code(at + 1))));
        }
    }
    parts
}

/// `HotStatements` is `hot` and `statements`, and so is `hot_statements`.
fn parts_of(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c.is_uppercase() {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut().filter(|_| c != '_') {
            part.extend(c.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[test]
fn names_are_taken_apart_into_words() {
    assert_eq!(parts_of("HotStatements"), ["hot", "statements"]);
    assert_eq!(parts_of("in_flight"), ["in", "flight"]);
    let files = [
        SourceFile::new("src/engine/deliverer.rs", "pub struct DueTurn; enum Tier {}"),
        SourceFile::new("tests/courier.rs", "struct Courier;"),
    ];
    let words: Vec<String> = parts_of_names(&files).into_iter().collect();
    assert_eq!(words, ["deliverer", "due", "tier", "turn"]);
    assert_eq!(
        own_words("\n## Words of our own\n\n| word | x |\n|---|---|\n| desk | y |\n").len(),
        1
    );
}
