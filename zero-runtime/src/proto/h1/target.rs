//! Which resource a request asks for, held to the standard's grammar: the form of its target, and its
//! `Host`. Knows bytes and their grammar; knows nothing of framing or of the fields around.

use std::net::Ipv6Addr;

use super::ParseError;
use super::framing::MethodKind;
use super::plain;
use super::scan::{Class, find_stop};
use super::table::{HeadTable, Span};

const DIGITS: Class = Class {
    has_letters: false,
    ranges: [(b'0', b'9'); 3],
};

/// Checks the target of the head that `table` describes, given its one and valid `Host`, if any.
///
/// # Errors
/// [`ParseError::Host`] if it is missing where it must not be, or names another host than the target;
/// [`ParseError::Target`] if the target has none of the four forms.
#[inline]
pub(super) fn check(
    method: MethodKind,
    head: &[u8],
    table: &HeadTable,
    host: Option<Span>,
) -> Result<(), ParseError> {
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2
    //# A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1
    //# request message that lacks a Host header field
    if host.is_none() && table.is_http_11 {
        return Err(ParseError::Host);
    }
    let target = table.target.of(head);
    // No form has room for a fragment.
    if table.has_fragment {
        return Err(ParseError::Target);
    }
    match target {
        _ if method == MethodKind::Connect => check_tunnel(target),
        [b'/', ..] => Ok(()),
        b"*" if table.method(head) == b"OPTIONS" => Ok(()),
        _ => check_absolute(target, host.map(|host| host.of(head))),
    }
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
//# A server MUST reject a CONNECT request that targets an empty or invalid
//# port number
#[cold]
fn check_tunnel(target: &[u8]) -> Result<(), ParseError> {
    let (name, port) = split_port(target);
    let is_port = port.is_some_and(|port| {
        let text = str::from_utf8(port).unwrap_or_default();
        port.iter().all(u8::is_ascii_digit) && text.parse::<u16>().is_ok_and(|port| port > 0)
    });
    match !name.is_empty() && is_port && is_host(target) {
        true => Ok(()),
        false => Err(ParseError::Target),
    }
}

/// `scheme://authority`, and whatever follows: `http::Uri` has its own say about that.
#[cold]
fn check_absolute(target: &[u8], host: Option<&[u8]>) -> Result<(), ParseError> {
    let colon = target.iter().position(|&byte| byte == b':');
    let (scheme, rest) = target.split_at(colon.ok_or(ParseError::Target)?);
    let rest = rest.strip_prefix(b"://").ok_or(ParseError::Target)?;
    if !is_scheme(scheme) {
        return Err(ParseError::Target);
    }
    let end = rest.iter().position(|&byte| matches!(byte, b'/' | b'?'));
    let authority = &rest[..end.unwrap_or(rest.len())];
    //= https://www.rfc-editor.org/rfc/rfc9110#section-4.2.4
    //# Before making use of an "http" or "https" URI reference received from
    //# an untrusted source, a recipient SHOULD parse for userinfo and treat its
    //# presence as an error
    //
    // There is no `@` in what `is_host` accepts.
    if split_port(authority).0.is_empty() || !is_host(authority) {
        return Err(ParseError::Target);
    }
    //= https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
    //# When an origin server receives a request with an absolute-form of
    //# request-target, the origin server MUST ignore the received Host header
    //# field (if any) and instead use the host information of the request-target.
    //
    // An application reads either. Where they agree it cannot read the wrong one.
    match host.is_none_or(|host| is_same_host(scheme, authority, host)) {
        true => Ok(()),
        false => Err(ParseError::Host),
    }
}

fn is_scheme(scheme: &[u8]) -> bool {
    let is_rest = |&byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(is_rest)
}

/// Whether two authorities are one, in any case and with or without the scheme's own port.
fn is_same_host(scheme: &[u8], one: &[u8], other: &[u8]) -> bool {
    let default: &[u8] = match scheme.to_ascii_lowercase().as_slice() {
        b"http" => b"80",
        b"https" => b"443",
        _ => b"",
    };
    let parts = |authority| {
        let (name, port): (&[u8], Option<&[u8]>) = split_port(authority);
        let port = port.filter(|port| !port.is_empty()).unwrap_or(default);
        (name.to_ascii_lowercase(), port)
    };
    parts(one) == parts(other)
}

/// Divides a host from its port, at the last colon that is not within brackets.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let name_end = authority.iter().rposition(|&byte| byte == b']');
    let from = name_end.map_or(0, |end| end + 1);
    match authority[from..].iter().position(|&byte| byte == b':') {
        Some(colon) => (
            &authority[..from + colon],
            Some(&authority[from + colon + 1..]),
        ),
        None => (authority, None),
    }
}

