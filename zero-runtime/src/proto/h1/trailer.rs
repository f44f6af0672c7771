//! Which fields mean nothing behind a body, because they were needed before it. Knows names alone.

use http::HeaderName;
use http::header;

/// Whether a request's trailer of this name is handed on; others are dropped, so that no application
/// that merges trailers into headers can be told its framing, route or credentials from behind.
//= https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
//# Many fields cannot be processed outside the header section because their
//# evaluation is necessary prior to receiving the content, such as those
//# that describe message framing, routing, authentication, request
//# modifiers, response controls, or content format.
pub(super) fn may_trail_request(name: &HeaderName) -> bool {
    !(frames(name) || routes(name) || authenticates(name) || modifies(name) || describes(name))
}

/// Message framing and the connection's own fields.
fn frames(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::CONTENT_LENGTH
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || matches!(
        name.as_str(),
        "http2-settings" | "keep-alive" | "proxy-connection"
    )
}

fn routes(name: &HeaderName) -> bool {
    matches!(*name, header::FORWARDED | header::HOST | header::ORIGIN)
        || name.as_str().starts_with("x-forwarded-")
        || name.as_str() == "x-real-ip"
}

fn authenticates(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::AUTHORIZATION
            | header::COOKIE
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::SET_COOKIE
            | header::WWW_AUTHENTICATE
    )
}

/// Request modifiers: controls and conditions.
fn modifies(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CACHE_CONTROL
            | header::EXPECT
            | header::IF_MATCH
            | header::IF_MODIFIED_SINCE
            | header::IF_NONE_MATCH
            | header::IF_RANGE
            | header::IF_UNMODIFIED_SINCE
            | header::MAX_FORWARDS
            | header::PRAGMA
            | header::RANGE
    )
}

fn describes(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONTENT_ENCODING
            | header::CONTENT_LANGUAGE
            | header::CONTENT_LOCATION
            | header::CONTENT_RANGE
            | header::CONTENT_TYPE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_before_a_body_may_not_trail_it() {
        let may = |name: &'static str| may_trail_request(&HeaderName::from_static(name));
        for name in [
            "content-length",
            "transfer-encoding",
            "host",
            "authorization",
            "cookie",
            "range",
            "content-type",
            "x-forwarded-for",
            "connection",
            "trailer",
        ] {
            assert!(!may(name), "{name}");
        }
        for name in [
            "x-checksum",
            "digest",
            "etag",
            "grpc-status",
            "server-timing",
            "expires",
        ] {
            assert!(may(name), "{name}");
        }
    }
}
