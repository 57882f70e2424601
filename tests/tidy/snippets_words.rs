//! The rules of shape, words and places, tried on snippets: what must be caught, and near misses.

use crate::{
    banned, modules, shape,
    snippets::{caught, passes},
    source::SourceFile,
};

const SRC: &str = "src/engine/timers.rs";
const IT: &str = "tests/it/jobs.rs";

#[test]
fn a_file_too_long_or_without_a_title_is_caught() {
    let long = "fn f() {}\n".repeat(401);
    let short = "fn f() {}\n".repeat(400);
    caught(shape::files_are_short, &[(SRC, &long), (IT, &long)]);
    passes(shape::files_are_short, &[(SRC, &short), (IT, &short)]);

    let main = "fn f() {}\n".repeat(41);
    caught(shape::main_is_tiny, &[("src/main.rs", &main)]);
    passes(shape::main_is_tiny, &[("src/main.rs", &main[10..]), (SRC, &main)]);

    let untitled = [(SRC, ""), (SRC, "//!\n"), (SRC, "use a::b;\n//! Late.\n"), (IT, "// A\n")];
    caught(shape::opens_with_a_title, &untitled);
    passes(shape::opens_with_a_title, &[(SRC, "//! Timers.\n"), (IT, "//! Jobs.\n")]);
}

#[test]
fn a_vague_name_is_caught() {
    let vague = [
        "src/engine/utils.rs",
        "src/util.rs",
        "src/helpers/mod.rs",
        "tests/common/mod.rs",
        "tests/it/test_helpers.rs",
        "src/http/types.rs",
        "src/domain/models.rs",
        "src/engine/queue_manager.rs",
        "src/service.rs",
        "src/misc/clock.rs",
    ];
    caught(shape::has_a_sharp_name, &vague.map(|path| (path, "")));
    let sharp = ["src/http/media_types.rs", "src/engine/commons.rs", "src/domain/job.rs"];
    passes(shape::has_a_sharp_name, &sharp.map(|path| (path, "")));
}

#[test]
fn a_file_that_is_no_rust_is_caught() {
    assert_eq!(shape::reads_as_rust(&SourceFile::new(SRC, "fn f() { \"open }")).len(), 1);
    assert_eq!(shape::reads_as_rust(&SourceFile::new(SRC, "fn f() { c\"text\"; }")).len(), 0);
}

#[test]
fn a_public_trait_is_caught() {
    let public = [
        (SRC, "pub trait A {}"),
        (SRC, "pub(crate) trait A {}"),
        (SRC, "pub(in crate::engine) trait A {}"),
        (SRC, "pub unsafe trait A {}"),
    ];
    caught(banned::no_public_trait, &public);
    let fine = [
        (SRC, "trait A {}"),
        (SRC, "pub struct A; trait B {}"),
        (SRC, "/// No pub trait.\npub fn f(x: impl B) {}"),
        (IT, "pub trait A {}"),
    ];
    passes(banned::no_public_trait, &fine);
}

#[test]
fn hidden_code_is_caught() {
    let hidden = [
        (SRC, "#[path = \"../store/rows.rs\"] mod rows;"),
        (SRC, "include!(\"../store/rows.rs\");"),
        (SRC, "extern crate self as house;"),
    ];
    caught(banned::no_hidden_code, &hidden);
    let fine = [
        (SRC, "const A: &str = include_str!(\"a.md\"); fn f(path: u8) { [path] }"),
        ("tests/tidy.rs", "#[path = \"tidy/source.rs\"] mod source;"),
    ];
    passes(banned::no_hidden_code, &fine);
}

#[test]
fn a_muted_test_is_caught() {
    let muted = [
        (IT, "#[test] #[ignore] fn f() {}"),
        (SRC, "#[test] #[ignore = \"slow\"] fn f() {}"),
        (IT, "#[test]\n#[should_panic(expected = \"a\")]\nfn f() {}"),
        (IT, "#[cfg_attr(not(target_os = \"linux\"), ignore)] fn f() {}"),
    ];
    caught(banned::no_muted_test, &muted);
    let fine = [
        (IT, "fn f() { ignore(); let ignore = vec![ignore, 1]; g(1, ignore) }"),
        (IT, "/// Not `#[ignore]`.\nfn should_panic() {}"),
    ];
    passes(banned::no_muted_test, &fine);
}

#[test]
fn unfinished_code_is_caught() {
    let unfinished = [
        (SRC, "fn f() { todo!() }"),
        (SRC, "fn f() { std::todo!(\"later\") }"),
        (IT, "fn f() { unimplemented!() }"),
        (IT, "fn f() { g(dbg!(x)) }"),
        (IT, "fn f() { assert!(dbg![x]) }"),
    ];
    caught(banned::no_unfinished_macro, &unfinished);
    let fine = [
        (SRC, "fn f(todo: u8) -> bool { todo!= 1 }"),
        (SRC, "// todo!()\nconst A: &str = \"todo!()\"; fn todo() {}"),
    ];
    passes(banned::no_unfinished_macro, &fine);

    let words = [
        (SRC, concat!("// TO", "DO: later")),
        (IT, concat!("/* FIX", "ME */")),
        (SRC, concat!("fn f() {} // XX", "X")),
    ];
    caught(banned::no_unfinished_word, &words);
    let near = [(SRC, "// A todo list, mkstemp(\"XXXXXX\"), FIXMEN, TODO_LIST.")];
    passes(banned::no_unfinished_word, &near);
}

