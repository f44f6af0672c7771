//! What clients say again and again, word for word: a value found here needs no share of its head, nor
//! a name that `http` knows not by itself, and with the share goes its counting. Knows words, not heads.
//!
//! As the static tables of HPACK and QPACK, and chosen as those are, by what is sent: by browsers,
//! by the usual libraries, by proxies. Never a value that is about somebody.

use http::{HeaderName, HeaderValue};

/// A name, and values that often go with it.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) name: HeaderName,
    values: &'static [HeaderValue],
}

impl Known {
    /// The value that `raw` is, if it is one of these.
    #[inline]
    pub(super) fn value(&self, raw: &[u8]) -> Option<&'static HeaderValue> {
        self.values.iter().find(|value| value.as_bytes() == raw)
    }

    /// Finds what is known of a name.
    pub(super) fn of(name: &HeaderName) -> &'static Known {
        let found = KNOWN.iter().find(|known| known.name == *name);
        found.unwrap_or(&NOTHING)
    }
}

/// What is known of all other names; its own name means nothing.
pub(super) static NOTHING: Known = Known {
    name: http::header::HOST,
    values: &[],
};

macro_rules! known {
    ($($name:literal: $($value:literal)*;)*) => {
        [$({
            const TEXTS: &[&str] = &[$($value),*];
            static VALUES: [HeaderValue; TEXTS.len()] = [$(HeaderValue::from_static($value)),*];
            Known {
                name: HeaderName::from_static($name),
                values: &VALUES,
            }
        }),*]
    };
}

static KNOWN: [Known; 38] = known! {
    "accept":
        "*/*" "application/json" "application/json, text/plain, */*" "text/css,*/*;q=0.1"
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
        "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8" "text/event-stream";
    "accept-charset": "utf-8";
    "accept-encoding":
        "gzip, deflate, br, zstd" "gzip, deflate, br" "gzip, deflate" "gzip" "identity" "br, gzip";
    "accept-language": "en-US,en;q=0.9" "en-US,en;q=0.5" "en-US" "en" "*";
    "cache-control": "no-cache" "max-age=0" "no-store";
    "connection": "keep-alive" "close" "Keep-Alive" "Upgrade" "keep-alive, Upgrade";
    "content-length": "0";
    "content-type":
        "application/json" "application/x-www-form-urlencoded" "text/plain;charset=UTF-8"
        "application/json; charset=utf-8" "application/json;charset=UTF-8" "application/grpc"
        "application/octet-stream" "application/x-protobuf" "text/plain" "application/cbor";
    "dnt": "1";
    "expect": "100-continue";
    "origin": "null";
    "pragma": "no-cache";
    "priority": "u=0, i" "u=1, i" "u=4" "u=5, i" "i" "u=0" "u=2" "u=1" "u=6";
    "range": "bytes=0-";
    "sec-ch-ua":;
    "sec-ch-ua-mobile": "?0" "?1";
    "sec-ch-ua-platform": "\"Windows\"" "\"macOS\"" "\"Linux\"" "\"Android\"";
    "sec-fetch-dest": "document" "empty" "image" "script" "style" "font" "iframe" "websocket";
    "sec-fetch-mode": "navigate" "cors" "no-cors" "same-origin" "websocket";
    "sec-fetch-site": "same-origin" "none" "same-site" "cross-site";
    "sec-fetch-user": "?1";
    "sec-gpc": "1";
    "sec-websocket-extensions": "permessage-deflate; client_max_window_bits" "permessage-deflate";
    "sec-websocket-version": "13";
    "te": "trailers";
    "traceparent":;
    "tracestate":;
    "transfer-encoding": "chunked";
    "upgrade": "websocket";
    "upgrade-insecure-requests": "1";
    "x-amzn-trace-id":;
    "x-forwarded-for":;
    "x-forwarded-host":;
    "x-forwarded-port": "443" "80";
    "x-forwarded-proto": "https" "http";
    "x-real-ip":;
    "x-request-id":;
    "x-requested-with": "XMLHttpRequest";
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_found_and_shared() {
        for entry in &KNOWN {
            let name = HeaderName::from_bytes(entry.name.as_str().as_bytes()).unwrap();
            let known = Known::of(&name);
            assert!(std::ptr::eq(known, entry), "{name} twice");
            for value in entry.values {
                let found = known.value(value.as_bytes()).unwrap();
                assert_eq!(found.as_bytes().as_ptr(), value.as_bytes().as_ptr());
            }
        }
    }

    #[test]
    fn nothing_else_is() {
        let known = Known::of(&http::header::CONNECTION);
        for other in ["", "keep-aliv", "keep-alive ", "KEEP-ALIVE", "keep-alivf"] {
            assert_eq!(known.value(other.as_bytes()), None, "{other}");
        }
        let host = Known::of(&http::header::HOST);
        assert!(std::ptr::eq(host, &NOTHING));
        assert_eq!(host.value(b""), None);
    }
}
