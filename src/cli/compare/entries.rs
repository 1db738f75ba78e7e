//! A list's body → its entries, in order. Pure.
//!
//! In: a format's name and a body. Out: the entries, or what cannot be read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config;

/// The entries of a body.
pub fn entries(format: &str, body: &str) -> Result<Vec<String>, String> {
    let lines = || body.split("\r\n").filter(|_| !body.is_empty());
    match format {
        "json" => serde_json::from_str(body).map_err(|error| format!("no JSON list: {error}")),
        "yaml" => config::file::texts(body).ok_or_else(|| "no YAML list".to_owned()),
        "b64" => lines().map(plain).collect(),
        "xml" => Ok(xml(body)),
        _ => Ok(lines().map(str::to_owned).collect()),
    }
}

fn plain(line: &str) -> Result<String, String> {
    let bytes = STANDARD.decode(line).map_err(|_| "a line that is no base64".to_owned())?;
    String::from_utf8(bytes).map_err(|_| "a value that is no UTF-8".to_owned())
}

fn xml(body: &str) -> Vec<String> {
    let text = |part: &str| {
        let text = part.split("</entry>").next().unwrap_or_default();
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    };
    // An empty entry is written without an end.
    body.replace("<entry />", "<entry></entry>").split("<entry>").skip(1).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_read() {
        let list = ["a&b", "\u{fc}"];
        for (format, body) in [
            ("txt", "a&b\r\n\u{fc}"),
            ("cisco", "a&b\r\n\u{fc}"),
            ("json", "[\"a&b\", \"\\u00fc\"]"),
            ("xml", "<?xml version='1.0' encoding='utf8'?>\n<url><entry>a&amp;b</entry><entry>\u{fc}</entry></url>"),
            ("yaml", "---\n- a&b\n- \"\\xFC\"\n"),
            ("b64", "YSZi\r\nw7w="),
        ] {
            assert_eq!(entries(format, body).unwrap(), list, "{format}");
        }
        for (format, body) in [("txt", ""), ("json", "[]"), ("xml", "<url />"), ("yaml", "--- []\n"), ("b64", "")] {
            assert_eq!(entries(format, body).unwrap(), [""; 0], "{format}");
        }
        assert!(entries("json", "{").is_err() && entries("b64", "!").is_err() && entries("yaml", "a: b").is_err());
    }
}
