//! How a mistake reads. In: where it is, what is wrong, what to do. Out: one line, on a terminal also the source line.
//!
//! Invariants: no text of this module holds the value of a [secret key](is_secret); an excerpt is a line that starts
//! with a key that is no secret, or is an item of its list, and names no secret key anywhere.

use std::fmt::{self, Write as _};

/// Keys whose values are never shown.
pub const SECRET_KEYS: [&str; 4] = ["encryption_key", "salt", "mispAuthKey", "memcached_pass"];

/// One thing to correct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// As shown, e.g. `sites/misp.example.net.yaml`.
    pub file: String,
    /// From 1; 0: unknown.
    pub line: u64,
    /// From 1, in characters; 0: unknown.
    pub column: u64,
    /// The setting, e.g. `keep.daily`; empty: the file as a whole.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do; may be empty.
    pub remedy: String,
    /// The source line, if it can be shown.
    pub excerpt: Option<String>,
}

impl Mistake {
    /// A mistake about a file as a whole.
    pub fn of_file(file: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            key: String::new(),
            what: what.into(),
            remedy: remedy.into(),
            excerpt: None,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.file)?;
        if self.line > 0 {
            write!(out, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(out, ": {}", self.key)?;
        }
        write!(out, ": {}", self.what)?;
        if !self.remedy.is_empty() {
            write!(out, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// All mistakes of a configuration.
#[derive(Clone, Debug)]
pub struct ConfigErrors(pub Vec<Mistake>);

impl ConfigErrors {
    /// One mistake a line; for a `terminal` also the source line with a caret below the place.
    pub fn render(&self, terminal: bool) -> String {
        let mut out = String::new();
        for mistake in &self.0 {
            let _ = writeln!(out, "{mistake}");
            if let Some(excerpt) = mistake.excerpt.as_ref().filter(|_| terminal) {
                let number = mistake.line.to_string();
                let gutter = " ".repeat(number.len());
                let before = usize::try_from(mistake.column.saturating_sub(1)).unwrap_or(0);
                let caret = " ".repeat(before.min(excerpt.chars().count()));
                let _ = writeln!(out, "  {number} | {excerpt}\n  {gutter} | {caret}^");
            }
        }
        out
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.render(false).trim_end())
    }
}

impl std::error::Error for ConfigErrors {}

/// Whether the value of this setting must not be shown. Of `a.b`, `b` counts.
pub fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    SECRET_KEYS.iter().any(|secret| secret.eq_ignore_ascii_case(last))
}

/// Whether a source line may be shown for a mistake about `key`.
pub fn may_show(line: &str, key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key);
    let start = line.trim_start().trim_start_matches(['"', '\'']);
    let lower = line.to_ascii_lowercase();
    let shows_secret = SECRET_KEYS.iter().any(|secret| lower.contains(&secret.to_ascii_lowercase()));
    let shows_password = line.contains("://") && line.contains('@');
    let is_its_line = !last.is_empty() && (start.starts_with(last) || start.starts_with("- "));
    is_its_line && !is_secret(key) && !shows_secret && !shows_password
}

/// The candidate that was probably meant.
pub fn similar<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    let length = name.chars().count();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= (length / 3).max(2) && distance < length.min(candidate.len()))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// What to do about a name that is none of `candidates`.
pub fn did_you_mean(name: &str, candidates: &[&str]) -> String {
    match similar(name, candidates.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => format!("one of: {}", candidates.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_one_line() {
        let mistake = Mistake {
            file: "sites/x.yaml".into(),
            line: 12,
            column: 3,
            key: "allowed_ips".into(),
            what: "\"10.0.0.0/33\" is no network".into(),
            remedy: "write e.g. 10.0.0.0/8".into(),
            excerpt: Some("  - 10.0.0.0/33".into()),
        };
        let line = "sites/x.yaml:12:3: allowed_ips: \"10.0.0.0/33\" is no network; write e.g. 10.0.0.0/8";
        assert_eq!(mistake.to_string(), line);
        let errors = ConfigErrors(vec![mistake]);
        assert_eq!(errors.to_string(), line);
        assert_eq!(errors.render(true), format!("{line}\n  12 |   - 10.0.0.0/33\n     |   ^\n"));
    }

    #[test]
    fn lines_with_secrets_are_not_shown() {
        assert!(may_show("tag: 5", "tag"));
        assert!(may_show("  - 10.0.0.0/33", "allowed_ips"));
        for (line, key) in [
            ("salt: x", "salt"),
            ("tag: {salt: x}", "tag"),
            ("  - mispAuthKey: x", "allowed_ips"),
            ("{a: 1, tag: 2}", "tag"),
            ("feed: https://user:word@host/", "feed"),
        ] {
            assert!(!may_show(line, key), "{line}");
        }
    }

    #[test]
    fn suggests_what_is_close() {
        assert_eq!(similar("allowed_ip", ["tag", "allowed_ips"]), Some("allowed_ips"));
        assert_eq!(similar("mispauthkey", ["mispAuthKey", "mispUrl"]), Some("mispAuthKey"));
        assert_eq!(similar("4", ["42", "any"]), None);
        assert_eq!(did_you_mean("zzzzzz", &["txt", "json"]), "one of: txt, json");
    }
}
