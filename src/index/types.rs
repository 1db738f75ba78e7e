//! The data types: what a list can hold. Adding one is one row here and, if need be, its normaliser.

use super::normalise::{self, Normalise};

/// A kind of list, e.g. `ipv4`.
#[derive(Debug)]
pub struct DataType {
    /// As it stands in URLs, file names and configuration.
    pub name: &'static str,
    /// MISP attribute types it is made from, unless `config/mappings.yaml` says otherwise.
    pub misp_types: &'static [&'static str],
    /// How a value gets into the list.
    pub normalise: Normalise,
}

impl PartialEq for DataType {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Every data type, in the order of error texts: the one list of types.
pub const TYPES: &[DataType] = &[
    DataType {
        name: "ipv4",
        misp_types: &["ip-src", "ip-dst", "domain|ip", "ip-dst|port", "ip-src|port"],
        normalise: normalise::ipv4,
    },
    DataType {
        name: "ipv6",
        misp_types: &["ip-src", "ip-dst", "domain|ip", "ip-dst|port", "ip-src|port"],
        normalise: normalise::ipv6,
    },
    DataType { name: "cidr4", misp_types: &["ip-src", "ip-dst"], normalise: normalise::cidr4 },
    DataType { name: "domain", misp_types: &["domain"], normalise: normalise::host_name },
    DataType {
        name: "hostname",
        misp_types: &["hostname", "domain|ip", "hostname|port"],
        normalise: normalise::host_name,
    },
    DataType { name: "url", misp_types: &["url"], normalise: normalise::url },
    DataType { name: "file-md5", misp_types: &["md5", "filename|md5"], normalise: normalise::hash::<32> },
    DataType { name: "file-sha1", misp_types: &["sha1", "filename|sha1"], normalise: normalise::hash::<40> },
    DataType { name: "file-sha256", misp_types: &["sha256", "filename|sha256"], normalise: normalise::hash::<64> },
];

impl DataType {
    /// Looks a data type up by its name.
    pub fn named(name: &str) -> Option<&'static DataType> {
        TYPES.iter().find(|data_type| data_type.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_safe_in_paths() {
        for (at, data_type) in TYPES.iter().enumerate() {
            assert!(TYPES[..at].iter().all(|other| other.name != data_type.name), "{} twice", data_type.name);
            assert!(
                data_type.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
                "{}",
                data_type.name
            );
            assert!(!data_type.misp_types.is_empty(), "{}", data_type.name);
        }
    }
}