/// Whether `value` is what a `Host` may say: a host, empty or not, and perhaps a port.
//= https://www.rfc-editor.org/rfc/rfc9112#section-3.2
//# A server MUST respond with a 400 (Bad Request) status code to [...] any
//# request message that contains more than one Host header field line or a
//# Host header field with an invalid field value.
#[inline]
pub(super) fn is_host(value: &[u8]) -> bool {
    let mut rest = value;
    loop {
        let end = rest.iter().position(|&byte| !NAME[usize::from(byte)]);
        match &rest[end.unwrap_or(rest.len())..] {
            [] => return true,
            [b'%', high, low, behind @ ..] if is_encoded(*high, *low) => rest = behind,
            behind if behind.len() == value.len() => return is_bracketed_host(value),
            behind => return is_port(behind),
        }
    }
}

/// The same of a part of a head, sooner told: nearly all are plain names, with or without a port.
#[inline]
pub(super) fn is_host_at(head: &[u8], span: Span) -> bool {
    let range = span.range();
    match find_stop(plain::NAME, head, range.start) {
        Some(stop) if stop >= range.end => true,
        Some(stop) if head[stop] == b':' && stop > range.start => {
            find_stop(DIGITS, head, stop + 1).is_some_and(|stop| stop >= range.end)
        }
        _ => is_host(span.of(head)),
    }
}

fn is_encoded(high: u8, low: u8) -> bool {
    high.is_ascii_hexdigit() && low.is_ascii_hexdigit()
}

/// Nothing, or a colon and digits, if any.
fn is_port(behind: &[u8]) -> bool {
    match behind {
        [] => true,
        [b':', port @ ..] => port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// `[`, an IPv6 address or one of a future version, `]`, and perhaps a port. Or a port alone.
fn is_bracketed_host(value: &[u8]) -> bool {
    let end = value.iter().position(|&byte| byte == b']');
    let (Some(b'['), Some(end)) = (value.first(), end) else {
        return is_port(value);
    };
    let literal = &value[1..end];
    let text = str::from_utf8(literal).unwrap_or_default();
    is_port(&value[end + 1..]) && (text.parse::<Ipv6Addr>().is_ok() || is_future_address(literal))
}

fn is_future_address(literal: &[u8]) -> bool {
    let [b'v' | b'V', rest @ ..] = literal else {
        return false;
    };
    let dot = rest.iter().position(|&byte| byte == b'.').unwrap_or(0);
    let (version, address) = rest.split_at(dot);
    !version.is_empty()
        && version.iter().all(u8::is_ascii_hexdigit)
        && address.len() > 1
        && address[1..]
            .iter()
            .all(|&byte| NAME[usize::from(byte)] || byte == b':')
}

/// What a registered name is made of, but for encoded bytes: RFC 3986's `unreserved` and
/// `sub-delims`. IPv4 addresses are names, too.
const NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(
                byte as u8,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b';'
                    | b'='
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        for valid in [
            "",
            "a",
            "example.com",
            "a_b.c",
            "127.0.0.1",
            "a:80",
            "a:",
            ":80",
            "[::1]",
            "[::1]:80",
            "[v1.a:b]",
            "xn--e1afmkfd",
            "a%2fb",
            "%41:1",
            "a.",
        ] {
            assert!(is_host(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            " ",
            "a b",
            "a,\tb",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "a:b",
            "a:80:80",
            "a:-1",
            "::1",
            "[::1",
            "[::1]a",
            "[::1]:x",
            "[]",
            "[g]",
            "[v.a]",
            "[v1.]",
            "[v1]",
            "a[::1]",
            "%",
            "a%2",
            "a%gg",
            "a\u{e9}",
            "a\0",
            "a\\b",
            "a\"",
            "<a>",
            "%41[::1]",
            "http://a",
            "[::1%25eth0]",
        ] {
            assert!(!is_host(invalid.as_bytes()), "{invalid}");
        }
    }

    #[test]
    fn authorities_are_compared_without_case_and_default_port() {
        let same = |scheme: &str, one: &str, other: &str| {
            is_same_host(scheme.as_bytes(), one.as_bytes(), other.as_bytes())
        };
        assert!(same("http", "A.b", "a.B:80"));
        assert!(same("HTTPS", "a:443", "a"));
        assert!(same("http", "a:", "a"));
        assert!(same("http", "[::1]:80", "[::1]"));
        assert!(!same("http", "a:443", "a"));
        assert!(!same("http", "a", "b"));
        assert!(!same("ftp", "a:80", "a"));
        assert!(!same("http", "[::1]", "[::2]"));
    }
}
