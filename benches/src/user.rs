//! Comparing an application of your own: a plan of requests, and the function that makes the router.

use std::path::Path;
use std::process::ExitCode;

use axum::Router;

use crate::args::{Failure, exit_code, warn_if_debug_build};
use crate::case::{Case, RequestTemplate};
use crate::child::Launch;
use crate::compare::options::{Asked, Options};
use crate::compare::subject::Subject;
use crate::recording;
use crate::scenario::Traffic;
use crate::serve::{self, serve};
use crate::server::Backend;

/// Tells a program that it is to serve, and with which arguments.
const SERVE: &str = "ZERO_BENCH_SERVE";
/// With more kinds of requests than this each has no row of its own, only their mix.
const ROWS_MAX: usize = 8;

/// A request of a [`Plan`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Request {
    method: String,
    path: String,
    pub(crate) headers: Vec<(String, String)>,
    body: Vec<u8>,
    weight: u32,
}

impl Request {
    /// A request by any method for a path, which starts with a slash.
    pub fn new(method: &str, path: &str) -> Self {
        Request {
            method: method.into(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            weight: 1,
        }
    }

    /// Adds a header field. `Host` and `Content-Length` come by themselves.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Gives it a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// How often it is sent in the mix, in proportion to the others. 1 unless said; 0 counts as 1.
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight.max(1);
        self
    }

    fn objection(&self) -> Option<String> {
        let is_token = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b':')
        };
        let is_value = |text: &str| text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f));
        let fields = self.headers.iter();
        if !is_token(&self.method) {
            Some(format!("{:?} is no method", self.method))
        } else if !self.path.starts_with('/') || !self.path.bytes().all(|b| b.is_ascii_graphic()) {
            Some(format!(
                "{:?} is no path: it starts with / and has no blanks",
                self.path
            ))
        } else {
            let mut bad = fields.filter(|(name, value)| !is_token(name) || !is_value(value));
            bad.next()
                .map(|(name, _)| format!("the header field {name:?} cannot be sent"))
        }
    }

    fn template(&self) -> RequestTemplate {
        let mut fields = String::new();
        for (name, value) in &self.headers {
            fields += &format!("{name}: {value}\r\n");
        }
        if !self.body.is_empty() || matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") {
            fields += &format!("Content-Length: {}\r\n", self.body.len());
        }
        RequestTemplate {
            label: format!("{} {}", self.method, self.path),
            line: format!("{} {} HTTP/1.1", self.method, self.path),
            fields,
            body: self.body.clone(),
            weight: self.weight,
        }
    }
}

/// What to send to your application, and how much of it at once.
#[derive(Clone, Debug)]
pub struct Plan {
    requests: Vec<Request>,
    connections: usize,
    /// What is to be said of the files that were read.
    remarks: Vec<String>,
    /// Why there is nothing to compare.
    problem: Option<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan::new()
    }
}

impl Plan {
    /// No requests yet, on 64 connections.
    pub fn new() -> Self {
        Plan {
            requests: Vec::new(),
            connections: 64,
            remarks: Vec::new(),
            problem: None,
        }
    }

    /// Adds a GET.
    pub fn get(self, path: &str) -> Self {
        self.request(Request::new("GET", path))
    }

    /// Adds a POST with a body of this type.
    pub fn post(self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.request(
            Request::new("POST", path)
                .header("Content-Type", content_type)
                .body(body),
        )
    }

    /// Adds a request.
    pub fn request(mut self, request: Request) -> Self {
        self.requests.push(request);
        self
    }