#[test]
fn a_sleeping_test_is_caught() {
    let sleeping = [
        (IT, "async fn f() { tokio::time::sleep(d).await }"),
        (IT, "fn f() { std::thread::sleep(d) }"),
        (IT, "use tokio::time::{Duration, sleep as nap};"),
        (IT, "async fn f() { sleep(d).await }"),
        (IT, "async fn f() { select! { _ = tokio::time::sleep_until(t) => {} } }"),
        (IT, "fn f() { each(std::thread::sleep) }"),
    ];
    caught(banned::no_sleep_in_tests, &sleeping);
    let awake = [
        (IT, "fn f() { submit(json!({\"function\": \"sleep\", \"args\": [1]})) }"),
        (IT, "fn sleep() {} fn f(sleep: Job) { server.sleep(1); wait(sleep); sleep_job(1) }"),
        (IT, "// tokio::time::sleep(d)\nconst A: &str = \"sleep(1)\";"),
        (SRC, "async fn f() { tokio::time::sleep(d).await }"),
    ];
    passes(banned::no_sleep_in_tests, &awake);
}

#[test]
fn loose_sql_and_loose_unsafe_are_caught() {
    caught(
        banned::no_assembled_sql,
        &[
            ("src/store/mod.rs", "fn f() { query(AssertSqlSafe(text)) }"),
            (IT, "use sqlx::AssertSqlSafe;"),
        ],
    );
    passes(banned::no_assembled_sql, &[(SRC, "// AssertSqlSafe\nconst A: u8 = 1;")]);

    caught(
        banned::unsafe_only_in_process,
        &[
            (SRC, "fn f() { unsafe { g() } }"),
            (SRC, "unsafe impl Send for A {}"),
            (SRC, "#[unsafe(no_mangle)] fn f() {}"),
            ("src/runtime/processor.rs", "unsafe fn f() {}"),
        ],
    );
    passes(
        banned::unsafe_only_in_process,
        &[
            ("src/runtime/process.rs", "fn f() { unsafe { g() } }"),
            ("src/runtime/process/group.rs", "fn f() { unsafe { g() } }"),
            ("src/runtime/process_tree.rs", "fn f() { unsafe { g() } }"),
            (SRC, "#![forbid(unsafe_code)]\n// unsafe\nconst A: &str = \"unsafe\";"),
        ],
    );
}

#[test]
fn a_test_in_a_strange_place_is_caught() {
    let strange = [
        ("tests/support/mod.rs", "#[test] fn f() {}"),
        ("tests/heavy/main.rs", "#[tokio::test] async fn f() {}"),
        ("tests/heavy/main.rs", "#[tokio::test(start_paused = true)] async fn f() {}"),
    ];
    caught(modules::tests_live_where_cargo_looks, &strange);
    let fine = [
        ("tests/openapi.rs", "#[test] fn f() {}"),
        (IT, "#[tokio::test] async fn f() {}"),
        ("tests/support/mod.rs", "#[cfg(test)] fn f(test: u8) { g([test]) }"),
    ];
    passes(modules::tests_live_where_cargo_looks, &fine);
}

#[test]
fn a_file_that_no_mod_names_is_caught() {
    let tree = |files: &[(&str, &str)]| {
        let files: Vec<_> = files.iter().map(|(path, text)| SourceFile::new(path, text)).collect();
        modules::orphans(&files).into_iter().map(|violation| violation.file).collect::<Vec<_>>()
    };
    let whole = [
        ("src/lib.rs", "mod app; pub mod store;"),
        ("src/main.rs", ""),
        ("src/app.rs", ""),
        ("src/store/mod.rs", "mod writer;"),
        ("src/store/writer.rs", "mod group;"),
        ("src/store/writer/group.rs", ""),
        ("tests/it/main.rs", "mod jobs;"),
        ("tests/it/jobs.rs", ""),
        ("tests/tidy.rs", "#[path = \"tidy/floors.rs\"] mod floors;"),
        ("tests/tidy/floors.rs", ""),
    ];
    assert_eq!(tree(&whole), Vec::<String>::new());
    let lost = [
        ("src/lib.rs", "mod store { } // mod app;"),
        ("src/app.rs", ""),
        ("tests/it/main.rs", "mod jobs;"),
        ("tests/it/waits.rs", ""),
        // From a test's root, `mod floors;` means tests/floors.rs.
        ("tests/tidy.rs", "mod floors;"),
        ("tests/tidy/floors.rs", ""),
    ];
    assert_eq!(tree(&lost), ["src/app.rs", "tests/it/waits.rs", "tests/tidy/floors.rs"]);
}
