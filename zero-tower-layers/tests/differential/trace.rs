//! Traces: the same spans and events, in the same order, with the same levels, targets, fields and
//! parents; the same calls of hooks with the same arguments.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use proptest::prelude::*;
use proptest::sample::select;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{Interest, with_default};
use tracing::{Event, Level, Metadata, Span, Subscriber};

use crate::support::*;

mod theirs {
    pub use tower_http::LatencyUnit;
    pub use tower_http::classify::{
        ClassifyResponse, GrpcCode, GrpcErrorsAsFailures, ServerErrorsAsFailures, SharedClassifier,
        StatusInRangeAsFailures,
    };
    pub use tower_http::trace::{
        DefaultMakeSpan, DefaultOnEos, DefaultOnFailure, DefaultOnRequest, DefaultOnResponse,
        TraceLayer as Layer,
    };
}

mod ours {
    pub use zero_tower_layers::classify::{
        ClassifyResponse, GrpcCode, GrpcErrorsAsFailures, ServerErrorsAsFailures, SharedClassifier,
        StatusInRangeAsFailures,
    };
    pub use zero_tower_layers::trace::{
        DefaultMakeSpan, DefaultOnEos, DefaultOnFailure, DefaultOnRequest, DefaultOnResponse,
        LatencyUnit, ZeroTraceLayer as Layer,
    };
}

/// Writes down what it is told, up to a level.
struct Recorder {
    level: Level,
    state: Mutex<State>,
    written: Arc<Mutex<Vec<String>>>,
}

#[derive(Default)]
struct State {
    /// How many hold each span, from the first.
    holders: Vec<usize>,
    entered: Vec<u64>,
}

impl Recorder {
    fn write(&self, line: String) {
        self.written.lock().unwrap().push(line);
    }

    fn parent(&self, explicit: Option<&Id>, is_contextual: bool) -> String {
        let current = self.state.lock().unwrap().entered.last().copied();
        match (explicit, is_contextual) {
            (Some(id), _) => format!("in {}", id.into_u64()),
            (None, true) => format!("in context {current:?}"),
            (None, false) => "at the root".into(),
        }
    }
}

/// Fields, with durations reduced to their unit.
#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = format!("{value:?}");
        if ["latency", "stream_duration"].contains(&field.name()) {
            let (number, unit) = text.split_once(' ').expect("a number and a unit");
            number.parse::<f64>().expect("a number");
            text = format!("some {unit}");
        }
        self.0 += &format!(" {}={text}", field.name());
    }
}

impl Subscriber for Recorder {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = {
            let mut state = self.state.lock().unwrap();
            state.holders.push(1);
            state.holders.len() as u64
        };
        let mut fields = Fields::default();
        span.record(&mut fields);
        let parent = self.parent(span.parent(), span.is_contextual());
        let of = span.metadata();
        self.write(format!(
            "span {id} {} {} {} {parent}:{}",
            of.level(),
            of.target(),
            of.name(),
            fields.0
        ));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.write(format!("record {}:{}", span.into_u64(), fields.0));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn clone_span(&self, id: &Id) -> Id {
        self.state.lock().unwrap().holders[id.into_u64() as usize - 1] += 1;
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let id = id.into_u64();
        let left = {
            let mut state = self.state.lock().unwrap();
            let holders = &mut state.holders[id as usize - 1];
            *holders -= 1;
            *holders
        };
        if left == 0 {
            self.write(format!("close {id}"));
        }
        left == 0
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let parent = self.parent(event.parent(), event.is_contextual());
        let of = event.metadata();
        self.write(format!(
            "event {} {} {parent}:{}",
            of.level(),
            of.target(),
            fields.0
        ));
    }

