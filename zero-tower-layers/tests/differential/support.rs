//! A service that answers by script, and an observer who writes down all there is to see.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::{Debug, Display};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tower::{Layer, Service};

/// Runs `test` on generated values, replayably.
pub fn check<S: Strategy>(
    cases: u32,
    strategy: S,
    test: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = number("ZERO_LAYERS_SEED").unwrap_or(now);
    let cases = number("ZERO_LAYERS_CASES").map_or(cases, |cases| cases as u32);
    eprintln!("replay with ZERO_LAYERS_SEED={seed}");

    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let result = TestRunner::new_with_rng(config, rng).run(&strategy, test);
    if let Err(failure) = result {
        panic!("{failure}\nreplay with ZERO_LAYERS_SEED={seed}");
    }
}

/// One step of a body.
#[derive(Clone, Debug)]
pub enum Step {
    Data(Vec<u8>),
    Pending,
    Trailers(Vec<(HeaderName, HeaderValue)>),
    Error,
}

/// A body that takes its steps and, if it is so made, says how many bytes are left.
#[derive(Clone, Debug, Default)]
pub struct ScriptBody {
    steps: VecDeque<Step>,
    knows_size: bool,
}

impl ScriptBody {
    pub fn new(steps: Vec<Step>, knows_size: bool) -> Self {
        Self {
            steps: steps.into(),
            knows_size,
        }
    }
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = String;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, String>>> {
        Poll::Ready(match self.steps.pop_front() {
            Some(Step::Data(data)) => Some(Ok(Frame::data(data.into()))),
            Some(Step::Trailers(fields)) => Some(Ok(Frame::trailers(fields.into_iter().collect()))),
            Some(Step::Error) => {
                self.steps.clear();
                Some(Err("the body broke".into()))
            }
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.knows_size && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let data = self.steps.iter().map(|step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        });
        if self.knows_size {
            SizeHint::with_exact(data.sum())
        } else {
            SizeHint::default()
        }
    }
}

/// What the wrapped service does.
#[derive(Clone, Debug)]
pub struct Script {
    /// Times it is not ready, then whether it ever is.
    pub unready: usize,
    pub ready: Result<(), &'static str>,
    /// Times its future waits, then what it becomes.
    pub waits: usize,
    pub answer: Result<Answer, &'static str>,
    /// After so many polls of future and body the caller drops what it has.
    pub polls_max: usize,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub steps: Vec<Step>,
    pub knows_size: bool,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Head {
    pub method: Method,
    pub uri: http::Uri,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Head {
    pub fn request(&self) -> Request<ScriptBody> {
        let mut request = Request::new(ScriptBody::default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().extend(map(&self.headers));
        request
    }
}

fn map(fields: &[(HeaderName, HeaderValue)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, value.clone());
    }
    headers
}

/// A line of a head: name, value, and whether it is marked as sensitive.
type Line = (String, String, bool);

fn lines(headers: &HeaderMap) -> Vec<Line> {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        let text = value.as_bytes().escape_ascii().to_string();
        (name.to_string(), text, value.is_sensitive())
    };
    headers.iter().map(line).collect()
}

/// What the wrapped service saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Whether this very service said beforehand that it is ready.
    pub was_ready: bool,
    pub method: Method,
    pub uri: String,
    pub headers: Vec<Line>,
    pub id: Option<String>,
}

/// What the caller saw, of several calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How `poll_ready` went.
    pub ready: Vec<String>,
    pub seen: Vec<Seen>,
    pub answers: Vec<Result<Observed, String>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub status: StatusCode,
    pub headers: Vec<Line>,
    pub id: Option<String>,
    pub size_hint: (u64, Option<u64>),
    pub data: Vec<u8>,
    pub trailers: Vec<Vec<Line>>,
    pub error: Option<String>,
}

impl Outcome {
    pub fn observed(&mut self) -> impl Iterator<Item = &mut Observed> {
        self.answers.iter_mut().flatten()
    }
}

/// Reads the id a layer has put into extensions.
pub type ReadId = fn(&Extensions) -> Option<String>;

pub struct Scripted {
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
    read_id: ReadId,
    is_ready: bool,
}

/// A clone has not been asked whether it is ready.
impl Clone for Scripted {
    fn clone(&self) -> Self {
        Scripted {
            script: self.script.clone(),
            seen: Arc::clone(&self.seen),
            read_id: self.read_id,
            is_ready: false,
        }
    }
}

