//! Text from outside, as it is shown: what a file, a file's name, a node or a server says may hold characters that
//! move the cursor, turn the direction of writing or begin a line, and so make a terminal show what nobody said. They
//! are shown as escapes.

use std::fmt::{Display, Write};

/// The most characters that are shown of one text from outside.
const CHARS_MAX: usize = 1_000;
/// The most of a whole line, which may name many things.
const LINE_CHARS_MAX: usize = 20_000;

/// A text from outside on one line, and not more of it than anybody reads.
pub fn shown(text: impl Display) -> String {
    escaped(&text.to_string(), CHARS_MAX, is_hidden)
}

/// A message on one line, whatever it names.
pub fn one_line(text: impl Display) -> String {
    escaped(&text.to_string(), LINE_CHARS_MAX, is_hidden)
}

/// A report, which has lines of its own.
pub fn lines(text: impl Display) -> String {
    escaped(&text.to_string(), usize::MAX, |character| character != '\n' && is_hidden(character))
}

/// A text of JSON, in which such characters stand in strings alone: the escapes mean the same.
pub fn json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    for character in text.chars() {
        if !is_hidden(character) {
            json.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            write!(json, "\\u{unit:04x}").expect("memory takes any text");
        }
    }
    json
}

fn escaped(text: &str, chars_max: usize, is_escaped: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len().min(chars_max));
    for (position, character) in text.chars().enumerate() {
        if position == chars_max {
            shown.push('…');
            break;
        }
        match character {
            _ if !is_escaped(character) => shown.push(character),
            '\n' | '\r' | '\t' => shown.extend(character.escape_default()),
            _ => shown.extend(character.escape_unicode()),
        }
    }
    shown
}

/// Whether a character is not one that is seen where it stands: controls, ends of lines, marks and overrides of
/// direction, and what has no width.
fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A title for the terminal, a line that is not ours, an override of direction, and a tag that is not seen.
    const FORGED: &str = "no\u{1b}]0;title\u{7} way\r\napplied 5 deposits\u{202e}txt.exe\u{9b}2J\u{e0041}\t\u{7f}";

    #[test]
    fn what_is_not_seen_is_shown_as_an_escape_on_one_line() {
        let text = shown(FORGED);
        let expected =
            "no\\u{1b}]0;title\\u{7} way\\r\\napplied 5 deposits\\u{202e}txt.exe\\u{9b}2J\\u{e0041}\\t\\u{7f}";
        assert_eq!(text, expected);
        assert_eq!(one_line(FORGED), expected);
        assert_eq!(lines(FORGED), expected.replace("\\n", "\n"));
        for seen in ["", "ünïcode – 字, ½ …", "a \"quoted\" <b>\\n</b>"] {
            assert_eq!(
                (shown(seen), one_line(seen), lines(seen), json(seen)),
                (seen.into(), seen.into(), seen.into(), seen.into())
            );
        }
    }

    #[test]
    fn json_means_the_same_as_before() {
        let value = serde_json::json!({ "text": FORGED, FORGED: [1, null] });
        let text = json(&value.to_string());
        assert!(text.chars().all(|character| !is_hidden(character)), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(shown("é".repeat(CHARS_MAX)), "é".repeat(CHARS_MAX));
        assert_eq!(shown("é".repeat(CHARS_MAX + 1)), "é".repeat(CHARS_MAX) + "…");
        assert_eq!(lines("é".repeat(CHARS_MAX + 1)), "é".repeat(CHARS_MAX + 1));
    }
}
