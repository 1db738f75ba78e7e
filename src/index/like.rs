//! SQL LIKE, as MISP compares tag names. In: a pattern and a name. Out: whether they match. Pure.
//!
//! Invariant: time is at most pattern × name.

/// SQL LIKE as MISP compares tag names (`MispAttribute.php`, `Tag::lookupTagIdFromName`): `%` is any text, `_` one
/// character, a backslash takes the next character as it is; case-sensitive.
pub fn like(pattern: &str, name: &str) -> bool {
    let pattern = like_tokens(pattern);
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut from) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(Token::Any) => {
                retry = Some((at, from));
                at += 1;
            }
            Some(Token::One) => (at, from) = (at + 1, from + 1),
            Some(Token::Is(character)) if *character == name[from] => (at, from) = (at + 1, from + 1),
            _ => match retry {
                Some((star, start)) => {
                    retry = Some((star, start + 1));
                    (at, from) = (star + 1, start + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|token| matches!(token, Token::Any))
}

enum Token {
    Any,
    One,
    Is(char),
}

fn like_tokens(pattern: &str) -> Vec<Token> {
    let mut characters = pattern.chars();
    let mut tokens = Vec::new();
    while let Some(character) = characters.next() {
        tokens.push(match character {
            '%' => Token::Any,
            '_' => Token::One,
            '\\' => Token::Is(characters.next().unwrap_or('\\')),
            other => Token::Is(other),
        });
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_is_sql_like() {
        for (pattern, name, expected) in [
            ("a:b=block", "a:b=block", true),
            ("a:b=block", "a:b=BLOCK", false),
            ("a_b", "axb", true),
            ("a_b", "ab", false),
            ("a%", "a", true),
            ("%=block", "x:y=block", true),
            ("%a%b%", "xxaxxbxx", true),
            ("%a%b%", "xxbxxaxx", false),
            (r"a\_b", "axb", false),
            (r"a\_b", "a_b", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(like(pattern, name), expected, "{pattern} {name}");
        }
    }
}
