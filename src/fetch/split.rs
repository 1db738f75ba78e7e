//! Cuts the elements of one JSON array out of bytes that come in chunks, so that no answer is ever in memory whole.
//!
//! In: the chunks of an answer. Out: the bytes of each element, one after the other.
//!
//! Invariants: only the wanted shape passes (`[…]`, or `{"response":{"Attribute":[…]}}`), white space aside; an element is
//! an object and at most [`MAX_ELEMENT`] bytes; an answer that ends early is an error ([`Splitter::finish`]), so a cut
//! answer is never taken for a short one. The elements themselves are not judged here.

use memchr::{memchr2, memchr3};

/// Largest element in bytes: MISP keeps values of up to 64 KiB, an attribute adds comment, tags and warnings.
pub const MAX_ELEMENT: usize = 4 << 20;

/// Where in an answer the array is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The answer is the array.
    Bare,
    /// `{"response": {"Attribute": [ … ]}}`, as `/attributes/restSearch` answers (`Lib/Export/JsonExport.php`).
    Attributes,
}

impl Shape {
    fn around(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Shape::Bare => (b"[", b"]"),
            Shape::Attributes => (br#"{"response":{"Attribute":["#, b"]}}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// So many bytes of what stands before the array have been seen.
    Before(usize),
    /// After `[`: an element or the end.
    First,
    /// After an element: a comma or the end.
    After,
    /// After a comma: an element.
    Next,
    /// Inside an element: open brackets.
    Inside(u32),
    /// Inside a string of an element.
    Text(u32),
    /// After a backslash in it.
    Escape(u32),
    /// So many bytes of what stands behind the array have been seen.
    Behind(usize),
}

/// The state between two chunks.
#[derive(Debug)]
pub struct Splitter {
    shape: Shape,
    at: At,
    /// What came of an element whose end is in a later chunk.
    begun: Vec<u8>,
}

/// What each element is handed to. An error ends the splitting with its text.
pub type Each<'a> = dyn FnMut(&[u8]) -> Result<(), String> + Send + 'a;

impl Splitter {
    /// At the beginning of an answer.
    pub fn new(shape: Shape) -> Self {
        Self { shape, at: At::Before(0), begun: Vec::new() }
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, chunk: &[u8], each: &mut Each<'_>) -> Result<(), String> {
        let mut start = 0;
        let mut here = 0;
        while here < chunk.len() {
            match self.at {
                At::Inside(depth) => {
                    // Only quotes and brackets matter; everything between them is skipped at the speed of memory.
                    let Some(found) = next_mark(&chunk[here..]) else { break };
                    here += found + 1;
                    match chunk[here - 1] {
                        b'"' => self.at = At::Text(depth),
                        b'{' | b'[' => self.at = At::Inside(depth + 1),
                        _ if depth > 1 => self.at = At::Inside(depth - 1),
                        _ => {
                            self.element(&chunk[start..here], each)?;
                            self.at = At::After;
                        }
                    }
                }
                At::Text(depth) => {
                    let Some(found) = next_end(&chunk[here..]) else { break };
                    here += found + 1;
                    self.at = if chunk[here - 1] == b'"' { At::Inside(depth) } else { At::Escape(depth) };
                }
                At::Escape(depth) => {
                    here += 1;
                    self.at = At::Text(depth);
                }
                _ => {
                    if self.outside(chunk[here])? {
                        start = here;
                    }
                    here += 1;
                }
            }
        }
        if matches!(self.at, At::Inside(_) | At::Text(_) | At::Escape(_)) {
            self.keep(&chunk[start..])?;
        }
        Ok(())
    }

    /// One byte outside of elements; `true` if an element begins with it.
    fn outside(&mut self, byte: u8) -> Result<bool, String> {
        let (before, behind) = self.shape.around();
        self.at = match self.at {
            at if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') => at,
            At::Before(seen) if byte == before[seen] && seen + 1 == before.len() => At::First,
            At::Before(seen) if byte == before[seen] => At::Before(seen + 1),
            At::First | At::Next if byte == b'{' => At::Inside(1),
            At::After if byte == b',' => At::Next,
            At::First | At::After if byte == b']' => At::Behind(1),
            At::Behind(seen) if behind.get(seen) == Some(&byte) => At::Behind(seen + 1),
            _ => return Err("not the JSON MISP answers with".into()),
        };
        Ok(matches!(self.at, At::Inside(_)))
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), String> {
        if self.begun.len() + part.len() > MAX_ELEMENT {
            return Err(format!("an element of more than {MAX_ELEMENT} bytes"));
        }
        self.begun.extend_from_slice(part);
        Ok(())
    }

    fn element(&mut self, end: &[u8], each: &mut Each<'_>) -> Result<(), String> {
        if self.begun.is_empty() && end.len() <= MAX_ELEMENT {
            return each(end);
        }
        self.keep(end)?;
        let whole = std::mem::take(&mut self.begun);
        let result = each(&whole);
        self.begun = whole;
        self.begun.clear();
        result
    }

    /// The answer is over: it must have been whole.
    pub fn finish(&self) -> Result<(), String> {
        let (_, behind) = self.shape.around();
        match self.at {
            At::Behind(seen) if seen == behind.len() => Ok(()),
            At::Before(0) => Err("the answer is empty".into()),
            _ => Err("the answer ends before its JSON does".into()),
        }
    }
}

/// Bytes that are looked at by themselves: in the answers of a MISP the next mark is that near, and setting out to search costs more.
const NEAR: usize = 16;

/// The next quote or bracket.
fn next_mark(bytes: &[u8]) -> Option<usize> {
    let (near, far) = bytes.split_at(bytes.len().min(NEAR));
    let is_mark = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
    near.iter().position(is_mark).or_else(|| {
        let found = memchr3(b'"', b'{', b'}', far);
        let within = &far[..found.unwrap_or(far.len())];
        memchr2(b'[', b']', within).or(found).map(|found| near.len() + found)
    })
}

/// The next quote or backslash.
fn next_end(bytes: &[u8]) -> Option<usize> {
    let (words, _) = bytes[..bytes.len().min(2 * NEAR)].as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ repeated(b'"')) | zeros(word ^ repeated(b'\\'));
        if found != 0 {
            return Some(number * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    let seen = words.len() * 8;
    memchr2(b'"', b'\\', &bytes[seen..]).map(|found| seen + found)
}

const fn repeated(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The high bit of the first byte that is zero is set; those before it are not (Mycroft's test).
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(repeated(1)) & !word & repeated(0x80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(shape: Shape, chunks: &[&[u8]]) -> Result<Vec<String>, String> {
        let mut splitter = Splitter::new(shape);
        let mut found = Vec::new();
        for chunk in chunks {
            splitter.feed(chunk, &mut |element| {
                found.push(String::from_utf8(element.to_vec()).unwrap());
                Ok(())
            })?;
        }
        splitter.finish().map(|()| found)
    }

    const ANSWER: &str = "{\"response\": {\"Attribute\": [{\"a\":\"]}\\\"\\\\\",\"b\":[{}]}, {\"c\":{\"d\":1}}]}}\n";

    #[test]
    fn elements_are_cut_wherever_the_chunks_end() {
        let whole = split(Shape::Attributes, &[ANSWER.as_bytes()]).unwrap();
        assert_eq!(whole, ["{\"a\":\"]}\\\"\\\\\",\"b\":[{}]}", "{\"c\":{\"d\":1}}"]);
        for first in 0..ANSWER.len() {
            for second in first..ANSWER.len() {
                let bytes = ANSWER.as_bytes();
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(split(Shape::Attributes, &chunks).unwrap(), whole, "{first} {second}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_cut_is_an_error_wherever_it_is_cut() {
        for end in 0..ANSWER.trim_end().len() {
            assert!(split(Shape::Attributes, &[&ANSWER.as_bytes()[..end]]).is_err(), "{end}");
        }
    }

    #[test]
    fn nothing_but_the_wanted_shape_passes() {
        for bad in
            ["", "null", "[1]", "[{}", "[{},]", "[{}]]", "[{}] x", "{\"response\":[]}", "<html>", "[{} {}]", "[,{}]"]
        {
            assert!(split(Shape::Bare, &[bad.as_bytes()]).is_err(), "{bad}");
        }
        assert_eq!(split(Shape::Bare, &[b" [ ] "]).unwrap().len(), 0);
        assert!(split(Shape::Attributes, &[b"{\"response\": {\"Attribute\": []}}"]).unwrap().is_empty());
        for bad in
            ["[]", "{\"response\": {\"Attribute\": {}}}", "{\"response\": []}", "{\"response\":{\"Attribute\":[]}"]
        {
            assert!(split(Shape::Attributes, &[bad.as_bytes()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_element_has_a_size_limit() {
        let huge = format!("[{{\"a\":\"{}\"}}]", "x".repeat(MAX_ELEMENT));
        assert!(split(Shape::Bare, &[huge.as_bytes()]).unwrap_err().contains("more than"));
        let chunks: Vec<&[u8]> = huge.as_bytes().chunks(1000).collect();
        assert!(split(Shape::Bare, &chunks).unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn marks_are_found_where_they_are(
            mut bytes in prop::collection::vec(any::<u8>().prop_filter("no mark", |byte| !b"\"\\{}[]".contains(byte)), 0..80),
            marks in prop::collection::vec((0usize..80, prop::sample::select(b"\"\\{}[]\"\\".to_vec())), 0..4),
        ) {
            for (at, mark) in marks {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = mark;
                }
            }
            let first = |marks: &[u8]| bytes.iter().position(|byte| marks.contains(byte));
            prop_assert_eq!(next_end(&bytes), first(b"\"\\"));
            prop_assert_eq!(next_mark(&bytes), first(b"\"{}[]"));
        }

        #[test]
        fn what_a_parser_reads_is_what_is_cut(
            values in prop::collection::vec(("\\PC{0,12}", prop::collection::vec("[\\[\\]{}\",\\\\ ]{0,6}", 0..4)), 0..6),
            size in 1usize..40,
        ) {
            let elements: Vec<_> =
                values.iter().map(|(text, list)| serde_json::json!({"v": text, "list": list, "in": {"x": text}})).collect();
            let answer = serde_json::json!({"response": {"Attribute": elements}}).to_string();
            let chunks: Vec<&[u8]> = answer.as_bytes().chunks(size).collect();
            let found = split(Shape::Attributes, &chunks).unwrap();
            let parsed: Vec<serde_json::Value> = found.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
            prop_assert_eq!(parsed, elements);
        }
    }
}
