//! URLs of lists, taken apart by these tests themselves.

/// What a URL asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub slice: Slice,
    pub data_type: String,
    pub age: String,
    /// `txt` … or the name of a vendor.
    pub format: String,
}

/// Out of what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slice {
    Feed(String),
    Organisation(String),
}

/// Every data type of the predecessor.
pub const DATA_TYPES: [(&str, &[&str]); 26] = [
    ("ipv4ext", ADDRESSES),
    ("ipv4", ADDRESSES),
    ("ipv6", ADDRESSES),
    ("cidr4", &["ip-src", "ip-dst"]),
    ("domain", &["domain"]),
    ("hostname", &["hostname", "domain|ip", "hostname|port"]),
    ("url", &["url"]),
    ("file-md5", &["md5", "filename|md5"]),
    ("file-sha1", &["sha1", "filename|sha1"]),
    ("file-sha256", &["sha256", "filename|sha256"]),
    ("mutex", &["mutex"]),
    ("snort", &["snort"]),
    ("yara", &["yara"]),
    ("sigma", &["sigma"]),
    ("x509-fingerprint-md5", &["x509-fingerprint-md5"]),
    ("x509-fingerprint-sha1", &["x509-fingerprint-sha1"]),
    ("x509-fingerprint-sha256", &["x509-fingerprint-sha256"]),
    ("email-address", &["email-dst", "email-src", "email"]),
    ("email-subject", &["email-subject"]),
    ("email-attachment", &["email-attachment"]),
    ("vulnerability", &["vulnerability"]),
    ("ja3", &["ja3-fingerprint-md5"]),
    ("hassh-md5", &["hassh-md5"]),
    ("hasshserver-md5", &["hasshserver-md5"]),
    ("imphash", &["imphash"]),
    ("crypto-currency", &["btc", "xmr"]),
];
const ADDRESSES: &[&str] = &["ip-src", "ip-dst", "domain|ip", "ip-dst|port", "ip-src|port"];

/// Every format of the predecessor.
pub const FORMATS: [&str; 5] = ["json", "txt", "xml", "yaml", "b64"];
/// Its vendors.
pub const VENDORS: [&str; 2] = ["paloalto", "cisco"];

/// The path of a target, decoded, without its query.
pub fn path(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned()
}

impl Wanted {
    /// `None`: not the URL of a list, or one with a word that does not exist.
    pub fn read(target: &str) -> Option<Self> {
        let path = path(target);
        let words: Vec<&str> = path.split('/').collect();
        let wanted = match words[..] {
            ["", "v1", "feed", feed, "type", kind, "age", age, "output", format] => {
                Self::new(Slice::Feed(feed.into()), kind, age, format)
            }
            ["", "v1", "uuid", uuid, "type", kind, "age", age, "output", format] => {
                Self::new(Slice::Organisation(uuid.into()), kind, age, format)
            }
            ["", "v1", "vendor", vendor, "feed", feed, "type", kind, "age", age] => {
                Self::new(Slice::Feed(feed.into()), kind, age, vendor)
            }
            _ => return None,
        };
        let feeds = ["incident", "block", "alert", "hunt", "cust1", "cust2", "cust3", "cust4", "cust5", "any", "42"];
        let known = DATA_TYPES.iter().any(|(name, _)| *name == wanted.data_type)
            && FORMATS.iter().chain(&VENDORS).any(|name| *name == wanted.format)
            && super::member::AGES.iter().any(|(name, ..)| *name == wanted.age)
            && !matches!(&wanted.slice, Slice::Feed(name) if !feeds.contains(&name.as_str()));
        known.then_some(wanted)
    }

    fn new(slice: Slice, data_type: &str, age: &str, format: &str) -> Self {
        Self { slice, data_type: data_type.into(), age: age.into(), format: format.into() }
    }

    /// Why this program cannot have it yet.
    pub fn not_yet(&self) -> Option<&'static str> {
        if cratos::index::DataType::named(&self.data_type).is_none() {
            Some("data type")
        } else if cratos::render::Format::named(&self.format).is_none() {
            Some("format")
        } else {
            None
        }
    }
}
