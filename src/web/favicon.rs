//! `/favicon.ico`. In: a request. Out: the icon, or the part of it that is asked for.

use std::sync::LazyLock;

use http::Response;
use http::request::Parts;

use super::asset::Asset;
use super::files::Body;

/// A ring that is open to the right, in three sizes.
pub const ICON: &[u8] = include_bytes!("favicon.ico");
/// Of the icon.
pub const CONTENT_TYPE: &str = "image/vnd.microsoft.icon";

/// Less than a kilobyte: made at the first request.
static FAVICON: LazyLock<Asset> = LazyLock::new(|| Asset::new(ICON, CONTENT_TYPE, "public, max-age=86400"));

/// 200, 206, 304, 412 or 416. `now`: Unix seconds.
pub fn favicon(request: &Parts, now: i64) -> Response<Body> {
    FAVICON.answer(request, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_an_icon() {
        assert_eq!(&ICON[..6], [0, 0, 1, 0, 3, 0]);
    }
}