    fn enter(&self, span: &Id) {
        self.state.lock().unwrap().entered.push(span.into_u64());
        self.write(format!("enter {}", span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        self.state.lock().unwrap().entered.pop();
        self.write(format!("exit {}", span.into_u64()));
    }
}

/// What is observed, and what is traced meanwhile.
fn traced(level: Level, observe: impl FnOnce() -> Outcome) -> (Outcome, Vec<String>) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder {
        level,
        state: Mutex::default(),
        written: Arc::clone(&written),
    };
    let outcome = with_default(recorder, observe);
    let written = std::mem::take(&mut *written.lock().unwrap());
    (outcome, written)
}

#[derive(Clone, Copy, Debug)]
enum Classifier {
    Http,
    Grpc,
    GrpcNotFoundIsFine,
    ClientErrors,
    Mapped,
}

#[derive(Clone, Copy, Debug)]
enum Hooks {
    AllDefault,
    Levels,
    Closures,
    Nothing,
    OnlyFailure,
}

#[derive(Clone, Debug)]
struct Setup {
    classifier: Classifier,
    hooks: Hooks,
    /// Of the five steps, from the span to the failure.
    levels: [Level; 5],
    unit: usize,
    include_headers: bool,
    subscriber: Level,
}

fn setups() -> impl Strategy<Value = Setup> {
    let level = || {
        select(&[
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ])
    };
    let classifier = select(&[
        Classifier::Http,
        Classifier::Grpc,
        Classifier::GrpcNotFoundIsFine,
        Classifier::ClientErrors,
        Classifier::Mapped,
    ]);
    let hooks = select(&[
        Hooks::AllDefault,
        Hooks::Levels,
        Hooks::Levels,
        Hooks::Closures,
        Hooks::Nothing,
        Hooks::OnlyFailure,
    ]);
    let levels = [level(), level(), level(), level(), level()];
    let subscriber = prop_oneof![2 => level(), 1 => Just(Level::TRACE)];
    (
        classifier,
        hooks,
        levels,
        0..4_usize,
        any::<bool>(),
        subscriber,
    )
        .prop_map(
            |(classifier, hooks, levels, unit, include_headers, subscriber)| Setup {
                classifier,
                hooks,
                levels,
                unit,
                include_headers,
                subscriber,
            },
        )
}

// Hooks of one's own, which say what they were given.

fn make_span(request: &Request<ScriptBody>) -> Span {
    tracing::info_span!(target: "own", "own", uri = %request.uri())
}

fn on_request(request: &Request<ScriptBody>, span: &Span) {
    tracing::info!(target: "own", method = ?request.method(), disabled = span.is_disabled(), "request");
}

fn on_response(response: &Response<ScriptBody>, latency: Duration, _: &Span) {
    assert!(latency > Duration::ZERO);
    tracing::info!(target: "own", status = ?response.status(), "response");
}

fn on_body_chunk(chunk: &Bytes, _: Duration, _: &Span) {
    tracing::info!(target: "own", len = chunk.len(), "chunk");
}

fn on_eos(trailers: Option<&HeaderMap>, _: Duration, _: &Span) {
    tracing::info!(target: "own", ?trailers, "eos");
}

macro_rules! run {
    ($krate:ident, $setup:expr, $script:expr, $head:expr) => {{
        use $krate::*;
        let (setup, script, head) = ($setup, $script, $head);
        match setup.classifier {
            Classifier::Http => with_hooks!($krate, Layer::new_for_http(), setup, script, head),
            Classifier::Grpc => with_hooks!($krate, Layer::new_for_grpc(), setup, script, head),
            Classifier::GrpcNotFoundIsFine => {
                let classifier = GrpcErrorsAsFailures::new().with_success(GrpcCode::NotFound);
                let layer = Layer::new(SharedClassifier::new(classifier));
                with_hooks!($krate, layer, setup, script, head)
            }
            Classifier::ClientErrors => {
                let classifier = StatusInRangeAsFailures::new_for_client_and_server_errors();
                let layer = Layer::new(classifier.into_make_classifier());
                with_hooks!($krate, layer, setup, script, head)
            }
            Classifier::Mapped => {
                let classifier = ServerErrorsAsFailures::new();
                let classifier = classifier.map_failure_class(|class| format!("<{class}>"));
                let layer = Layer::new(SharedClassifier::new(classifier));
                with_hooks!($krate, layer, setup, script, head)
            }
        }
    }};
}

macro_rules! with_hooks {
    ($krate:ident, $layer:expr, $setup:expr, $script:expr, $head:expr) => {{
        use $krate::*;
        let (layer, setup, script, head) = ($layer, $setup, $script, $head);
        let [span, request, response, eos, failure] = setup.levels;
        let unit = [LatencyUnit::Seconds, LatencyUnit::Millis, LatencyUnit::Micros, LatencyUnit::Nanos];
        let unit = unit[setup.unit];
        let on_failure = |class, _: Duration, _: &Span| {
            tracing::info!(target: "own", ?class, "failure");
        };
        traced(setup.subscriber, || match setup.hooks {
            Hooks::AllDefault => observe(layer, script, head),
            Hooks::Levels => {
                let headers = setup.include_headers;
                let layer = layer
                    .make_span_with(DefaultMakeSpan::new().level(span).include_headers(headers))
                    .on_request(DefaultOnRequest::new().level(request))
                    .on_response(
                        DefaultOnResponse::new()
                            .level(response)
                            .latency_unit(unit)
                            .include_headers(headers),
                    )
                    .on_eos(DefaultOnEos::new().level(eos).latency_unit(unit))
                    .on_failure(DefaultOnFailure::new().level(failure).latency_unit(unit));
                observe(layer, script, head)
            }
            Hooks::Closures => {
                let layer = layer
                    .make_span_with(make_span)
                    .on_request(on_request)
                    .on_response(on_response)
                    .on_body_chunk(on_body_chunk)
                    .on_eos(on_eos)
                    .on_failure(on_failure);
                observe(layer, script, head)
            }
            Hooks::Nothing => {
                let layer = layer
                    .make_span_with(Span::none())
                    .on_request(())
                    .on_response(())
                    .on_body_chunk(())
                    .on_eos(())
                    .on_failure(());
                observe(layer, script, head)
            }
            Hooks::OnlyFailure => {
                let layer = layer.on_request(()).on_response(()).on_eos(());
                observe(layer, script, head)
            }
        })
    }};
}

const RESPONSE: &[(&str, &[&str])] = &[
    (
        "content-type",
        &[
            "application/grpc",
            "application/grpc-web+proto",
            "text/plain",
        ],
    ),
    ("grpc-status", &["0", "5", "13", "99", "-1", "no"]),
    ("grpc-message", &["bad%20luck", "caf%C3%A9%80", "%2"]),
];

#[test]
fn the_same_is_traced() {
    let heads = heads(fields(&[("x-a", &["1", "2"])], 2));
    let scripts = scripts(fields(RESPONSE, 3), short_steps());
    check(2000, (setups(), heads, scripts), |(setup, head, script)| {
        let theirs = run!(theirs, &setup, &script, &head);
        let ours = run!(ours, &setup, &script, &head);
        prop_assert_eq!(ours.0, theirs.0);
        prop_assert_eq!(ours.1, theirs.1);
        Ok(())
    });
}

/// What `{:?}` and `{}` make of failures, codes and statuses.
#[test]
fn failures_are_called_the_same() {
    macro_rules! names {
        ($krate:ident) => {{
            use $krate::classify::*;
            let mut names = Vec::new();
            for number in -1..18 {
                let response = Response::builder()
                    .header("grpc-status", number)
                    .header("grpc-message", "a%20b")
                    .body(())
                    .unwrap();
                let class = GrpcErrorsAsFailures::new()
                    .with_success(GrpcCode::Aborted)
                    .classify_response(&response);
                if let ClassifiedResponse::Ready(Err(failure)) = class {
                    names.push(failure.to_string());
                    if let GrpcFailureClass::Status(status) = failure {
                        names.push(format!("{:?} {}", status.code(), status.code_raw()));
                        names.push(format!("{:?}", status.message()));
                    }
                }
                names.push(format!("{:?}", GrpcCode::from(number)));
            }
            let mapped =
                ServerErrorsAsFailures::new().map_failure_class(|class| format!("<{class}>"));
            names.push(mapped.classify_error(&"an error"));
            let response = Response::builder().status(503).body(()).unwrap();
            let class = StatusInRangeAsFailures::new(500..=503).classify_response(&response);
            names.push(format!("{class:?}"));
            names
        }};
    }
    assert_eq!(names!(zero_tower_layers), names!(tower_http));
}
