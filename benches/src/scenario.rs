//! What is measured: one list, as data. Every program here reads its requests from it.
//!
//! To add a scenario, add an entry to [`SCENARIOS`]; a new path also needs a route in
//! [`app`](crate::app).

use std::fmt::Write as _;

use axum::body::Body;
use http::Request;

use crate::app::EVENT;

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
    /// Other paths that are asked for meanwhile, by GET, each with how many of ten requests go to it.
    pub beside: &'static [(&'static str, u32)],
    /// Requests sent at once on a connection, before any response is awaited.
    pub pipeline: usize,
    /// Connections held open by the generator, all of them with work.
    pub connections: usize,
    /// Connections held open besides, without work.
    pub idle_connections: usize,
    /// Whether a spinner shares the server's core.
    pub spinner: bool,
    /// What is exchanged, and how.
    pub traffic: Traffic,
    /// Whether latency is measured at fixed rates in a first look, too; otherwise it is wherever it can be.
    pub paced: bool,
}

/// What is exchanged on a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Traffic {
    /// Requests and responses, one after the other.
    KeepAlive,
    /// A connection for each request.
    Churn,
    /// A WebSocket on which frames of so many bytes are echoed.
    WebSocket(usize),
    /// Server-sent events, each of them counted as an answer.
    Events,
}

/// What most entries start from, and the first of the list.
const PLAIN64: Scenario = Scenario {
    name: "plain64",
    about: "plaintext",
    method: "GET",
    path: "/plaintext",
    headers: &[],
    body_bytes: 0,
    beside: &[],
    pipeline: 1,
    connections: 64,
    idle_connections: 0,
    spinner: false,
    traffic: Traffic::KeepAlive,
    paced: false,
};

/// Handlers that wait: one round trip to a small TCP server on the generator's core.
const DB64: Scenario = Scenario {
    name: "db64",
    about: "a round trip to a database",
    path: "/db",
    ..PLAIN64
};

/// Handlers that ask a real database: sqlx, whose SQLite has a thread for each connection of its pool.
#[cfg(feature = "sqlite")]
const SQLITE64: Scenario = Scenario {
    name: "sqlite64",
    about: "a row of SQLite's, by sqlx",
    path: "/sqlite",
    ..PLAIN64
};

/// Scenarios that a feature of this package adds, with the feature.
const BEHIND_FEATURES: [(&str, &str); 3] = [
    ("sqlite1", "sqlite"),
    ("sqlite8", "sqlite"),
    ("sqlite64", "sqlite"),
];

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

/// [`BROWSER_HEADERS`] and the token that the stacks of layers ask for.
const TOKEN_HEADERS: &[(&str, &str)] = &[
    BROWSER_HEADERS[0],
    BROWSER_HEADERS[1],
    BROWSER_HEADERS[2],
    BROWSER_HEADERS[3],
    BROWSER_HEADERS[4],
    BROWSER_HEADERS[5],
    BROWSER_HEADERS[6],
    BROWSER_HEADERS[7],
    ("Authorization", "Bearer secret"),
];

