//! `never_publish` and `always_publish`. In: a [`Section`], and what applies to all sites. Out: [`NeverPublish`]; mistakes stay
//! in the section.
//!
//! An item is a text (an entry, or `default`), `file: path` (one entry per line) or, in `never_publish`, `warninglist: name`.
//! What a site file says is added to what `config.yaml` says.
//!
//! Invariants: files have a size limit; a mistake in one names that file and its line; with a mistake nothing is left out
//! silently.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::mistake::Mistake;
use super::section::{Item, Section};
use crate::index::never::{Entry, NoEntry};

/// Largest file of entries, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Mistakes of one file that are named.
const MAX_MISTAKES: usize = 20;
/// Warninglists that may be named.
const MAX_LISTS: usize = 64;

const NEVER: &str = "never_publish";
const ALWAYS: &str = "always_publish";

/// What is never published, and what is let through all the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NeverPublish {
    /// Entries of `never_publish`.
    pub block: Arc<[Entry]>,
    /// Names of warninglists that the site's MISP has.
    pub warninglists: Vec<String>,
    /// Entries of `always_publish`.
    pub allow: Arc<[Entry]>,
    /// Files that entries were read from.
    pub files: Vec<PathBuf>,
}

impl NeverPublish {
    /// Whether nothing is kept back.
    pub fn is_empty(&self) -> bool {
        self.block.is_empty() && self.warninglists.is_empty()
    }

    /// In a few words, for people.
    pub fn describe(&self) -> String {
        let entries = |entries: &[Entry]| match entries.iter().filter(|entry| **entry != Entry::Default).count() {
            0 => None,
            1 => Some("1 entry".to_owned()),
            count => Some(format!("{count} entries")),
        };
        let default = self.block.contains(&Entry::Default).then(|| "default".to_owned());
        let lists = self.warninglists.iter().map(|name| format!("warninglist \"{name}\""));
        let mut text: Vec<String> = default.into_iter().chain(entries(&self.block)).chain(lists).collect();
        if text.is_empty() {
            text.push("nothing".into());
        }
        let except =
            entries(&self.allow).filter(|_| !self.is_empty()).map(|count| format!(" (always_publish: {count})"));
        format!("{}{}", text.join(", "), except.unwrap_or_default())
    }

    /// Reads what the section says and adds it to `base`. Without a MISP there are no warninglists.
    pub fn read(section: &mut Section<'_>, dir: &Path, base: &Self, has_misp: bool) -> Self {
        let mut found = Found { dir, files: base.files.clone(), warninglists: Vec::new() };
        if has_misp {
            found.warninglists.clone_from(&base.warninglists);
        }
        let block = found.entries(section, NEVER, has_misp);
        let allow = found.entries(section, ALWAYS, has_misp);
        Self {
            block: joined(&base.block, block),
            warninglists: found.warninglists,
            allow: joined(&base.allow, allow),
            files: found.files,
        }
    }
}

fn joined(base: &Arc<[Entry]>, own: Vec<Entry>) -> Arc<[Entry]> {
    if own.is_empty() { Arc::clone(base) } else { base.iter().cloned().chain(own).collect() }
}

/// What comes up while items are read.
struct Found<'a> {
    dir: &'a Path,
    files: Vec<PathBuf>,
    warninglists: Vec<String>,
}

