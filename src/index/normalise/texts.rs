//! Values that are taken as they are (D5): url, mutex, email-subject, email-attachment; the rules yara, snort, sigma.

use std::borrow::Cow;

use super::{Refusal, is_python_space};

/// D5: a URL as MISP has it; white space of any kind is refused.
pub fn url<'a>(misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let value = line(misp_type, value)?;
    if value.contains(is_python_space) { Err(Refusal::WhiteSpace) } else { Ok(value) }
}

/// D5: one line of text; a line break is LF or CR.
pub fn line<'a>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    if value.is_empty() {
        Err(Refusal::Empty)
    } else if memchr::memchr2(b'\n', b'\r', value.as_bytes()).is_some() {
        Err(Refusal::LineBreak)
    } else {
        Ok(Cow::Borrowed(value))
    }
}

/// D5: the text of a rule with its line breaks; one LF at the very end is dropped.
pub fn rule<'a>(_misp_type: &str, value: &'a str) -> Result<Cow<'a, str>, Refusal> {
    let text = value.strip_suffix('\n').unwrap_or(value);
    if text.is_empty() { Err(Refusal::Empty) } else { Ok(Cow::Borrowed(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_everything_but_white_space() {
        assert_eq!(url("url", "HTTP://x/?u=http://y").as_deref(), Ok("HTTP://x/?u=http://y"));
        assert_eq!(url("url", "http://x/\n"), Err(Refusal::LineBreak));
        assert_eq!(url("url", "http://x/\u{1c}"), Err(Refusal::WhiteSpace));
    }

    #[test]
    fn only_rules_have_lines() {
        assert_eq!(line("mutex", " a|b\t").as_deref(), Ok(" a|b\t"));
        for bad in ["a\n", "a\rb", "\n"] {
            assert_eq!(line("mutex", bad), Err(Refusal::LineBreak), "{bad:?}");
        }
        assert_eq!(line("mutex", ""), Err(Refusal::Empty));
        assert_eq!(rule("yara", "rule a\r\n{\n}\n\n").as_deref(), Ok("rule a\r\n{\n}\n"));
        assert_eq!(rule("yara", "\n"), Err(Refusal::Empty));
    }
}
