//! The house rules, checked as a test: floors, outside crates, sizes, titles, names, words.
//!
//! Each rule is a function from one file to its violations. An exception is an entry in
//! `tidy/exceptions.rs`; an entry that is no longer needed fails here too, so that the list shrinks.

#[path = "tidy/source.rs"]
mod source;

#[path = "tidy/exceptions.rs"]
mod exceptions;

#[path = "tidy/paths.rs"]
mod paths;

#[path = "tidy/floors.rs"]
mod floors;

#[path = "tidy/homes.rs"]
mod homes;

#[path = "tidy/shape.rs"]
mod shape;

#[path = "tidy/banned.rs"]
mod banned;

#[path = "tidy/modules.rs"]
mod modules;

#[path = "tidy/circles.rs"]
mod circles;

#[path = "tidy/rules.rs"]
mod rules;

#[path = "tidy/pages.rs"]
mod pages;

#[path = "tidy/names.rs"]
mod names;

#[path = "tidy/words.rs"]
mod words;

#[path = "tidy/snippets.rs"]
mod snippets;

#[path = "tidy/snippets_words.rs"]
mod snippets_words;

use exceptions::{EXCEPTIONS, Exception};
use source::{SourceFile, Violation};

type Check = fn(&SourceFile) -> Vec<Violation>;

/// Every rule that looks at one file. The name is what an exception refers to.
const RULES: &[(&str, Check)] = &[
    ("floor", floors::look_down_only),
    ("pass-on", floors::pass_on_no_floor),
    ("part", circles::parts_of_the_store_look_down),
    ("home", homes::outside_crates_stay_at_home),
    ("pure", homes::domain_is_pure),
    ("unread", shape::reads_as_rust),
    ("lines", shape::files_are_short),
    ("main", shape::main_is_tiny),
    ("title", shape::opens_with_a_title),
    ("name", shape::has_a_sharp_name),
    ("trait", banned::no_public_trait),
    ("hidden", banned::no_hidden_code),
    ("muted", banned::no_muted_test),
    ("unfinished", banned::no_unfinished_macro),
    ("word", banned::no_unfinished_word),
    ("sleep", banned::no_sleep_in_tests),
    ("sql", banned::no_assembled_sql),
    ("unsafe", banned::unsafe_only_in_process),
    ("test-home", modules::tests_live_where_cargo_looks),
];

/// The rules that need the whole tree: a file that no `mod` names is compiled by nobody, and files that lead to each other.
const ORPHAN: &str = "orphan";
const CIRCLE: &str = "circle";

#[test]
fn every_rule_holds_in_this_tree() {
    let found = all_violations();
    let open: Vec<String> = found
        .iter()
        .filter(|violation| exceptions::exceeds(EXCEPTIONS, violation, &found))
        .map(ToString::to_string)
        .collect();
    assert!(open.is_empty(), "{} house rules broken:\n\n{}\n", open.len(), open.join("\n"));
}

#[test]
fn every_exception_is_still_needed() {
    let stale = exceptions::stale(EXCEPTIONS, &all_violations());
    assert!(stale.is_empty(), "take these out of tests/tidy/exceptions.rs:\n{}", stale.join("\n"));
}

#[test]
fn every_exception_names_a_rule_and_says_why() {
    for Exception { rule, file, why, .. } in EXCEPTIONS {
        let known = [ORPHAN, CIRCLE].contains(rule) || RULES.iter().any(|(name, _)| name == rule);
        assert!(known, "there is no rule `{rule}` (exception for {file})");
        assert!(!why.is_empty(), "the exception `{rule}` for {file} gives no reason");
    }
}

#[test]
fn the_whole_tree_is_seen() {
    let files = source::read_tree();
    for file in ["src/main.rs", "tests/tidy.rs", "tests/tidy/source.rs"] {
        assert!(files.iter().any(|seen| seen.path == file), "{file} was not read");
    }
}

fn all_violations() -> Vec<Violation> {
    let files = source::read_tree();
    let mut found = modules::orphans(&files);
    found.extend(circles::no_circle_in_the_store(&files));
    for file in &files {
        found.extend(RULES.iter().flat_map(|(_, check)| check(file)));
    }
    found.sort_by(|a, b| place(a).cmp(&place(b)));
    // One line that names the same stray crate four times is one violation.
    found.dedup_by(|a, b| place(a) == place(b));
    found
}

fn place(violation: &Violation) -> (&str, usize, &str, &str) {
    (&violation.file, violation.line, violation.rule, &violation.text)
}
