//! Names that mean one thing: no two public types of a floor share a name, and every code of a problem is given.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{self, SourceFile};

/// Names that two public types of a floor bear today. The list only shrinks: one that is shared no more fails the test.
const SHARED: &[(&str, &str)] = &[];

/// Where the codes are listed.
const CODES: &str = "src/http/problem/code.rs";

#[test]
fn no_two_public_types_of_a_floor_share_a_name() {
    let shared = shared_names(&source::read_tree());
    let known: BTreeSet<(String, String)> =
        SHARED.iter().map(|(floor, name)| ((*floor).to_owned(), (*name).to_owned())).collect();
    let new: Vec<String> =
        shared.iter().filter(|(at, _)| !known.contains(*at)).map(|it| format!("{it:?}")).collect();
    assert!(new.is_empty(), "types that share a name:\n{}", new.join("\n"));
    let gone: Vec<_> = known.iter().filter(|at| !shared.contains_key(*at)).collect();
    assert!(gone.is_empty(), "take these out of SHARED in tests/tidy/names.rs: {gone:?}");
}

#[test]
fn every_code_of_a_problem_is_given_somewhere() {
    let files = source::read_tree();
    let table = files.iter().find(|file| file.path == CODES).expect("the table of codes");
    let codes = codes(table);
    assert!(codes.len() > 30, "the codes were read: {codes:?}");
    let given = |code: &&String| {
        let used = |file: &&SourceFile| file.in_src() && file.path != CODES;
        files.iter().filter(used).any(|file| file.find(&["Code", "::", code]).next().is_some())
    };
    let never: Vec<&String> = codes.iter().filter(|code| !given(code)).collect();
    assert!(never.is_empty(), "no answer has these codes; take them out: {never:?}");
}

/// Floor and name of each public type that two files define, with the files.
fn shared_names(files: &[SourceFile]) -> BTreeMap<(String, String), Vec<String>> {
    let mut homes: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    // What tests alone see may be named as what it stands for.
    let is_test = |file: &&SourceFile| file.path.contains("/conformance/");
    for file in files.iter().filter(|file| file.in_src() && !is_test(file)) {
        let floor = file.module().first().map_or("", |floor| floor).to_owned();
        for name in public_types(file) {
            homes.entry((floor.clone(), name)).or_default().push(file.path.clone());
        }
    }
    homes.retain(|_, paths| paths.len() > 1);
    homes
}

fn public_types(file: &SourceFile) -> Vec<String> {
    let kinds = ["struct", "enum", "type", "trait", "union"];
    let at = (1..file.tokens.len()).filter(|at| kinds.contains(&file.code(*at)));
    let public = at.filter(|at| match file.code(at - 1) {
        "pub" => true,
        // `pub(super) struct`: the word before the bracket decides.
        ")" => (2..8)
            .filter_map(|back| at.checked_sub(back))
            .any(|i| file.code(i) == "(" && i > 0 && file.code(i - 1) == "pub"),
        _ => false,
    });
    public.map(|at| file.code(at + 1).to_owned()).collect()
}

/// The names in `codes! { Name "name" 400 …`.
fn codes(table: &SourceFile) -> Vec<String> {
    let row = |at: &usize| {
        table.tokens[*at].word
            && table.code(at + 1).starts_with('"')
            && table.code(at + 2).parse::<u16>().is_ok()
    };
    (0..table.tokens.len()).filter(row).map(|at| table.code(at).to_owned()).collect()
}

#[test]
fn shared_names_are_found_on_one_floor_only() {
    let file = |path: &str, text: &str| SourceFile::new(path, text);
    let files = [
        file("src/store/a.rs", "pub struct Kept; struct Own; pub(super) enum Turn {}"),
        file("src/store/b/c.rs", "pub(in crate::store) struct Kept; struct Own;"),
        file("src/engine/a.rs", "pub struct Turn; fn pub_(x: u8) { struct Kept; }"),
        file("tests/a.rs", "pub struct Kept;"),
    ];
    let shared = shared_names(&files);
    let names: Vec<_> = shared.keys().map(|(floor, name)| format!("{floor} {name}")).collect();
    assert_eq!(names, ["store Kept"]);
    let table = file(
        CODES,
        "macro_rules! codes { ($a:ident) => {} } codes! { Gone \"gone\" 410 \"It went\" \"a\" }",
    );
    assert_eq!(codes(&table), ["Gone"]);
}