impl Service<Request<ScriptBody>> for Scripted {
    type Response = Response<ScriptBody>;
    type Error = String;
    type Future = Pin<Box<dyn Future<Output = Result<Response<ScriptBody>, String>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        if self.script.unready > 0 {
            self.script.unready -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_ready = self.script.ready.is_ok();
        Poll::Ready(self.script.ready.map_err(Into::into))
    }

    fn call(&mut self, request: Request<ScriptBody>) -> Self::Future {
        self.seen.lock().unwrap().push(Seen {
            was_ready: std::mem::take(&mut self.is_ready),
            method: request.method().clone(),
            uri: request.uri().to_string(),
            headers: lines(request.headers()),
            id: (self.read_id)(request.extensions()),
        });
        let script = self.script.clone();
        Box::pin(async move {
            for _ in 0..script.waits {
                tokio::task::yield_now().await;
            }
            let answer = script.answer?;
            let mut response = Response::new(ScriptBody::new(answer.steps, answer.knows_size));
            *response.status_mut() = answer.status;
            *response.headers_mut() = map(&answer.headers);
            Ok(response)
        })
    }
}

pub fn no_id(_: &Extensions) -> Option<String> {
    None
}

/// Sends a request through a layer around a script, and writes down what is to be seen.
pub fn observe<L, B>(layer: L, script: &Script, head: &Head) -> Outcome
where
    L: Layer<Scripted>,
    L::Service: Service<Request<ScriptBody>, Response = Response<B>> + Clone,
    <L::Service as Service<Request<ScriptBody>>>::Error: Display,
    B: Body,
    B::Error: Display,
{
    observe_with(|inner| layer.layer(inner), script, head, no_id)
}

thread_local! {
    /// What is being done, for those who ask where a panic was.
    static STAGE: Cell<&'static str> = const { Cell::new("") };
}

/// Calls a service twice, and a clone of it once.
pub fn observe_with<S, B>(
    wrap: impl FnOnce(Scripted) -> S,
    script: &Script,
    head: &Head,
    read_id: ReadId,
) -> Outcome
where
    S: Service<Request<ScriptBody>, Response = Response<B>> + Clone,
    S::Error: Display,
    B: Body,
    B::Error: Display,
{
    let seen = Arc::new(Mutex::new(Vec::new()));
    let scripted = Scripted {
        script: script.clone(),
        seen: Arc::clone(&seen),
        read_id,
        is_ready: false,
    };
    STAGE.set("built");
    let mut service = wrap(scripted);
    let (mut ready, mut answers) = (Vec::new(), Vec::new());
    for call in 0..3 {
        if call == 2 {
            service = service.clone();
        }
        STAGE.set("asked whether it is ready");
        let mut cx = Context::from_waker(Waker::noop());
        let is_ready = loop {
            match service.poll_ready(&mut cx) {
                Poll::Pending => ready.push("pending".into()),
                Poll::Ready(Ok(())) => break true,
                Poll::Ready(Err(error)) => {
                    ready.push(error.to_string());
                    break false;
                }
            }
        };
        STAGE.set("called");
        if is_ready {
            answers.push(answer(&mut service, script.polls_max, head, read_id));
        }
    }
    let seen = seen.lock().unwrap().clone();
    Outcome {
        ready,
        seen,
        answers,
    }
}

/// What is said of something that was dropped before it was done.
const DROPPED: &str = "dropped";

fn answer<S, B>(
    service: &mut S,
    polls_max: usize,
    head: &Head,
    read_id: ReadId,
) -> Result<Observed, String>
where
    S: Service<Request<ScriptBody>, Response = Response<B>>,
    S::Error: Display,
    B: Body,
    B::Error: Display,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut polls_left = polls_max;
    let mut future = pin!(service.call(head.request()));
    match poll_until(&mut polls_left, || future.as_mut().poll(&mut cx)) {
        None => Err(DROPPED.into()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(response)) => Ok(read(response, &mut polls_left, read_id)),
    }
}

/// Polls until something is ready; nothing if there are no polls left before that.
fn poll_until<T>(polls_left: &mut usize, mut poll: impl FnMut() -> Poll<T>) -> Option<T> {
    for _ in 0..10_000 {
        *polls_left = polls_left.checked_sub(1)?;
        if let Poll::Ready(value) = poll() {
            return Some(value);
        }
    }
    panic!("never ready");
}

