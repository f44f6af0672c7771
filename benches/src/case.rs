//! A load as it will be sent: what a [`Scenario`] of ours, or a user's own request, comes down to.

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::args::Failure;
use crate::load::response::Response;
use crate::load::{Exchange, Pace, Plan, Reply, probe};
use crate::scenario::{Scenario, Traffic};

/// One row of a comparison.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is called on the command line and in reports.
    pub name: String,
    /// What it shows, in a few words.
    pub about: String,
    /// What is sent, without the `Host` field, which is added when the server is known.
    pub requests: Vec<RequestTemplate>,
    /// Requests sent at once on a connection.
    pub pipeline: usize,
    /// Connections with work.
    pub connections: usize,
    /// Connections without work besides.
    pub idle_connections: usize,
    /// Whether a spinner shares the server's core.
    pub spinner: bool,
    /// What is exchanged, and how.
    pub traffic: Traffic,
    /// Whether latency is measured at fixed rates too, in a first look as well.
    pub paced: bool,
}

/// A request of a [`Case`].
#[derive(Clone, Debug)]
pub struct RequestTemplate {
    /// What reports call it.
    pub label: String,
    /// The request line, without its end.
    pub line: String,
    /// The fields besides `Host`, each with its line's end.
    pub fields: String,
    /// The body.
    pub body: Vec<u8>,
    /// How often it is sent, in proportion to the others.
    pub weight: u32,
}

impl RequestTemplate {
    /// The bytes that are sent to `host`.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let RequestTemplate { line, fields, .. } = self;
        let head = format!("{line}\r\nHost: {host}\r\n{fields}\r\n");
        [head.as_bytes(), &self.body].concat()
    }
}

/// `Host` is the same whatever port a server got: the length of a request must not depend on it.
const HOST: &str = "127.0.0.1";

impl From<&Scenario> for Case {
    fn from(scenario: &Scenario) -> Self {
        let template = |path: &str, bytes: Vec<u8>, weight| {
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned();
            let (head, _) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
            let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
            // The first field is `Host`, which every template leaves out.
            let fields = fields.split_once("\r\n").map_or("", |(_, rest)| rest);
            RequestTemplate {
                label: path.into(),
                line: line.into(),
                fields: if fields.is_empty() {
                    String::new()
                } else {
                    format!("{fields}\r\n")
                },
                body: bytes[head.len() + 4..].to_vec(),
                weight,
            }
        };
        let beside: u32 = scenario.beside.iter().map(|(_, weight)| weight).sum();
        let own_weight = if beside == 0 { 1 } else { 10 - beside };
        let mut requests = vec![template(scenario.path, scenario.request(HOST), own_weight)];
        let others = scenario.requests_beside(HOST);
        requests.extend(others.map(|(path, bytes, weight)| template(path, bytes, weight)));
        Case {
            name: scenario.name.into(),
            about: scenario.about.into(),
            requests,
            pipeline: scenario.pipeline,
            connections: scenario.connections,
            idle_connections: scenario.idle_connections,
            spinner: scenario.spinner,
            traffic: scenario.traffic,
            paced: scenario.paced,
        }
    }
}

impl Case {
    /// Whether a request for `path` is among its requests.
    pub fn asks(&self, path: &str) -> bool {
        let asked = |request: &RequestTemplate| request.line.split(' ').nth(1) == Some(path);
        self.requests.iter().any(asked)
    }

    /// Whether its load can have a fixed rate: requests one by one on connections that stay.
    pub fn can_be_paced(&self) -> bool {
        let is_kept = matches!(self.traffic, Traffic::KeepAlive | Traffic::WebSocket(_));
        is_kept && self.pipeline == 1
    }

    /// Describes the load in one line.
    pub fn title(&self) -> String {
        let line = self.requests.first().map_or("", |r| r.line.as_str());
        let line = line.strip_suffix(" HTTP/1.1").unwrap_or(line);
        let Case {
            name,
            about,
            connections,
            ..
        } = self;
        let plural = if *connections == 1 {
            "connection"
        } else {
            "connections"
        };
        format!("{name}: {about} ({line}, {connections} {plural})")
    }

    /// What is to be sent to `server` and what must come back, as the server itself says when it is asked
    /// now, twice.
    ///
    /// # Errors
    /// When the server does not answer, or not with success.
    pub fn plan(
        &self,
        server: SocketAddrV4,
        warm_up: Duration,
        duration: Duration,
    ) -> Result<Plan, Failure> {
        let mut plan = Plan::new(server, Vec::new());
        plan.connections = self.connections;
        plan.idle_connections = self.idle_connections;
        plan.pipeline = self.pipeline;
        plan.churn = self.traffic == Traffic::Churn;
        plan.pace = Pace::Closed;
        (plan.warm_up, plan.duration) = (warm_up, duration);
        for template in &self.requests {
            let request = template.bytes(HOST);
            let (request, reply) = match self.traffic {
                Traffic::KeepAlive | Traffic::Churn => {
                    let reference = probe::learn(server, &request)
                        .map_err(|error| format!("{}: {error}", template.label))?;
                    (request, Reply::Http(reference))
                }
                Traffic::WebSocket(bytes) => {
                    plan.opening = Some(request);
                    let (sent, echoed) = Scenario::frames(bytes);
                    (sent, Reply::Bytes(echoed))
                }
                Traffic::Events => (request, Reply::Messages(Scenario::EVENT_BYTES)),
            };
            plan.exchanges.push(Exchange {
                label: template.label.clone(),
                request,
                reply,
                weight: template.weight,
            });
        }
        Ok(plan)
    }

