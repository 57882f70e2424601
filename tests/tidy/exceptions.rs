//! Where a house rule does not hold, and why. The list only shrinks: a stale entry fails the test.

use crate::source::Violation;

/// One file that may break one rule.
#[derive(Debug)]
pub struct Exception {
    /// The rule's name, as it stands in brackets in the report.
    pub rule: &'static str,
    /// The file, from the repository's root.
    pub file: &'static str,
    /// How often the file may break the rule; for `lines` and `main`, how many lines it may have.
    pub allows: usize,
    /// The reason, as a sentence.
    pub why: &'static str,
}

pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        rule: "trait",
        file: "src/store/sqlite/write.rs",
        allows: 2,
        why: "some thirty writes implement `Write`, each beside its verb",
    },
    Exception {
        rule: "trait",
        file: "src/store/sqlite/hot/statements.rs",
        allows: 1,
        why: "what uses the statements need not be tied to how long they live",
    },
];

/// True if no exception covers this violation, or its file breaks the rule more than is allowed.
pub fn exceeds(exceptions: &[Exception], violation: &Violation, all: &[Violation]) -> bool {
    let exception = exceptions.iter().find(|e| covers(e, violation));
    exception.is_none_or(|e| weight(e, all) > e.allows)
}

/// A sentence for each exception that covers nothing any more.
pub fn stale(exceptions: &[Exception], all: &[Violation]) -> Vec<String> {
    let unneeded = exceptions.iter().filter(|e| weight(e, all) == 0);
    unneeded.map(|e| format!("{}: `{}` is no longer broken", e.file, e.rule)).collect()
}

fn weight(exception: &Exception, all: &[Violation]) -> usize {
    all.iter().filter(|violation| covers(exception, violation)).map(|v| v.weight).sum()
}

fn covers(exception: &Exception, violation: &Violation) -> bool {
    exception.rule == violation.rule && exception.file == violation.file
}

#[test]
fn an_exception_covers_its_file_up_to_its_allowance_and_no_other() {
    let list = [Exception { rule: "trait", file: "src/a.rs", allows: 2, why: "two backends" }];
    let broken = |file: &str, times: usize| -> Vec<Violation> {
        (1..=times).map(|line| Violation::new("trait", file, line, "text")).collect()
    };
    let open = |all: &[Violation]| all.iter().filter(|v| exceeds(&list, v, all)).count();

    assert_eq!(open(&broken("src/a.rs", 2)), 0, "covered");
    assert_eq!(open(&broken("src/a.rs", 3)), 3, "one too many shows them all");
    assert_eq!(open(&broken("src/b.rs", 1)), 1, "another file");
    assert_eq!(stale(&list, &broken("src/a.rs", 1)), Vec::<String>::new());
    assert_eq!(stale(&list, &broken("src/b.rs", 1)).len(), 1);
}
