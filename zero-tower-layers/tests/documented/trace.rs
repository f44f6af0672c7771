//! Traces of gRPC, hooks that are left out, fields that are filled in later, classifiers.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt as _;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use tower::{Layer, Service, service_fn};
use tracing::field::{Empty, Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use zero_tower_layers::classify::{GrpcFailureClass, SharedClassifier, StatusInRangeAsFailures};
use zero_tower_layers::trace::ZeroTraceLayer;

use crate::{Answer, ask, hello, request};

/// Writes down events by their message, and spans with the fields that were filled in later.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<String>>>);

struct Texts(String);

impl Visit for Texts {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() != "latency" && field.name() != "stream_duration" {
            self.0 += &format!(" {}={value:?}", field.name());
        }
    }
}

impl Written {
    fn write(&self, kind: &str, record: impl FnOnce(&mut Texts)) {
        let mut texts = Texts(kind.into());
        record(&mut texts);
        self.0.lock().unwrap().push(texts.0);
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Written {
    fn on_new_span(&self, span: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        self.write("span", |texts| span.record(texts));
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.write("record", |texts| values.record(texts));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.write("event", |texts| event.record(texts));
    }
}

/// What is written of one request and its answer's body, with everything listened to.
fn written<S, B>(service: S, request: Request<Body>) -> Vec<String>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Error: Debug>,
{
    let written = Written::default();
    let subscriber = tracing_subscriber::registry()
        .with(LevelFilter::DEBUG)
        .with(written.clone());
    tracing::subscriber::with_default(subscriber, || {
        let body = ask(service, request).into_body().collect().now_or_never();
        drop(body.expect("at once").expect("whole"));
    });
    std::mem::take(&mut written.0.lock().unwrap())
}

async fn unavailable(request: Request<Body>) -> Answer {
    let mut response = hello(request).await?;
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    Ok(response)
}

#[test]
fn the_default_says_when_it_began_and_ended_and_what_failed() {
    let service = ZeroTraceLayer::new_for_http().layer(service_fn(unavailable));
    assert_eq!(
        written(service, request(&[])),
        [
            "span method=GET uri=/ version=HTTP/1.1",
            "event message=started processing request",
            "event message=finished processing request status=503",
            "event message=response failed classification=Status code: 503 Service Unavailable",
            "event message=end of stream",
        ]
        .map(String::from)
    );
}

#[test]
fn hooks_can_be_left_out() {
    let layer = ZeroTraceLayer::new_for_http()
        .on_request(())
        .on_response(())
        .on_body_chunk(())
        .on_eos(())
        .on_failure(());
    let service = layer.layer(service_fn(unavailable));
    assert_eq!(
        written(service, request(&[])),
        ["span method=GET uri=/ version=HTTP/1.1"]
    );
}

#[test]
fn a_spans_fields_are_filled_in_when_they_are_known() {
    let service = ZeroTraceLayer::new_for_http()
        .make_span_with(|request: &Request<Body>| {
            tracing::debug_span!("request", path = request.uri().path(), status_code = Empty)
        })
        .on_request(())
        .on_response(|response: &Response<Body>, _: Duration, span: &Span| {
            span.record("status_code", response.status().as_u16());
            tracing::debug!("answered");
        })
        .on_eos(())
        .layer(service_fn(hello));
    assert_eq!(
        written(service, request(&[])),
        [
            "span path=\"/\"",
            "record status_code=200",
            "event message=answered"
        ]
    );
}

#[test]
fn a_failure_of_grpc_is_in_its_status_not_in_https() {
    let answering = |status: &'static str| {
        service_fn(move |_: Request<Body>| {
            let response = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", status);
            ready(Ok::<_, Infallible>(response.body(Body::empty()).unwrap()))
        })
    };
    let failures = |status| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let seen_by_hook = Arc::clone(&seen);
        let layer = ZeroTraceLayer::new_for_grpc().on_failure(
            move |failure: GrpcFailureClass, _: Duration, _: &Span| {
                seen_by_hook.lock().unwrap().push(failure.to_string());
            },
        );
        ask(layer.layer(answering(status)), request(&[]));
        std::mem::take(&mut *seen.lock().unwrap())
    };
    assert_eq!(failures("0"), [] as [String; 0]);
    assert_eq!(failures("13").len(), 1);
}

#[test]
fn a_classifier_says_what_a_failure_is() {
    let failures = |layer: ZeroTraceLayer<SharedClassifier<StatusInRangeAsFailures>>, status| {
        let seen = Arc::new(Mutex::new(0));
        let seen_by_hook = Arc::clone(&seen);
        let service = layer
            .on_failure(move |_, _: Duration, _: &Span| *seen_by_hook.lock().unwrap() += 1)
            .layer(service_fn(move |_: Request<Body>| {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = status;
                ready(Ok::<_, Infallible>(response))
            }));
        ask(service, request(&[]));
        *seen.lock().unwrap()
    };
    let from_400 = StatusInRangeAsFailures::new(400..=599).into_make_classifier();
    let layer = || ZeroTraceLayer::new(from_400.clone());
    assert_eq!(failures(layer(), StatusCode::NOT_FOUND), 1);
    assert_eq!(failures(layer(), StatusCode::FOUND), 0);
}
