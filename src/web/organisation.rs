//! `orgUUID` of `/v1/uuid/…`. In: the word as it stands in the URL. Out: the name of the organisation's lists, or a mistake byte
//! for byte as pydantic 2 writes it.

use super::params::quote;
use crate::snapshot::layout::ORGANISATION;

/// Characters of a UUID.
const LENGTH: usize = 36;
/// As the predecessor's texts show it.
const PATTERN: &str = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
/// Stands for every organisation that cannot exist.
const NOBODY: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

/// The mistake, if it is no UUID.
pub fn check(input: &str) -> Option<String> {
    let characters = input.chars().count();
    let (kind, message, context) = if characters < LENGTH {
        ("string_too_short", format!("String should have at least {LENGTH} characters"), r#"{"min_length":36}"#.into())
    } else if characters > LENGTH {
        ("string_too_long", format!("String should have at most {LENGTH} characters"), r#"{"max_length":36}"#.into())
    } else if !is_uuid(input) {
        let context = format!(r#"{{"pattern":{}}}"#, quote(PATTERN));
        ("string_pattern_mismatch", format!("String should match pattern '{PATTERN}'"), context)
    } else {
        return None;
    };
    let (message, input) = (quote(&message), quote(input));
    Some(format!(r#"{{"type":"{kind}","loc":["path","orgUUID"],"msg":{message},"input":{input},"ctx":{context}}}"#))
}

fn is_uuid(text: &str) -> bool {
    let good = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    text.len() == LENGTH && text.bytes().enumerate().all(good)
}

/// The name of its lists. MISP writes UUIDs in lower case and compares them as texts: in another spelling there is no such
/// organisation, and all of those share one name, so that spellings do not multiply lists.
pub fn name(uuid: &str) -> String {
    let uuid = if uuid.bytes().any(|byte| byte.is_ascii_uppercase()) { NOBODY } else { uuid };
    format!("{ORGANISATION}{uuid}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_uuid_is_told_so() {
        let good = "569b6c1f-bd1c-49c8-9244-0484bce2ab96";
        assert_eq!(check(good), None);
        for (bad, kind) in [
            ("CIRCL", "string_too_short"),
            ("569b6c1f-bd1c-49c8-9244-0484bce2ab967", "string_too_long"),
            ("569b6c1fxbd1c-49c8-9244-0484bce2ab96", "string_pattern_mismatch"),
            ("569b6c1f-bd1c-49c8-9244-0484bce2ab9\n", "string_pattern_mismatch"),
            ("١69b6c1f-bd1c-49c8-9244-0484bce2ab96", "string_pattern_mismatch"),
        ] {
            assert!(check(bad).is_some_and(|text| text.contains(kind)), "{bad}");
        }
    }

    #[test]
    fn other_spellings_are_nobody() {
        assert_eq!(name("569b6c1f-bd1c-49c8-9244-0484bce2ab96"), "org:569b6c1f-bd1c-49c8-9244-0484bce2ab96");
        assert_eq!(name("569B6c1f-bd1c-49c8-9244-0484bce2ab96"), format!("org:{NOBODY}"));
    }
}
