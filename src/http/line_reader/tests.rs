//! Lines, however a body is cut.

use proptest::prelude::*;

use super::*;
use crate::engine::{Budget, Who};

const LINE_BYTES_MAX: usize = 1024 * 1024;

fn reader(frames: Vec<Vec<u8>>) -> LineReader {
    let frames = frames.into_iter().map(|frame| Ok::<_, io::Error>(Bytes::from(frame)));
    let frames = futures_util::stream::iter(frames.collect::<Vec<_>>());
    let share = Budget::new(LINE_BYTES_MAX).share(Who::Strangers);
    let pace = Pace::new(Duration::from_secs(5));
    LineReader::new(Body::from_stream(frames), LINE_BYTES_MAX, share, pace)
}

fn all(mut reader: LineReader, most: usize) -> Vec<Option<Vec<u8>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(async {
        let mut lines = Vec::new();
        loop {
            let next = reader.next(most).await.expect("a whole body").lines;
            if next.is_empty() {
                return lines;
            }
            assert!(next.len() <= most);
            lines.extend(next.into_iter().map(|line| match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong(_) => None,
            }));
        }
    })
}

#[tokio::test]
async fn lines_hold_room_for_their_answers_however_small_they_are() {
    let frame = b"{}\n".repeat(1_000);
    let mut reader = reader(vec![frame]);
    for most in [256, 256] {
        let Lines { lines, held } = reader.next(most).await.expect("a whole body");
        assert_eq!(lines.len(), most);
        assert!(held.bytes() >= most * ANSWER_BYTES, "{}", held.bytes());
    }
}

proptest! {
    #[test]
    fn lines_are_the_same_however_the_body_is_cut(
        lines in prop::collection::vec("[a-z ]{0,12}", 0..20),
        cuts in prop::collection::vec(1_usize..20, 1..20),
        ends in any::<bool>(),
        most in 1_usize..5,
    ) {
        let mut text = lines.join("\n");
        if ends {
            text.push('\n');
        }
        let (mut rest, mut frames) = (text.as_bytes(), Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (frame, after) = rest.split_at(rest.len().min(*cut));
            frames.push(frame.to_vec());
            rest = after;
        }
        let expected: Vec<Option<Vec<u8>>> = lines
            .iter()
            .filter(|line| !line.trim().is_empty())
            .map(|line| Some(line.as_bytes().to_vec()))
            .collect();
        prop_assert_eq!(all(reader(frames), most), expected);
    }
}

#[test]
fn a_line_that_is_too_long_is_passed_by_and_not_kept() {
    let long = vec![b'x'; LINE_BYTES_MAX + 1];
    let half = vec![b'x'; LINE_BYTES_MAX / 2 + 1];
    let just = vec![b'x'; LINE_BYTES_MAX];
    let frames = vec![
        b"a\n".to_vec(),
        [&long[..], b"\nb\n"].concat(),
        half.clone(),
        half.clone(),
        half.clone(),
        [&half[..], b"\nc\n"].concat(),
        just.clone(),
        b"\n".to_vec(),
        long,
    ];
    let (a, b, c) = (Some(b"a".to_vec()), Some(b"b".to_vec()), Some(b"c".to_vec()));
    assert_eq!(all(reader(frames), 9), [a, None, b, None, c, Some(just), None]);
}
