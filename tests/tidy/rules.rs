//! The table of rules in `docs/semantics.md`, held against the tests of the tree.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{self, SourceFile};

const PAGE: &str = include_str!("../../docs/semantics.md");

/// Every rule that there is, by its letter. A number that is missing here is no rule.
const RULES: [(char, &[u32]); 5] = [
    ('S', &[1, 2, 3, 4, 5, 6]),
    ('F', &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22]),
    ('E', &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 17, 20, 21, 23, 24, 26]),
    ('W', &[1, 2, 4, 5, 6, 8, 9, 10]),
    ('A', &[1, 2, 3, 6]),
];

/// What a row without tests says, and then what will bring them.
const NOT_YET: &str = "not yet: ";

/// The tests that show a rule, by the rule's number.
type Shown = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_table_of_rules_names_exactly_the_tests_that_there_are() {
    let faults = faults(PAGE, &tests_by_rule(&source::read_tree()));
    assert!(faults.is_empty(), "docs/semantics.md:\n{}\n", faults.join("\n"));
}

/// What is wrong with the table, one sentence each, with the cell that would be right.
fn faults(page: &str, shown: &Shown) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    let rules: BTreeSet<String> = all_rules().collect();
    for (rule, cells) in rows(page) {
        if !seen.insert(rule.clone()) {
            faults.push(format!("{rule}: has two rows"));
        }
        if !rules.contains(&rule) {
            faults.push(format!("{rule}: there is no such rule"));
        }
        if cells.len() != 4 || cells[1..3].iter().any(String::is_empty) {
            faults.push(format!("{rule}: a row is | number | Python | Futurity | shown by |"));
            continue;
        }
        faults.extend(wrong_cell(&rule, &cells[3], shown));
    }
    faults.extend(rules.difference(&seen).map(|rule| format!("{rule}: has no row")));
    // A test that begins with a number that no rule has would stand nowhere.
    let strays = shown.iter().filter(|(rule, _)| !rules.contains(*rule));
    faults.extend(strays.map(|(rule, tests)| format!("{rule}: is no rule, but of {tests:?}")));
    faults
}

fn wrong_cell(rule: &str, cell: &str, shown: &Shown) -> Option<String> {
    let Some(tests) = shown.get(rule) else {
        let marked = cell.strip_prefix(NOT_YET).is_some_and(|what| !what.trim().is_empty());
        let detail =
            format!("{rule}: no test bears its number; say `{NOT_YET}` and what brings it");
        return (!marked).then_some(detail);
    };
    let right: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
    let right = right.join("<br>");
    (cell != right).then(|| format!("{rule}: the last cell should be\n    {right}"))
}

/// The rows of the table: a rule's number, and the cells.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let cells = |line: &str| -> Option<Vec<String>> {
        let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
        Some(inside.split('|').map(|cell| cell.trim().to_owned()).collect())
    };
    let rows = page.lines().filter_map(cells).filter(|cells| is_number(&cells[0].to_lowercase()));
    rows.map(|cells| (cells[0].clone(), cells)).collect()
}

fn all_rules() -> impl Iterator<Item = String> {
    RULES.iter().flat_map(|(letter, numbers)| numbers.iter().map(move |n| format!("{letter}{n}")))
}

fn tests_by_rule(files: &[SourceFile]) -> Shown {
    let mut shown = Shown::new();
    for name in files.iter().flat_map(tests) {
        for number in name.split('_').take_while(|word| is_number(word) || is_promise(word)) {
            if is_number(number) {
                shown.entry(number.to_uppercase()).or_default().insert(name.to_owned());
            }
        }
    }
    shown
}

/// The names of a file's tests: functions whose attributes end in `test`, as `#[test]` and `#[tokio::test]` do.
fn tests(file: &SourceFile) -> impl Iterator<Item = &str> {
    let is_test = |at: &usize| {
        let before = (0..*at).rev().take_while(|i| !matches!(file.code(*i), ";" | "{" | "}"));
        let mut words = before.filter(|i| file.code(*i) == "test" && file.tokens[*i].word);
        words.any(|i| {
            matches!(file.code(i.wrapping_sub(1)), "[" | "::")
                && matches!(file.code(i + 1), "]" | "(")
        })
    };
    file.find(&["fn"]).filter(is_test).map(|at| file.code(at + 1))
}

