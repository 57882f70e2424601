//! What came from elsewhere, as it is printed: in one line, of bounded length, and with nothing in it that a terminal obeys.

use std::fmt::Write as _;

/// `text` in one line of at most about so many characters. What is cut says so.
pub(crate) fn printed(text: &str, chars_max: usize) -> String {
    let mut line = String::new();
    for (number, letter) in text.chars().enumerate() {
        if number == chars_max {
            // To write to a string cannot fail.
            write!(line, "… ({} bytes in all)", text.len()).unwrap_or_default();
            break;
        }
        push(&mut line, letter, false);
    }
    line
}

/// `text`, which may have lines, without what a terminal obeys.
pub(crate) fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|letter| push(&mut shown, letter, true));
    shown
}

fn push(line: &mut String, letter: char, has_lines: bool) {
    let is_kept = has_lines && matches!(letter, '\n' | '\t');
    if is_kept || !(letter.is_control() || is_direction(letter)) {
        line.push(letter);
    } else {
        line.extend(letter.escape_unicode());
    }
}

/// Letters that turn what follows, or end a line where others do not: what is read is not what is there.
fn is_direction(letter: char) -> bool {
    matches!(
        letter,
        '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_printed_and_what_is_cut_says_so() {
        assert_eq!(printed("\u{1b}]0;owned\u{7}\r\nä", 99), "\\u{1b}]0;owned\\u{7}\\u{d}\\u{a}ä");
        assert_eq!(printed("a\u{9b}2J\u{202e}b\tc", 99), "a\\u{9b}2J\\u{202e}b\\u{9}c");
        assert_eq!(printed("abcdef", 3), "abc… (6 bytes in all)");
        assert_eq!(printed("abc", 3), "abc");
        assert_eq!(harmless("a\n\tb\u{1b}[2J"), "a\n\tb\\u{1b}[2J");
    }
}
