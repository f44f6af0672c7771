//! What is measured: one list, as data. Every program here reads its requests from it.
//!
//! To add a scenario, add an entry to [`SCENARIOS`]; a new path also needs a route in
//! [`app`](crate::app). Connection churn is not in the list yet: it needs a generator that spreads
//! its connections over source addresses, or `TIME_WAIT` runs it out of ports within seconds.

use std::fmt::Write as _;

use axum::body::Body;
use http::Request;

/// One kind of load: a request, and how many of it at once.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called on the command line and in reports.
    pub name: &'static str,
    /// What it shows, in a few words.
    pub about: &'static str,
    /// The request's method.
    pub method: &'static str,
    /// The request's path.
    pub path: &'static str,
    /// Header fields besides `Host` and `Content-Length`.
    pub headers: &'static [(&'static str, &'static str)],
    /// Size of the request's body; zero sends none.
    pub body_bytes: usize,
    /// Requests sent at once on a connection, before any response is awaited.
    pub pipeline: usize,
    /// Connections held open by the generator.
    pub connections: usize,
    /// Whether a spinner shares the server's core.
    pub spinner: bool,
}

/// What most entries start from, and the first of the list.
const PLAIN64: Scenario = Scenario {
    name: "plain64",
    about: "plaintext",
    method: "GET",
    path: "/plaintext",
    headers: &[],
    body_bytes: 0,
    pipeline: 1,
    connections: 64,
    spinner: false,
};

/// Handlers that wait: one round trip to a small TCP server on the generator's core.
const DB64: Scenario = Scenario {
    name: "db64",
    about: "a round trip to a database",
    path: "/db",
    ..PLAIN64
};

/// With `Host`, which the generator adds, the nine fields of a browser's request.
const BROWSER_HEADERS: &[(&str, &str)] = &[
    (
        "User-Agent",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    ),
    (
        "Accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ),
    ("Accept-Language", "en-US,en;q=0.5"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Referer", "http://127.0.0.1/index.html"),
    (
        "Cookie",
        "session=0123456789abcdef0123456789abcdef; theme=dark",
    ),
    ("Upgrade-Insecure-Requests", "1"),
    ("Sec-Fetch-Mode", "navigate"),
];

/// Every scenario, in the order in which they are measured.
pub const SCENARIOS: &[Scenario] = &[
    PLAIN64,
    Scenario {
        name: "plain1",
        about: "latency of one connection",
        connections: 1,
        ..PLAIN64
    },
    Scenario {
        name: "sat256",
        about: "server never out of backlog, half a core",
        connections: 256,
        spinner: true,
        ..PLAIN64
    },
    Scenario {
        name: "hdr64",
        about: "a browser's nine header fields",
        headers: BROWSER_HEADERS,
        ..PLAIN64
    },
    Scenario {
        name: "json64",
        about: "small JSON",
        path: "/json",
        ..PLAIN64
    },
    Scenario {
        name: "users64",
        about: "path parameter",
        path: "/users/12345",
        ..PLAIN64
    },
    Scenario {
        name: "echo1k",
        about: "1 KiB there and back",
        method: "POST",
        path: "/echo",
        body_bytes: 1 << 10,
        ..PLAIN64
    },
    Scenario {
        name: "echo64k",
        about: "64 KiB there and back",
        method: "POST",
        path: "/echo",
        body_bytes: 64 << 10,
        connections: 32,
        ..PLAIN64
    },
    Scenario {
        name: "big",
        about: "1 MiB download",
        path: "/big",
        connections: 8,
        ..PLAIN64
    },
    Scenario {
        name: "db1",
        path: "/db",
        connections: 1,
        ..DB64
    },
    Scenario {
        name: "db8",
        path: "/db",
        connections: 8,
        ..DB64
    },
    DB64,
    Scenario {
        name: "sleep64",
        about: "a timer of 1 ms",
        path: "/sleep/1",
        ..PLAIN64
    },
    Scenario {
        name: "pipe16",
        about: "16 requests at once per connection",
        pipeline: 16,
        ..PLAIN64
    },
];

/// Finds a scenario by its name.
///
/// # Errors
/// When there is none of that name; says which there are.
pub fn find(name: &str) -> Result<&'static Scenario, String> {
    SCENARIOS.iter().find(|s| s.name == name).ok_or_else(|| {
        let names: Vec<_> = SCENARIOS.iter().map(|s| s.name).collect();
        format!("no scenario {name:?}; there are {}", names.join(", "))
    })
}

impl Scenario {
    /// The request as an `http` value, for calls that stay in the process.
    ///
    /// # Errors
    /// When the scenario names what `http` cannot express.
    pub fn http_request(&self) -> Result<Request<Body>, http::Error> {
        let mut builder = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header("host", "127.0.0.1");
        for (name, value) in self.headers {
            builder = builder.header(*name, *value);
        }
        let body = match self.body_bytes {
            0 => Body::empty(),
            _ => Body::from(self.body()),
        };
        builder.body(body)
    }

    /// Describes the load in one line, for report headings.
    pub fn title(&self) -> String {
        let Scenario {
            name,
            about,
            method,
            path,
            connections,
            ..
        } = self;
        format!("{name}: {about} ({method} {path}, c{connections})")
    }

    /// The body of one request.
    pub fn body(&self) -> Vec<u8> {
        vec![b'x'; self.body_bytes]
    }

    /// The bytes of one request, as the generator sends them.
    pub fn request(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.path);
        for (name, value) in self.headers {
            write!(head, "{name}: {value}\r\n").expect("writing to a String cannot fail");
        }
        if self.body_bytes > 0 {
            write!(head, "Content-Length: {}\r\n", self.body_bytes)
                .expect("writing to a String cannot fail");
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        request.extend(self.body());
        request
    }

    /// The script that makes wrk send this scenario's requests; the path goes into wrk's URL.
    ///
    /// Only pipelining defines `request()`: it costs wrk a call into Lua per batch, which the static
    /// request of the other scenarios avoids.
    pub fn lua(&self) -> String {
        let mut lua = format!("wrk.method = {:?}\n", self.method);
        for (name, value) in self.headers {
            // The fields are plain ASCII, for which Rust's and Lua's string literals agree.
            lua.push_str(&format!("wrk.headers[{name:?}] = {value:?}\n"));
        }
        if self.body_bytes > 0 {
            lua.push_str(&format!(
                "wrk.body = string.rep('x', {})\n",
                self.body_bytes
            ));
        }
        if self.pipeline > 1 {
            lua.push_str(&format!(
                "init = function(args) batch = string.rep(wrk.format(), {}) end\n\
                 request = function() return batch end\n",
                self.pipeline
            ));
        }
        lua
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for s in SCENARIOS {
            assert_eq!(SCENARIOS.iter().filter(|t| t.name == s.name).count(), 1);
        }
    }

    #[test]
    fn a_request_states_its_body() {
        let echo = find("echo1k").expect("in the list");
        let request = echo.request("h");
        let head = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1024\r\n\r\n";
        assert!(request.starts_with(head.as_bytes()));
        assert_eq!(request.len(), head.len() + 1024);
    }

    #[test]
    fn only_pipelined_scripts_call_lua_per_request() {
        for s in SCENARIOS {
            assert_eq!(s.lua().contains("request ="), s.pipeline > 1, "{}", s.name);
        }
    }
}
