//! What names, numbers and labels are taken, and what is refused with the rule.

use super::*;

#[test]
fn a_functions_name_is_words_joined_by_dots() {
    let longest = "a".repeat(FunctionName::LENGTH_MAX);
    for name in ["a", "echo", "math.factorial", "http.request", "a1_b.c_2", longest.as_str()] {
        assert_eq!(FunctionName::new(name).map(|it| it.to_string()).as_deref(), Ok(name));
    }
    let too_long = "a".repeat(FunctionName::LENGTH_MAX + 1);
    let illegal =
        ["", ".", "a.", ".a", "a..b", "A", "1a", "_a", "a.1", "a-b", "a b", "é", "a\0", &too_long];
    for name in illegal {
        let refused = FunctionName::new(name).expect_err(name);
        assert!(refused.detail.contains("words of a-z"), "{refused}");
    }
}

#[test]
fn a_queues_name_is_letters_digits_and_three_signs() {
    let longest = "q".repeat(QueueName::LENGTH_MAX);
    for name in ["default", "A", "9", "a.b-c_d", "-", "...", longest.as_str()] {
        assert_eq!(QueueName::new(name).map(|it| it.to_string()).as_deref(), Ok(name));
    }
    assert_eq!(QueueName::new("default"), Ok(QueueName::default_queue()));
    let too_long = "q".repeat(QueueName::LENGTH_MAX + 1);
    for name in ["", "a b", "a/b", "é", "a\n", ".", "..", &too_long] {
        assert!(QueueName::new(name).is_err(), "{name:?}");
    }
    assert!(QueueName::kept("..").is_ok(), "one that was made before still reads");
}

#[test]
fn e2_a_priority_is_from_minus_100_to_100_and_0_by_default() {
    for value in [-100_i8, -1, 0, 1, 100] {
        assert_eq!(Priority::new(value.into()).map(Priority::get), Ok(value));
    }
    for value in [-101, 101, 127, 128, 256, i64::MIN, i64::MAX] {
        assert!(Priority::new(value).is_err(), "{value}");
    }
    assert_eq!(Priority::default().get(), 0);
}

#[test]
fn the_choice_for_interruptions_is_read_back_from_its_word() {
    for choice in [OnInterrupt::Rerun, OnInterrupt::Fail] {
        assert_eq!(OnInterrupt::parse(choice.as_str()), Some(choice));
    }
    assert_eq!(OnInterrupt::parse("retry"), None);
    assert_eq!(OnInterrupt::default(), OnInterrupt::Rerun);
}
