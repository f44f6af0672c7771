//! What layers do to a response: read its head, whichever kind it is, and change it.

use http::{HeaderName, HeaderValue, Response};
use http_body::Body as _;

use super::{Lines, Pooled, ZeroResponse, is_servers};
use crate::message::ResponseBody;

impl ZeroResponse {
    /// The first value of a header, if the response has it.
    ///
    /// What the server adds is not there yet: `content-length`, `connection`, `date`.
    pub fn header_bytes(&self, name: &HeaderName) -> Option<&[u8]> {
        match &self.head.http {
            Some(parts) => parts.headers.get(name).map(HeaderValue::as_bytes),
            None => self.head.get(name),
        }
    }

    /// Whether the response has a header; as [`header_bytes`](Self::header_bytes).
    pub fn has_header(&self, name: &HeaderName) -> bool {
        self.header_bytes(name).is_some()
    }

    /// How many bytes the body has, if that is known.
    pub fn body_bytes(&self) -> Option<u64> {
        match self.head.payload.len() {
            0 => self.body.size_hint().exact(),
            bytes => Some(bytes as u64),
        }
    }

    /// Adds a header; one of the same name stays. One that is the server's to set is left out.
    pub fn append_header(&mut self, name: &HeaderName, value: &HeaderValue) {
        if is_servers(name.as_str()) {
            return;
        }
        match &mut self.head.http {
            Some(parts) => {
                // Refused only where a map has 32,768 headers, which no client takes.
                let _ = parts.headers.try_append(name, value.clone());
            }
            // Valid by its types, and so never refused.
            None => drop(self.put(name.as_str(), value.as_bytes())),
        }
    }

    /// Puts a header in place of those of its name. One that is the server's to set is left out.
    pub fn insert_header(&mut self, name: &HeaderName, value: &HeaderValue) {
        if is_servers(name.as_str()) {
            return;
        }
        match &mut self.head.http {
            Some(parts) => drop(parts.headers.remove(name)),
            None => self.head.remove(name),
        }
        self.append_header(name, value);
    }

    /// A response in `http`'s types that was one of the server's own before; its body is not boxed again.
    pub fn from_http(response: Response<ResponseBody>) -> Self {
        let (parts, body) = response.into_parts();
        let mut head = Pooled::new(parts.status);
        head.http = Some(parts);
        ZeroResponse { head, body }
    }
}

impl Lines {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        let mut rest = &self.lines[..];
        while let Some(end) = memchr::memchr(b'\n', rest) {
            if is_of(&rest[..end], name) {
                return Some(rest[name.as_str().len() + 1..end].trim_ascii());
            }
            rest = &rest[end + 1..];
        }
        let default = self.default_type.strip_prefix(b"content-type: ")?;
        (*name == http::header::CONTENT_TYPE).then(|| default.trim_ascii())
    }

    fn remove(&mut self, name: &HeaderName) {
        let mut at = 0;
        while let Some(end) = memchr::memchr(b'\n', &self.lines[at..]) {
            match is_of(&self.lines[at..at + end], name) {
                true => drop(self.lines.drain(at..=at + end)),
                false => at += end + 1,
            }
        }
    }
}

/// Whether a line is a header's of this name.
fn is_of(line: &[u8], name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    line.get(name.len()) == Some(&b':') && line[..name.len()].eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::{CONTENT_LENGTH, CONTENT_TYPE, VARY};

    use super::*;

    /// The same response, its head of either kind.
    fn both() -> [ZeroResponse; 2] {
        let made = || {
            ZeroResponse::ok()
                .text("hi")
                .header("Vary", "a")
                .header("vary", "b")
                .header("x-vary", "c")
        };
        let http: Response<ResponseBody> = made().into();
        [made(), ZeroResponse::from_http(http)]
    }

    fn values(response: ZeroResponse, name: HeaderName) -> Vec<Bytes> {
        let http: Response<ResponseBody> = response.into();
        let all = http.headers().get_all(name).into_iter();
        all.map(|value| Bytes::copy_from_slice(value.as_bytes()))
            .collect()
    }

    #[test]
    fn headers_are_found_in_either_kind() {
        for response in both() {
            assert_eq!(response.header_bytes(&VARY), Some(&b"a"[..]));
            let text = response.header_bytes(&CONTENT_TYPE);
            assert_eq!(text, Some(&b"text/plain; charset=utf-8"[..]));
            assert!(!response.has_header(&HeaderName::from_static("x")));
            assert_eq!(response.body_bytes(), Some(2));
        }
    }

    #[test]
    fn headers_are_added_and_replaced_in_either_kind() {
        let value = HeaderValue::from_static("new");
        for (mut appended, mut inserted) in both().into_iter().zip(both()) {
            appended.append_header(&VARY, &value);
            assert_eq!(values(appended, VARY), ["a", "b", "new"]);
            inserted.insert_header(&VARY, &value);
            assert_eq!(values(inserted, VARY), ["new"]);
        }
        for mut response in both() {
            response.insert_header(&CONTENT_TYPE, &value);
            response.insert_header(&CONTENT_LENGTH, &value);
            assert!(!response.has_header(&CONTENT_LENGTH));
            assert_eq!(
                response.header_bytes(&HeaderName::from_static("x-vary")),
                Some(&b"c"[..])
            );
            assert_eq!(values(response, CONTENT_TYPE), ["new"]);
        }
    }
}
