//! No error is larger than it may be, whoever makes it.

use super::*;

#[test]
fn an_error_is_cut_when_it_comes_into_being_and_says_so() {
    let long = format!("first\0{}last", "x".repeat(900_000));
    let details = Json::trusted(format!("\"{}\"", "x".repeat(JobError::DETAILS_BYTES_MAX)));
    let error = JobError::new(&long, long.clone()).with_traceback(&long).with_details(details);
    assert_eq!(error.kind().as_str().chars().count(), JobError::TYPE_LENGTH_MAX);
    assert!(error.kind().as_str().ends_with('…'));
    let (message, traceback) = (error.message(), error.traceback().expect("a traceback"));
    for text in [message, traceback] {
        assert!((JobError::TEXT_BYTES_MAX - 64..=JobError::TEXT_BYTES_MAX).contains(&text.len()));
        assert!(text.contains("bytes left out]") && !text.contains('\0'));
    }
    assert!(
        message.starts_with("first") && traceback.ends_with("last"),
        "the last lines tell the cause"
    );
    assert_eq!((error.details(), error.details_omitted()), (None, true));
    assert!(error.bytes() < 40_000);
    let again = JobError::new(error.kind().as_str(), message).with_traceback(traceback);
    assert_eq!(again.without_details(), error, "what is read back is cut no more");
}

#[test]
fn details_that_not_every_reader_takes_are_left_out() {
    let with = |text: &str| JobError::new("E", "").with_details(Json::parse(text).expect("JSON"));
    assert_eq!(with("{\"a\":1}").details().map(Json::as_str), Some("{\"a\":1}"));
    for text in ["\"\\ud800\"", "1e999", &format!("{}1{}", "[".repeat(65), "]".repeat(65))] {
        assert_eq!((with(text).details(), with(text).details_omitted()), (None, true), "{text}");
    }
}

#[test]
fn a_brief_error_has_its_type_and_the_beginning_of_its_message() {
    let error = JobError::new("ValueError", "no".repeat(5_000))
        .with_traceback("line 1")
        .retryable(true)
        .of_attempt(3);
    let brief = error.brief();
    assert!(brief.message().starts_with("nono") && brief.bytes() <= 1_024 + 10);
    assert_eq!((brief.kind(), brief.traceback(), brief.attempt()), (error.kind(), None, 3));
    assert!(brief.is_retryable() && error.json_bytes() > 10_000 && brief.json_bytes() < 1_300);
}