/// `f13`: the letter of a rule and a number.
fn is_number(word: &str) -> bool {
    let letters: String = RULES.iter().map(|(letter, _)| letter.to_ascii_lowercase()).collect();
    numbered(word, &letters)
}

/// `g9`: a promise of docs/operations.md, which may stand beside a rule.
fn is_promise(word: &str) -> bool {
    numbered(word, "g")
}

fn numbered(word: &str, letters: &str) -> bool {
    let mut characters = word.chars();
    let letter = characters.next().is_some_and(|first| letters.contains(first));
    let digits = characters.as_str();
    letter && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "
        #[test] fn s1_a() {}
        #[tokio::test(start_paused = true)] async fn f4_g9_e2_b() {}
        #[test] #[cfg(unix)] fn s1_c() {}
        fn s2_no_test() { let test = [test]; }
        #[test] fn fine() { s1_a() }
        const TEXT: &str = \"#[test] fn w1_in_a_text() {}\";";

    fn shown() -> Shown {
        tests_by_rule(&[SourceFile::new("tests/it/x.rs", TREE)])
    }

    /// A page on which every row is right.
    fn right_rows() -> Vec<String> {
        let cell = |rule: &String| match rule.as_str() {
            "S1" => "`s1_a`<br>`s1_c`".to_owned(),
            "F4" | "E2" => "`f4_g9_e2_b`".to_owned(),
            _ => "not yet: queues".to_owned(),
        };
        all_rules().map(|rule| format!("| {rule} | x | y | {} |", cell(&rule))).collect()
    }

    fn faults_with(rule: &str, row: &str) -> Vec<String> {
        let mut rows = right_rows();
        let place = rows.iter().position(|row| row.starts_with(&format!("| {rule} |")));
        rows[place.expect("a row")] = row.to_owned();
        faults(&rows.join("\n"), &shown())
    }

    #[test]
    fn a_test_is_known_by_its_attribute_and_stands_in_the_row_of_each_of_its_numbers() {
        let found: Vec<String> = shown().into_keys().collect();
        assert_eq!(found, ["E2", "F4", "S1"]);
        assert_eq!(faults(&right_rows().join("\n"), &shown()), Vec::<String>::new());
    }

    #[test]
    fn a_row_that_is_wrong_is_told_with_what_would_be_right() {
        for (rule, row, fault) in [
            ("S1", "| S1 | x | y | `s1_a` |", "S1: the last cell should be\n    `s1_a`<br>`s1_c`"),
            ("S1", "| S1 | x | y | not yet: it |", "S1: the last cell should be"),
            ("S1", "| S1 | x | y | `s1_a`<br>`s1_c`<br>`s1_z` |", "S1: the last cell should be"),
            ("S2", "| S2 | x | y | `s2_no_test` |", "S2: no test bears its number"),
            ("S2", "| S2 | x | y | |", "S2: no test bears its number"),
            ("S2", "| S2 | x | y | not yet: |", "S2: no test bears its number"),
            ("S2", "| S2 | x | | not yet: queues |", "S2: a row is"),
            ("S2", "| S2 | x | not yet: queues |", "S2: a row is"),
            ("S2", "", "S2: has no row"),
        ] {
            let faults = faults_with(rule, row);
            assert_eq!(faults.len(), 1, "{row}: {faults:?}");
            assert!(faults[0].starts_with(fault), "{row}: {}", faults[0]);
        }
        let twice = faults_with("S3", "| S2 | x | y | not yet: queues |");
        assert_eq!(twice, ["S2: has two rows", "S3: has no row"]);
        let strange = faults_with("S3", "| S33 | x | y | not yet: queues |");
        assert_eq!(strange, ["S33: there is no such rule", "S3: has no row"]);
    }

    #[test]
    fn a_number_that_no_rule_has_is_told() {
        let shown = tests_by_rule(&[SourceFile::new("tests/it/x.rs", "#[test] fn f18_x() {}")]);
        let told = faults(&right_rows().join("\n"), &shown);
        assert!(told.iter().any(|fault| fault.starts_with("F18: is no rule")), "{told:?}");
    }
}
