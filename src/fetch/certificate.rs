//! What a certificate says of itself. In: its DER form. Out: when it ends, and its SHA-256. Pure.
//!
//! Invariant: nothing is believed because of what is read here; whom to trust is decided in `tls`.

use ring::digest;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// Its last second (`notAfter`), Unix seconds; `None` if it cannot be read.
pub fn ends(der: &[u8]) -> Option<i64> {
    let certificate = Certificate::from_der(der).ok()?;
    let not_after = certificate.tbs_certificate().validity().not_after;
    i64::try_from(not_after.to_unix_duration().as_secs()).ok()
}

/// SHA-256 in 64 lower-case hex digits, as `mispCertSha256` takes it.
pub fn sha256(der: &[u8]) -> String {
    digest::digest(&digest::SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    /// `openssl req -x509 -newkey ec -days 400`: ends on 2027-12-29T07:47:17Z.
    const SHORT: &str = "\
        MIIBjDCCATGgAwIBAgIUSeOV1KDia0EkLvDIYU7yoku2/SMwCgYIKoZIzj0EAwIwGzEZMBcGA1UEAwwQbWlzcC5leGFtcGxlLm5ldDAeFw0yNjEx\
        MjQwNzQ3MTdaFw0yNzEyMjkwNzQ3MTdaMBsxGTAXBgNVBAMMEG1pc3AuZXhhbXBsZS5uZXQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR6Cv8q\
        9RmKFGEgjltORRFdxy8hOgIBEDcwRKnes5Wy9cVc82XFJva7VnrcplClDmlBcWzNN4UbSfVUpiAbIqReo1MwUTAdBgNVHQ4EFgQU6TdWuLQlDZsf\
        LAKIbHHp58dbl0kwHwYDVR0jBBgwFoAU6TdWuLQlDZsfLAKIbHHp58dbl0kwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAxd8c\
        kbgELb/QpPrqJC34VQJwHjjzeKDQxbClj53g0BwCIQCNrDTUL+AfC3ViFVUUScawGvnpF6Q6i+mJx5ubF+LxDw==";
    /// The same with `-days 36500`, so its end is written in the other of the two ways: 2126-10-31T07:47:17Z.
    const LONG: &str = "\
        MIIBjTCCATOgAwIBAgIUZSzGYaIduiV7Zxx9Fg6dwP/RdZMwCgYIKoZIzj0EAwIwGzEZMBcGA1UEAwwQbWlzcC5leGFtcGxlLm5ldDAgFw0yNjEx\
        MjQwNzQ3MTdaGA8yMTI2MTAzMTA3NDcxN1owGzEZMBcGA1UEAwwQbWlzcC5leGFtcGxlLm5ldDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN29\
        bsNYEumEukVby1xGOhEmM4temrxxnb7rL0kHdSC05/lcX+UkTXR9Yq3pbnyHEpfZD6EOuGSIYxQt3Obi24CjUzBRMB0GA1UdDgQWBBRkDv7THMDa\
        YQgeeNOlX7CzJw2KlDAfBgNVHSMEGDAWgBRkDv7THMDaYQgeeNOlX7CzJw2KlDAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDi\
        pZo8DQm0FT0Nr+f2s8pP3KwtYkyVQQcX3RouxIYEdgIgRNqVEo5tT0JBLban/STzgsfbefOrDv+t0ZNGHUyPu9Y=";

    #[test]
    fn ends_and_hash_are_those_openssl_shows() {
        let (short, long) = (STANDARD.decode(SHORT).unwrap(), STANDARD.decode(LONG).unwrap());
        assert_eq!(ends(&short), Some(1_830_066_437));
        assert_eq!(ends(&long), Some(4_949_106_437));
        assert_eq!(sha256(&short), "db73db6064d8d8a607ad4796b90b1f919f614566375622feb0cbe9df605b9c60");
        assert_eq!(sha256(&long), "9d5d2a9450ea2a4efe71ace61f7330a31339411e43aea90c3a79a67c94c90cd3");
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let mut cut = STANDARD.decode(SHORT).unwrap();
        cut.pop();
        assert_eq!((ends(&cut), ends(b""), ends(b"-----BEGIN")), (None, None, None));
    }
}