    /// What a server answers to each request.
    ///
    /// # Errors
    /// When the server does not answer, or not with success.
    pub fn answers(&self, server: SocketAddrV4) -> Result<Vec<Answer>, Failure> {
        let ask = |template: &RequestTemplate| {
            let mut stream = probe::connect(server)?;
            let request = template.bytes(HOST);
            let is_head = request.starts_with(b"HEAD ");
            let response = match self.traffic {
                Traffic::Events => {
                    probe::start_of_stream(&mut stream, &request, Scenario::EVENT_BYTES)
                }
                Traffic::Churn => probe::exchange_and_end(&mut stream, &request),
                _ => probe::exchange(&mut stream, &request, is_head),
            };
            let response = response.map_err(|error| format!("{}: {error}", template.label))?;
            let expected = match self.traffic {
                Traffic::WebSocket(_) => response.status == 101,
                _ => response.status < 400,
            };
            match expected {
                true => Ok(Answer::from(&response)),
                false => Err(format!("{} is answered {}", template.label, response.status).into()),
            }
        };
        self.requests.iter().map(ask).collect()
    }
}

/// An answer, in forms in which answers can be compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// As it came, but for the values of `Date` and `X-Request-Id`, which differ from one to the next.
    pub bytes: Vec<u8>,
    /// What it says: fields in order of their names, in lower case, without `Date`, `Server` and `Connection`,
    /// which say nothing of the application.
    pub meaning: Vec<u8>,
}

impl From<&Response> for Answer {
    fn from(response: &Response) -> Self {
        Answer {
            bytes: masked(response),
            meaning: canonical(response),
        }
    }
}

fn masked(response: &Response) -> Vec<u8> {
    let head = String::from_utf8_lossy(&response.head).into_owned();
    let mask = |line: &str| match line.split_once(':') {
        Some((name, value)) if ["date", "x-request-id"].contains(&&*name.to_ascii_lowercase()) => {
            format!("{name}: {} bytes", value.trim().len())
        }
        _ => line.to_owned(),
    };
    let lines: Vec<String> = head.split("\r\n").map(mask).collect();
    [lines.join("\r\n").as_bytes(), &response.body].concat()
}

fn canonical(response: &Response) -> Vec<u8> {
    let head = String::from_utf8_lossy(&response.head).into_owned();
    let mut lines = head.split("\r\n").filter(|line| !line.is_empty());
    // The phrase behind the code is for the eye (RFC 9112 §4), and not every server's can be chosen.
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status = status.unwrap_or("").to_owned();
    let mut fields: Vec<String> = lines
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            let name = name.to_ascii_lowercase();
            let value = match name.as_str() {
                "date" | "server" | "connection" => return None,
                // Another with each answer.
                "x-request-id" => format!("{} bytes", value.trim().len()),
                _ => value.trim().to_owned(),
            };
            Some(format!("{name}: {value}"))
        })
        .collect();
    fields.sort();
    let mut text = format!("{status}\n{}\n\n", fields.join("\n")).into_bytes();
    text.extend_from_slice(&response.body);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{SCENARIOS, find};

    #[test]
    fn a_case_sends_what_its_scenario_does() {
        for scenario in SCENARIOS {
            let case = Case::from(scenario);
            assert_eq!(
                case.requests[0].bytes(HOST),
                scenario.request(HOST),
                "{}",
                scenario.name
            );
        }
    }

    #[test]
    fn requests_beside_take_their_share_of_ten() {
        let case = Case::from(find("sleep1").expect("in the list"));
        let weights: Vec<_> = case.requests.iter().map(|r| r.weight).collect();
        assert_eq!(weights, [9, 1]);
        assert!(case.requests[1].line.starts_with("GET /sleep/1 "));
    }

    #[test]
    fn the_order_and_the_date_of_fields_are_no_difference() {
        let response = |head: &str| Response {
            head: head.as_bytes().to_vec(),
            body: b"abc".to_vec(),
            ..Response::default()
        };
        let a = response("HTTP/1.1 200 OK\r\nA: 1\r\ndate: x\r\nb: 2\r\n\r\n");
        let b = response("HTTP/1.1 200 OK\r\nB: 2\r\nServer: y\r\na:  1\r\n\r\n");
        assert_eq!(canonical(&a), canonical(&b));
        let c = response("HTTP/1.1 200 OK\r\nB: 2\r\na:  3\r\n\r\n");
        assert_ne!(canonical(&a), canonical(&c));
        let d = response("HTTP/1.1 201 OK\r\nA: 1\r\nb: 2\r\n\r\n");
        assert_ne!(canonical(&a), canonical(&d));
    }

    #[test]
    fn of_the_bytes_only_the_date_may_differ() {
        let masked = |head: &str| {
            masked(&Response {
                head: head.as_bytes().to_vec(),
                body: b"abc".to_vec(),
                ..Response::default()
            })
        };
        let a = masked("HTTP/1.1 200 OK\r\nA: 1\r\ndate: 1 Jan\r\n\r\n");
        assert_eq!(a, masked("HTTP/1.1 200 OK\r\nA: 1\r\ndate: 2 Feb\r\n\r\n"));
        assert_ne!(a, masked("HTTP/1.1 200 OK\r\ndate: 1 Jan\r\nA: 1\r\n\r\n"));
        assert_ne!(a, masked("HTTP/1.1 200 OK\r\na: 1\r\ndate: 1 Jan\r\n\r\n"));
    }
}