impl Found<'_> {
    fn entries(&mut self, section: &mut Section<'_>, key: &str, has_misp: bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (name, item) in section.items(key).unwrap_or_default() {
            match name.as_deref() {
                None => match read_entry(&item.text, key) {
                    Ok(entry) => entries.push(entry),
                    Err(no) => section.mistake(key, item.at, format!("\"{}\" {}", item.text, no.what), no.remedy),
                },
                Some("file") => match self.file(&item, key) {
                    Ok((read, mistakes)) => {
                        entries.extend(read);
                        section.take_over(mistakes);
                    }
                    Err((what, remedy)) => section.mistake(key, item.at, what, remedy),
                },
                Some("warninglist") if key == NEVER => self.warninglist(section, &item, has_misp),
                Some(other) => {
                    let what = format!("`{other}:` is no kind of item");
                    let kinds =
                        if key == NEVER { "an entry, `file:` or `warninglist:`" } else { "an entry or `file:`" };
                    section.mistake(key, item.at, what, format!("write {kinds}"));
                }
            }
        }
        entries
    }

    fn warninglist(&mut self, section: &mut Section<'_>, item: &Item, has_misp: bool) {
        let name = item.text.trim();
        if !has_misp {
            let remedy = "remove it, or write the entries into a file and name that with `file:`";
            section.mistake(NEVER, item.at, "the site reads a feed, and only a MISP has warninglists", remedy);
        } else if name.is_empty() {
            section.mistake(NEVER, item.at, "is empty", "write the warninglist's name as MISP shows it");
        } else if !self.warninglists.iter().any(|known| known == name) {
            if self.warninglists.len() == MAX_LISTS {
                section.mistake(NEVER, item.at, format!("more than {MAX_LISTS} warninglists"), "name fewer");
            } else {
                self.warninglists.push(name.to_owned());
            }
        }
    }

    /// The entries of a file, and its mistakes; or why it cannot be read, and the remedy.
    #[expect(clippy::type_complexity, reason = "both halves are used at the one place that calls")]
    fn file(&mut self, item: &Item, key: &str) -> Result<(Vec<Entry>, Vec<Mistake>), (String, &'static str)> {
        let path = self.dir.join(&item.text);
        let text = read_file(&path).map_err(|what| {
            (format!("{} {what}", item.text), "name a text file with one entry per line, `#` before comments")
        })?;
        let (entries, mistakes) = read_lines(&text, &item.text, key);
        self.files.push(path);
        Ok((entries, mistakes))
    }
}

fn read_file(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    // A pipe would be waited for.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is no file".into());
    }
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE { Err(format!("is larger than {MAX_FILE} bytes")) } else { Ok(text) }
}

/// One entry per line; what follows `#` is a comment.
fn read_lines(text: &str, shown: &str, key: &str) -> (Vec<Entry>, Vec<Mistake>) {
    let (mut entries, mut mistakes, mut more) = (Vec::new(), Vec::new(), 0u64);
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        match read_entry(line, key) {
            Ok(entry) => entries.push(entry),
            Err(_) if mistakes.len() == MAX_MISTAKES => more += 1,
            Err(no) => mistakes.push(Mistake {
                line: number,
                column: 1,
                key: key.to_owned(),
                ..Mistake::of_file(shown, format!("\"{line}\" {}", no.what), no.remedy)
            }),
        }
    }
    if more > 0 {
        mistakes.push(Mistake::of_file(shown, format!("{more} more lines are no entries"), ""));
    }
    (entries, mistakes)
}

fn read_entry(text: &str, key: &str) -> Result<Entry, NoEntry> {
    match Entry::parse(text)? {
        Entry::Default if key == ALWAYS => {
            Err(NoEntry { what: "is a word of never_publish", remedy: "write what is to be let through" })
        }
        entry => Ok(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_is_told_in_a_few_words() {
        let entries = |texts: &[&str]| texts.iter().map(|text| Entry::parse(text).unwrap()).collect();
        let mut never = NeverPublish { allow: entries(&["a.example"]), ..NeverPublish::default() };
        assert_eq!(never.describe(), "nothing");
        never.block = entries(&["default", "10.0.0.0/8", "corp.example"]);
        never.warninglists.push("Top".into());
        assert_eq!(never.describe(), "default, 2 entries, warninglist \"Top\" (always_publish: 1 entry)");
    }

    #[test]
    fn a_file_holds_one_entry_per_line() {
        let text = "\u{feff}# our own\n10.0.0.0/8 # office\r\n\n  corp.example\nhttp://x/\n";
        let (entries, mistakes) = read_lines(text, "own.txt", NEVER);
        assert_eq!(entries.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "corp.example"]);
        let line =
            "own.txt:5:1: never_publish: \"http://x/\" is a URL or has a path; write the host alone, e.g. corp.example";
        assert_eq!(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>(), [line]);
        let (_, mistakes) = read_lines(&"1.2.3\n".repeat(50), "own.txt", NEVER);
        assert_eq!((mistakes.len(), mistakes[MAX_MISTAKES].what.as_str()), (21, "30 more lines are no entries"));
    }
}
