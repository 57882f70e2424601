//! What does not appear: public traits, muted tests, unfinished code, sleeps, loose `unsafe`.

use crate::{
    paths::named,
    source::{SourceFile, Violation},
};

/// `trait`: enum before trait. A trait needs two implementations in the tree, tests aside.
pub fn no_public_trait(file: &SourceFile) -> Vec<Violation> {
    if !file.in_src() {
        return Vec::new();
    }
    let public = |at: &usize| {
        let row: Vec<&str> =
            (1..12).map_while(|n| at.checked_sub(n)).map(|i| file.code(i)).collect();
        let row = row.strip_prefix(&["unsafe"]).unwrap_or(&row);
        match row {
            ["pub", ..] => true,
            [")", rest @ ..] => {
                let open = rest.iter().position(|text| *text == "(");
                open.is_some_and(|open| rest.get(open + 1) == Some(&"pub"))
            }
            _ => false,
        }
    };
    let text = "a public trait; use an enum or a struct until two implementations exist";
    let bad = file.find(&["trait"]).filter(public);
    bad.map(|at| file.violation("trait", file.tokens[at].line, text)).collect()
}

/// `hidden`: `#[path]` and `include!` bring in code that the other rules would not place.
pub fn no_hidden_code(file: &SourceFile) -> Vec<Violation> {
    if !file.in_src() {
        return Vec::new();
    }
    let text = "code from an unexpected place; use a plain `mod` in its own folder";
    let rows: [&[&str]; 3] = [&["[", "path", "="], &["include", "!", "("], &["crate", "self"]];
    let bad = rows.iter().flat_map(|row| file.find(row));
    bad.map(|at| file.violation("hidden", file.tokens[at].line, text)).collect()
}

/// `muted`: a test runs, and says itself what must happen.
pub fn no_muted_test(file: &SourceFile) -> Vec<Violation> {
    let mend = |name: &str| match name {
        "ignore" => "`#[ignore]`; mend the test, or assert what happens today and say why",
        _ => "`#[should_panic]`; assert the value or the error that comes back",
    };
    let mut found = Vec::new();
    for name in ["ignore", "should_panic"] {
        let attribute = |at: &usize| {
            let before = |back: usize| at.checked_sub(back).map_or("", |i| file.code(i));
            let whole = before(1) == "[" && before(2) == "#";
            whole || (before(1) == "," && in_cfg_attr(file, *at))
        };
        found.extend(
            file.find(&[name])
                .filter(attribute)
                .map(|at| file.violation("muted", file.tokens[at].line, mend(name))),
        );
    }
    found
}

/// `unfinished`: these macros end in a crash or in noise.
pub fn no_unfinished_macro(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    for name in ["todo", "unimplemented", "dbg"] {
        let called = |at: &usize| matches!(file.code(at + 2), "(" | "[" | "{");
        found.extend(file.find(&[name, "!"]).filter(called).map(|at| {
            let text = format!("`{name}!`; finish it, or take it out");
            file.violation("unfinished", file.tokens[at].line, text)
        }));
    }
    found
}

/// `word`: a note to oneself is an issue, not a comment. Comments are no tokens, so this reads text.
pub fn no_unfinished_word(file: &SourceFile) -> Vec<Violation> {
    // Written in two parts, so that this file passes its own rule.
    const WORDS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let mut found = Vec::new();
    for (number, line) in (1..).zip(file.text.lines()) {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| WORDS.contains(word)) {
            let text = format!("`{word}`; do it now, or open an issue and take the word out");
            found.push(file.violation("word", number, text));
        }
    }
    found
}

/// `sleep`: a test waits for an event, or moves the clock. A method or a string is no sleep.
pub fn no_sleep_in_tests(file: &SourceFile) -> Vec<Violation> {
    if !file.path.starts_with("tests/it/") {
        return Vec::new();
    }
    let paths = named(file);
    let sleeps = paths.iter().filter(|path| {
        let named = matches!(path.words.last(), Some(&("sleep" | "sleep_until" | "sleep_ms")));
        let defined = path.start > 0 && file.code(path.start - 1) == "fn";
        let called = file.code(path.end) == "(";
        named && !defined && (path.import || called || path.words.len() > 1)
    });
    let text = "a sleeping test; wait for the event, with a deadline";
    sleeps.map(|path| file.violation("sleep", path.line, text)).collect()
}

/// `sql`: SQL is whole and constant, so nothing has to be asserted safe.
pub fn no_assembled_sql(file: &SourceFile) -> Vec<Violation> {
    let text = "assembled SQL; write the whole statement as a constant";
    let bad = file.find(&["AssertSqlSafe"]);
    bad.map(|at| file.violation("sql", file.tokens[at].line, text)).collect()
}

/// `unsafe`: only where a child process is made, and nowhere else in `src`.
pub fn unsafe_only_in_process(file: &SourceFile) -> Vec<Violation> {
    let home = file.path == "src/runtime/process.rs"
        || file.path.starts_with("src/runtime/process_")
        || file.path.starts_with("src/runtime/process/");
    if !file.in_src() || home {
        return Vec::new();
    }
    let text = "`unsafe` is at home in src/runtime/process only; find a safe call";
    let bad = file.find(&["unsafe"]);
    bad.map(|at| file.violation("unsafe", file.tokens[at].line, text)).collect()
}

/// Looks back to the attribute's opening bracket.
fn in_cfg_attr(file: &SourceFile, at: usize) -> bool {
    let open = (0..at).rev().take(40).find(|i| file.code(*i) == "[");
    open.is_some_and(|open| file.code(open + 1) == "cfg_attr")
}