    /// How many connections carry the load.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    /// Adds the requests of a file: a HAR, as browsers save it, or a JSON list of objects with `path`
    /// and, where they are wanted, `method`, `headers` (an object), `body` and `weight`.
    ///
    /// Of a HAR those requests are taken that went where its first one did; equal ones become one with a weight. What
    /// failed when it was recorded (a status from 400, or none) is not asked again, nor what was recorded without
    /// its body. How many those are, [`compare`] says; and if the file cannot be read or is neither, it says
    /// that, and ends.
    pub fn file(mut self, path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("{} cannot be read: {error}", path.display()));
        let recorded = text.and_then(|text| {
            recording::read(&text).map_err(|error| format!("{}: {error}", path.display()))
        });
        match recorded {
            Ok(recorded) => {
                let remarks = recorded.remarks.into_iter();
                self.remarks
                    .extend(remarks.map(|remark| format!("{}: {remark}", path.display())));
                self.requests.extend(recorded.requests);
            }
            Err(error) => _ = self.problem.get_or_insert(error),
        }
        self
    }

    /// A row for each request, where they are few, and one for their mix.
    fn cases(&self) -> Result<Vec<Case>, Failure> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone().into());
        }
        if self.requests.is_empty() {
            return Err("the plan has no request; add one with .get(\"/\")".into());
        }
        if let Some(objection) = self.requests.iter().find_map(Request::objection) {
            return Err(objection.into());
        }
        let case = |name: String, about: &str, requests: &[Request]| Case {
            name,
            about: about.into(),
            requests: requests.iter().map(Request::template).collect(),
            pipeline: 1,
            connections: self.connections,
            idle_connections: 0,
            spinner: false,
            traffic: Traffic::KeepAlive,
            paced: requests.len() == self.requests.len(),
        };
        let mut cases = Vec::new();
        if self.requests.len() > 1 {
            cases.push(case(
                "mix".into(),
                "all requests by their weights",
                &self.requests,
            ));
        }
        if self.requests.len() <= ROWS_MAX {
            for (i, request) in self.requests.iter().enumerate() {
                let about = format!("{} {}", request.method, request.path);
                cases.push(case(
                    format!("request{}", i + 1),
                    &about,
                    std::slice::from_ref(request),
                ));
            }
        }
        Ok(cases)
    }
}

/// Compares the backends that serve any application on yours, as the command line asks (`--help`).
///
/// To be called from `main` with nothing before it: the program runs itself again as the servers that are
/// measured. Allocations are counted when the program has [`count_allocations!`](crate::count_allocations).
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use zero_bench::Plan;
///
/// fn main() -> std::process::ExitCode {
///     let plan = Plan::new().get("/").get("/users/7");
///     zero_bench::compare(plan, || Router::new().route("/", get(async || "Hello")))
/// }
/// ```
pub fn compare(plan: Plan, app: impl FnOnce() -> Router) -> ExitCode {
    exit_code(run(&plan, app))
}

fn run(plan: &Plan, app: impl FnOnce() -> Router) -> Result<(), Failure> {
    if let Ok(arguments) = std::env::var(SERVE) {
        let arguments = arguments.split(' ').map(Into::into);
        let options = serve::Options::parse(arguments.chain(std::env::args_os().skip(1)))?;
        return serve(options, app());
    }
    let arguments = std::env::args_os().skip(1);
    match Options::parse(arguments, plan.cases()?, &Backend::defaults())? {
        Asked::Print(text) => {
            println!("{text}");
            Ok(())
        }
        Asked::Compare(mut options) => {
            warn_if_debug_build();
            // Both sides are one program, this one.
            options.sizes = false;
            plan.remarks.iter().for_each(|remark| eprintln!("{remark}"));
            crate::compare::compare(&options, &launch)
        }
    }
}

/// This very program, told to serve.
fn launch(subject: &Subject, count_alloc: bool) -> Result<Launch, Failure> {
    let backend = subject.backend;
    if !backend.serves_any_app() || subject.has_mimalloc {
        return Err(format!("{} does not serve an application of yours", subject.label).into());
    }
    let mut arguments = vec![
        "--end-with-parent".into(),
        "--backend".into(),
        backend.name().into(),
    ];
    arguments.extend(subject.arguments(count_alloc));
    Ok(Launch {
        program: std::env::current_exe()?,
        args: Vec::new(),
        env: vec![(SERVE.into(), arguments.join(" "))],
        silent_at: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_rows_and_a_mix() {
        let plan = Plan::new().get("/a").post("/b", "text/plain", "xyz");
        let cases = plan.cases().expect("requests");
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names, ["mix", "request1", "request2"]);
        let bytes = String::from_utf8(cases[2].requests[0].bytes("h")).expect("ASCII");
        assert_eq!(
            bytes,
            "POST /b HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nxyz"
        );
    }

    #[test]
    fn what_cannot_be_sent_is_said() {
        assert!(Plan::new().cases().is_err());
        assert!(Plan::new().get("a").cases().is_err());
        let missing = Plan::new().get("/").file("no/such.har").cases();
        let error = missing.expect_err("no such file").to_string();
        assert!(error.contains("no/such.har cannot be read"), "{error}");
        assert!(Plan::new().get("/a b").cases().is_err());
        assert!(
            Plan::new()
                .request(Request::new("GET", "/").header("A", "x\r\ny"))
                .cases()
                .is_err()
        );
    }
}
