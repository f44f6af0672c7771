//! Requests out of a file: a browser's recording, or a list.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::args::Failure;
use crate::user::Request;

/// Fields that the load generator writes itself, or that belong to one connection.
const LEFT_OUT: [&str; 7] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "keep-alive",
    "upgrade",
    "te",
];

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) requests: Vec<Request>,
    /// What was left out, and why.
    pub(crate) remarks: Vec<String>,
}

#[derive(Deserialize)]
struct Har {
    log: HarLog,
}

#[derive(Deserialize)]
struct HarLog {
    entries: Vec<HarEntry>,
}

#[derive(Deserialize)]
struct HarEntry {
    request: HarRequest,
    response: Option<HarResponse>,
}

#[derive(Deserialize)]
struct HarResponse {
    /// 0 where nothing came.
    status: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HarRequest {
    method: String,
    url: String,
    headers: Vec<HarField>,
    post_data: Option<HarBody>,
}

#[derive(Deserialize)]
struct HarField {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct HarBody {
    #[serde(default)]
    text: String,
    #[serde(default)]
    params: Vec<serde::de::IgnoredAny>,
    /// Not in the format's description; some programs write bytes that are no text so.
    encoding: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    path: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    weight: Option<u32>,
}

/// Reads a file's text; see [`Plan::file`](crate::user::Plan::file).
pub(crate) fn read(text: &str) -> Result<Recording, Failure> {
    if text.trim_start().starts_with('[') {
        let listed: Vec<Listed> = serde_json::from_str(text)?;
        return Ok(Recording {
            requests: listed.into_iter().map(Request::from).collect(),
            remarks: Vec::new(),
        });
    }
    let har: Har =
        serde_json::from_str(text).map_err(|error| format!("neither a list nor a HAR: {error}"))?;
    let entries = har.log.entries;
    let Some(origin) = entries
        .first()
        .map(|entry| entry.request.origin().to_owned())
    else {
        return Err("a recording without requests".into());
    };
    let mut weights: BTreeMap<Request, u32> = BTreeMap::new();
    let mut left_out: BTreeMap<String, u32> = BTreeMap::new();
    for entry in entries {
        match entry.objection(&origin) {
            Some(objection) => *left_out.entry(objection).or_default() += 1,
            None => *weights.entry(Request::from(entry.request)).or_default() += 1,
        }
    }
    let remark = |(reason, count)| format!("{count} left out, {reason}");
    Ok(Recording {
        requests: weights
            .into_iter()
            .map(|(request, weight)| request.weight(weight))
            .collect(),
        remarks: left_out.into_iter().map(remark).collect(),
    })
}

impl HarEntry {
    /// Why it is not sent again, if so.
    fn objection(&self, origin: &str) -> Option<String> {
        let other = self.request.origin();
        if other != origin {
            return Some(format!("to {other} and not to {origin}"));
        }
        match &self.response {
            Some(HarResponse { status: ..=0 }) => return Some("which had no answer".into()),
            Some(HarResponse { status: 400.. }) => {
                return Some("which were answered with an error".into());
            }
            _ => {}
        }
        let body = self.request.post_data.as_ref()?;
        let is_missing = body.text.is_empty() && !body.params.is_empty();
        (is_missing || body.encoding.is_some())
            .then(|| "recorded without the bytes of their bodies".into())
    }
}

impl HarRequest {
    /// Scheme, host and port, and what follows them.
    fn parts(&self) -> (&str, &str) {
        let behind = self.url.find("://").map_or(0, |at| at + 3);
        let length = self.url[behind..].find(['/', '?', '#']);
        self.url
            .split_at(length.map_or(self.url.len(), |length| behind + length))
    }

    fn origin(&self) -> &str {
        self.parts().0
    }
}

impl From<Listed> for Request {
    fn from(listed: Listed) -> Self {
        let method = listed.method.unwrap_or_else(|| "GET".into());
        let mut request = Request::new(&method, &listed.path).body(listed.body);
        request.headers = listed.headers.into_iter().collect();
        request.weight(listed.weight.unwrap_or(1))
    }
}

impl From<HarRequest> for Request {
    fn from(har: HarRequest) -> Self {
        let target = har.parts().1.split('#').next().unwrap_or_default();
        let slash = if target.starts_with('/') { "" } else { "/" };
        let mut request = Request::new(&har.method, &format!("{slash}{target}"));
        let is_sent = |field: &HarField| {
            let name = field.name.to_ascii_lowercase();
            !name.starts_with(':') && !LEFT_OUT.contains(&name.as_str())
        };
        let fields = har.headers.into_iter().filter(is_sent);
        request.headers = fields.map(|field| (field.name, field.value)).collect();
        request.body(har.post_data.map_or(String::new(), |data| data.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_requests_is_read() {
        let text = r#"[{"path": "/a"}, {"path": "/b", "method": "POST", "body": "xy", "weight": 3, "headers": {"A": "b"}}]"#;
        let expected = Request::new("POST", "/b")
            .header("A", "b")
            .body("xy")
            .weight(3);
        let read = read(text).expect("a list");
        assert_eq!(read.requests, [Request::new("GET", "/a"), expected]);
        assert!(super::read(r#"[{"pth": "/a"}]"#).is_err());
    }

    fn entry(url: &str, status: u16) -> String {
        format!(
            r#"{{"request": {{"method": "GET", "url": "{url}", "headers": []}}, "response": {{"status": {status}}}}}"#
        )
    }

    fn har(entries: &[String]) -> Recording {
        let entries = entries.join(",");
        read(&format!(r#"{{"log": {{"entries": [{entries}]}}}}"#)).expect("a HAR")
    }

    #[test]
    fn a_har_is_read_without_what_belongs_to_its_connection() {
        let one = r#"{"request": {"method": "GET", "url": "https://example.com/a?b=c#d", "headers":
            [{"name": ":path", "value": "/a"}, {"name": "Host", "value": "example.com"}, {"name": "Accept", "value": "*/*"}]}}"#;
        let expected = Request::new("GET", "/a?b=c")
            .header("Accept", "*/*")
            .weight(2);
        assert_eq!(har(&[one.into(), one.into()]).requests, [expected]);
    }

    #[test]
    fn of_a_page_only_what_the_application_answered_is_asked_again() {
        let read = har(&[
            entry("http://app.test:8080", 200),
            entry("http://app.test:8080/style.css", 304),
            entry("http://app.test:8080/favicon.ico", 404),
            entry("http://app.test:8080/live", 0),
            entry("https://fonts.test/font.woff2", 200),
            entry("https://fonts.test/other.woff2", 200),
            r#"{"request": {"method": "POST", "url": "http://app.test:8080/up", "headers": [],
                "postData": {"params": [{"name": "file"}]}}}"#
                .into(),
        ]);
        let expected = ["/", "/style.css"].map(|path| Request::new("GET", path));
        assert_eq!(read.requests, expected);
        let expected = [
            "1 left out, recorded without the bytes of their bodies",
            "2 left out, to https://fonts.test and not to http://app.test:8080",
            "1 left out, which had no answer",
            "1 left out, which were answered with an error",
        ];
        assert_eq!(read.remarks, expected);
    }

    #[test]
    fn what_is_neither_is_said() {
        for text in ["", "{}", r#"{"log": {"entries": []}}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