fn read<B>(response: Response<B>, polls_left: &mut usize, read_id: ReadId) -> Observed
where
    B: Body,
    B::Error: Display,
{
    let mut cx = Context::from_waker(Waker::noop());
    let (parts, body) = response.into_parts();
    let size_hint = body.size_hint();
    let mut observed = Observed {
        status: parts.status,
        headers: lines(&parts.headers),
        id: read_id(&parts.extensions),
        size_hint: (size_hint.lower(), size_hint.upper()),
        data: Vec::new(),
        trailers: Vec::new(),
        error: None,
    };
    let mut body = pin!(body);
    while !body.is_end_stream() {
        let Some(frame) = poll_until(polls_left, || body.as_mut().poll_frame(&mut cx)) else {
            observed.error = Some(DROPPED.into());
            break;
        };
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(mut data) => observed.data.extend(data.copy_to_bytes(data.remaining())),
                Err(frame) => {
                    let trailers = frame.into_trailers().ok().expect("data or trailers");
                    observed.trailers.push(lines(&trailers));
                }
            },
            Some(Err(error)) => {
                observed.error = Some(error.to_string());
                break;
            }
            None => break,
        }
    }
    observed
}

/// Whether both did the same, or both panicked, and at the same step.
pub fn both<T: PartialEq + Debug>(
    theirs: impl FnOnce() -> T,
    ours: impl FnOnce() -> T,
) -> Result<(), TestCaseError> {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    let theirs = catch_unwind(AssertUnwindSafe(theirs)).map_err(|_| STAGE.get());
    let ours = catch_unwind(AssertUnwindSafe(ours)).map_err(|_| STAGE.get());
    prop_assert_eq!(theirs, ours);
    Ok(())
}

// --- what is generated ---

/// Some of these fields, each perhaps more than once, in any order.
pub fn fields(
    choices: &'static [(&'static str, &'static [&'static str])],
    most: usize,
) -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let field = proptest::sample::select(choices).prop_flat_map(|(name, values)| {
        let name = HeaderName::from_static(name);
        proptest::sample::select(values).prop_map(move |value| {
            (
                name.clone(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            )
        })
    });
    proptest::collection::vec(field, 0..=most)
}

pub fn heads(
    headers: impl Strategy<Value = Vec<(HeaderName, HeaderValue)>>,
) -> impl Strategy<Value = Head> {
    let methods = [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS];
    (proptest::sample::select(methods.to_vec()), headers).prop_map(|(method, headers)| Head {
        method,
        uri: "/some/path?query".parse().unwrap(),
        headers,
    })
}

/// Short bodies, some with pauses, trailers and errors.
pub fn short_steps() -> impl Strategy<Value = Vec<Step>> {
    steps(proptest::collection::vec(any::<u8>(), 0..40).boxed())
}

pub fn steps(data: BoxedStrategy<Vec<u8>>) -> impl Strategy<Value = Vec<Step>> {
    let trailers: Vec<(HeaderName, HeaderValue)> = vec![
        (
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("5"),
        ),
        (
            HeaderName::from_static("grpc-message"),
            HeaderValue::from_static("no%20such"),
        ),
    ];
    let step = prop_oneof![4 => data.prop_map(Step::Data), 2 => Just(Step::Pending)];
    let end = prop_oneof![
        6 => Just(None),
        2 => Just(Some(Step::Trailers(trailers.clone()))),
        1 => Just(Some(Step::Trailers(trailers[..0].to_vec()))),
        1 => Just(Some(Step::Error)),
    ];
    (proptest::collection::vec(step, 0..6), end).prop_map(|(mut steps, end)| {
        steps.extend(end);
        steps
    })
}

pub fn scripts(
    headers: impl Strategy<Value = Vec<(HeaderName, HeaderValue)>>,
    steps: impl Strategy<Value = Vec<Step>>,
) -> impl Strategy<Value = Script> {
    let status = prop_oneof![
        6 => Just(StatusCode::OK),
        1 => Just(StatusCode::NO_CONTENT),
        1 => Just(StatusCode::NOT_MODIFIED),
        1 => Just(StatusCode::NOT_FOUND),
        1 => Just(StatusCode::INTERNAL_SERVER_ERROR),
        1 => Just(StatusCode::SWITCHING_PROTOCOLS),
    ];
    let answer =
        (status, headers, steps, any::<bool>()).prop_map(|(status, headers, steps, knows_size)| {
            Answer {
                status,
                headers,
                steps,
                knows_size,
            }
        });
    let answer = prop_oneof![9 => answer.prop_map(Ok), 1 => Just(Err("the service broke"))];
    let ready = prop_oneof![15 => Just(Ok(())), 1 => Just(Err("never ready"))];
    let polls_max = prop_oneof![8 => Just(usize::MAX), 1 => 0..6_usize];
    (0..3_usize, ready, 0..3_usize, answer, polls_max).prop_map(
        |(unready, ready, waits, answer, polls_max)| Script {
            unready,
            ready,
            waits,
            answer,
            polls_max,
        },
    )
}