/// With `Host`, fourteen fields as a program sends them that calls an API through a proxy.
const API_HEADERS: &[(&str, &str)] = &[
    ("User-Agent", "example-client/4.2.1 (linux; x86_64)"),
    ("Accept", "application/json"),
    ("Accept-Encoding", "gzip"),
    (
        "Authorization",
        "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
    ),
    ("Content-Type", "application/json"),
    ("Cache-Control", "no-cache"),
    ("X-Request-Id", "3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
    ("X-Forwarded-For", "203.0.113.7, 198.51.100.23"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "api.example.com"),
    ("X-Api-Version", "2026-11-01"),
    ("Idempotency-Key", "0b9a1c7e-1f52-4c0e-8a52-6f0b9b1f7f11"),
    (
        "Traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
];

/// Every scenario, in the order in which they are measured.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        paced: true,
        ..PLAIN64
    },
    Scenario {
        name: "plain1",
        about: "latency of one connection",
        connections: 1,
        ..PLAIN64
    },
    Scenario {
        name: "plain4",
        connections: 4,
        ..PLAIN64
    },
    Scenario {
        name: "plain512",
        connections: 512,
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
        name: "token64",
        about: "a browser's nine header fields and a token",
        headers: TOKEN_HEADERS,
        ..PLAIN64
    },
    Scenario {
        name: "api64",
        about: "fourteen fields of an API's client",
        path: "/json",
        headers: API_HEADERS,
        paced: true,
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
        name: "json16k",
        about: "16 KiB of JSON",
        path: "/items",
        ..PLAIN64
    },
    Scenario {
        name: "routes200",
        about: "two path parameters among 200 routes",
        path: "/many/v1/resource137/12345/part/67",
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
    #[cfg(feature = "sqlite")]
    Scenario {
        name: "sqlite1",
        connections: 1,
        ..SQLITE64
    },
    #[cfg(feature = "sqlite")]
    Scenario {
        name: "sqlite8",
        connections: 8,
        ..SQLITE64
    },
    #[cfg(feature = "sqlite")]
    SQLITE64,
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
    Scenario {
        name: "huge",
        about: "64 MiB download",
        path: "/huge",
        connections: 2,
        ..PLAIN64
    },
    Scenario {
        name: "upload",
        about: "64 MiB upload",
        method: "POST",
        path: "/upload",
        body_bytes: 64 << 20,
        connections: 2,
        ..PLAIN64
    },
    Scenario {
        name: "events",
        about: "server-sent events to 1,000 clients",
        path: "/events",
        connections: 1000,
        traffic: Traffic::Events,
        ..PLAIN64
    },
    Scenario {
        name: "ws64",
        about: "WebSocket echo of 64 bytes",
        path: "/ws",
        traffic: Traffic::WebSocket(64),
        ..PLAIN64
    },
    Scenario {
        name: "ws64k",
        about: "WebSocket echo of 64 KiB",
        path: "/ws",
        connections: 16,
        traffic: Traffic::WebSocket(64 << 10),
        ..PLAIN64
    },
    Scenario {
        name: "sleep1",
        about: "one in ten sleeps for 1 ms",
        beside: &[("/sleep/1", 1)],
        ..PLAIN64
    },
    Scenario {
        name: "sleep50",
        about: "one in ten sleeps for 50 ms",
        beside: &[("/sleep/50", 1)],
        connections: 256,
        ..PLAIN64
    },
    Scenario {
        name: "block1",
        about: "one in ten blocks its thread for 1 ms",
        beside: &[("/block/1", 1)],
        ..PLAIN64
    },
    Scenario {
        name: "block50",
        about: "one in ten blocks its thread for 50 ms",
        beside: &[("/block/50", 1)],
        ..PLAIN64
    },
    Scenario {
        name: "spin50",
        about: "one in ten computes for 50 ms",
        beside: &[("/spin/50", 1)],
        ..PLAIN64
    },
    Scenario {
        name: "inplace50",
        about: "one in ten blocks for 50 ms by block_in_place",
        beside: &[("/inplace/50", 1)],
        ..PLAIN64
    },
    Scenario {
        name: "churn",
        about: "a connection per request",
        traffic: Traffic::Churn,
        ..PLAIN64
    },
    Scenario {
        name: "idle10k",
        about: "beside 10,000 idle connections",
        idle_connections: 10_000,
        ..PLAIN64
    },
    Scenario {
        name: "tower-http",
        about: "four layers of tower-http, browser's headers",
        path: "/tower-http/plaintext",
        headers: BROWSER_HEADERS,
        ..PLAIN64
    },
    Scenario {
        name: "zero-layers",
        about: "the same four of zero-tower-layers",
        path: "/zero-layers/plaintext",
        headers: BROWSER_HEADERS,
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
        unknown(name, &names)
    })
}

/// What is said of a name that is none of `names`.
pub fn unknown(name: &str, names: &[&str]) -> String {
    match BEHIND_FEATURES.iter().find(|(behind, _)| *behind == name) {
        Some((_, feature)) => format!(
            "the scenario {name} is not built in; run: cargo build --release -p zero-bench --features {feature}"
        ),
        None => format!("no scenario {name:?}; there are {}", names.join(", ")),
    }
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

    /// Whether wrk can send this.
    pub fn is_for_wrk(&self) -> bool {
        self.traffic == Traffic::KeepAlive && self.beside.is_empty() && self.idle_connections == 0
    }

    /// The requests beside the main one, with how many of ten go to each.
    pub fn requests_beside(
        &self,
        host: &str,
    ) -> impl Iterator<Item = (&'static str, Vec<u8>, u32)> {
        let request = |path| {
            let scenario = Scenario {
                path,
                method: "GET",
                body_bytes: 0,
                ..*self
            };
            scenario.request(host)
        };
        let beside = self
            .beside
            .iter()
            .map(|&(path, weight)| (path, request(path), weight));
        beside.collect::<Vec<_>>().into_iter()
    }

    /// The frame a client sends on a WebSocket, and the one that comes back.
    pub fn frames(payload_bytes: usize) -> (Vec<u8>, Vec<u8>) {
        const BINARY: u8 = 0x82;
        const MASKED: u8 = 0x80;
        let length = |bit: u8| match payload_bytes {
            0..126 => vec![BINARY, bit | payload_bytes as u8],
            126..0x1_0000 => {
                let bytes = (payload_bytes as u16).to_be_bytes();
                [&[BINARY, bit | 126][..], &bytes].concat()
            }
            _ => [
                &[BINARY, bit | 127][..],
                &(payload_bytes as u64).to_be_bytes(),
            ]
            .concat(),
        };
        let payload = vec![b'x'; payload_bytes];
        // A mask other than zero: taking it off is part of the server's work.
        let mask = [0x5a, 0x11, 0xc3, 0x7e];
        let masked = payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask);
        let sent = [length(MASKED), mask.to_vec(), masked.collect()].concat();
        (sent, [length(0), payload].concat())
    }

    /// Length of one event of [`Traffic::Events`] as a body carries it, in bytes.
    pub const EVENT_BYTES: usize = EVENT.len();

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
        head.push_str(match self.traffic {
            Traffic::KeepAlive | Traffic::Events => "",
            Traffic::Churn => "Connection: close\r\n",
            // The key of RFC 6455's own example.
            Traffic::WebSocket(_) => {
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            }
        });
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
    fn what_a_feature_adds_is_told_with_the_feature() {
        for (name, feature) in BEHIND_FEATURES {
            let found = find(name);
            assert_eq!(found.is_ok(), cfg!(feature = "sqlite"), "{name}");
            if let Err(said) = found {
                assert!(said.ends_with(&format!("--features {feature}")), "{said}");
            }
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
