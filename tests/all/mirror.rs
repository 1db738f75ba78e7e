//! A folder that mirrors the installation behind the recorded rows: its keys, and its sites in files of our own.

use cratos::secret::Secret;
use cratos::token::TokenKeys;

use crate::dir::Dir;

/// Keys that were made for the recorded rows, published with them, and used nowhere else.
pub const ENCRYPTION_KEY: &str = "6F1C0A5E9B2D47833C5D8E1F7A904B62D3E8C7F5A1B09486D2C3E4F5061728A9";
pub const SALT: &str = "Zx9!kQ2#vB7?mN4wR6tY1uI3oP5aS8dF";
/// The feeds of a recorded site, and the tag of each.
const FEEDS: [&str; 9] = ["incident", "block", "alert", "hunt", "cust1", "cust2", "cust3", "cust4", "cust5"];

/// The keys the recorded tokens open with.
pub fn token_keys() -> TokenKeys {
    TokenKeys::derive(&Secret::new(ENCRYPTION_KEY), &Secret::new(SALT))
}

/// With two sites that are good; `extra` is appended to `config.yaml`.
pub fn dir(extra: &str) -> Dir {
    let dir = Dir::new("");
    dir.write(
        "config/config.yaml",
        &format!(
            "encryption_key: \"{ENCRYPTION_KEY}\"\nsalt: \"{SALT}\"\nlisten: 127.0.0.1:{}\n\
             allways_allowed_ips: [100.64.3.0/24, 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]\n\
             publish:\n  feeds: [block]\n  types: [ipv4]\n  ages: [1d]\n{extra}",
            dir.port
        ),
    );
    dir.site("127.0.0.1", &site());
    dir.site("misp.example.net", &site());
    dir
}

/// A site that this machine may read, over the folder's feed.
pub fn site() -> String {
    let custom: String =
        FEEDS[4..].iter().map(|name| format!("  {name}: \":incident-classification={name}\"\n")).collect();
    // The key in most recorded tokens.
    let key = format!("main{}", "X".repeat(36));
    format!(
        "enabled: true\ntag: example\nallowed_ips: [10.0.0.0/8, 127.0.0.1/32, 192.168.1.0/24]\ncustom_feeds:\n{custom}\
         blacklisted_api_tokens: [empty]\nfeed: ./feed\nmispAuthKey: {key}\nrefresh: 1h\n"
    )
}

/// Adds the sites that are there for one recorded token each.
pub fn add_odd_sites(dir: &Dir) {
    let allowed = "allowed_ips: [10.0.0.0/8, 127.0.0.1/32, 192.168.1.0/24]";
    let black = "blacklisted_api_tokens: [empty]";
    let listed = "blacklisted_api_tokens: [405aac9f0c93bd399166933b5d490e7b961759e3106fb96998e9e7712ef8b033]";
    let custom = &site()[site().find("custom_feeds:").unwrap()..site().find("blacklisted").unwrap()];
    for (name, from, to) in [
        ("black", black, listed),
        ("blocked", allowed, "allowed_ips: [10.0.0.0/8]"),
        ("v6only", allowed, "allowed_ips: [2001:db8::/32]"),
        ("hostbits", allowed, "allowed_ips: [127.0.0.7/8]"),
        ("disabled", "enabled: true", "enabled: false"),
        ("fewcustom", custom, "custom_feeds: {cust1: \":x=y\"}\n"),
        ("badcidr", allowed, "allowed_ips: [not an ip]"),
        ("noips", allowed, ""),
        ("nullblack", black, "blacklisted_api_tokens: null"),
        ("notag", "tag: example\n", ""),
        ("nocustom", custom, ""),
    ] {
        let yaml = site().replacen(from, to, 1);
        assert_ne!(yaml, site(), "{name}");
        dir.site(&format!("{name}.example.net"), &yaml);
    }
    dir.site("emptyfile.example.net", "");
    dir.site("notyaml.example.net", "a: [b\n");
}

/// What `/v1/feedmapping` says of a site.
pub fn mapping() -> String {
    let line = |name: &&str| {
        format!("Feed name: \"{name}\" is mapped to MISP tag: example:incident-classification={name}\r\n")
    };
    FEEDS.iter().map(line).collect()
}
