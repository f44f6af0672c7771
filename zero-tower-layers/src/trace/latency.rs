//! Durations as they are logged, and the clock that measures them.

use std::fmt;
use std::time::{Duration, Instant};

/// The unit in which a hook logs durations.
#[non_exhaustive]
#[derive(Copy, Clone, Debug)]
pub enum LatencyUnit {
    /// Seconds, with a fraction: `0.0015 s`.
    Seconds,
    /// Whole milliseconds: `1 ms`.
    Millis,
    /// Whole microseconds: `1500 μs`.
    Micros,
    /// Nanoseconds: `1500000 ns`.
    Nanos,
}

/// A duration in its unit.
pub(super) struct Latency {
    pub(super) unit: LatencyUnit,
    pub(super) duration: Duration,
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.unit {
            LatencyUnit::Seconds => write!(f, "{} s", self.duration.as_secs_f64()),
            LatencyUnit::Millis => write!(f, "{} ms", self.duration.as_millis()),
            LatencyUnit::Micros => write!(f, "{} μs", self.duration.as_micros()),
            LatencyUnit::Nanos => write!(f, "{} ns", self.duration.as_nanos()),
        }
    }
}

/// A moment that some hook may want to measure from; nothing if none does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start(Option<Instant>);

impl Start {
    /// Now, if someone wants to know.
    pub(super) fn now_if(wanted: bool) -> Self {
        Start(wanted.then(now))
    }

    /// The time since. Zero if it was not wanted at first and is now: a subscriber came in between.
    pub(super) fn elapsed(self) -> Duration {
        self.0.map_or(Duration::ZERO, |start| {
            now().saturating_duration_since(start)
        })
    }

    /// The time since, and the moment from now on.
    pub(super) fn lap(&mut self) -> Duration {
        let now = now();
        let start = self.0.replace(now);
        start.map_or(Duration::ZERO, |start| now.saturating_duration_since(start))
    }
}

/// Reads the clock; nothing else in these layers does.
#[inline]
fn now() -> Instant {
    #[cfg(test)]
    tests::READS.with(|reads| reads.set(reads.get() + 1));
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use http::{Request, Response, StatusCode};
    use http_body::Body;
    use http_body_util::Full;
    use tower::{Layer, Service, service_fn};
    use tracing::level_filters::LevelFilter;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    use crate::trace::ZeroTraceLayer;

    thread_local! {
        pub(super) static READS: Cell<usize> = const { Cell::new(0) };
    }

    type Answer =
        fn(Request<Full<Bytes>>) -> std::future::Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn answering(status: StatusCode) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from("hello"));
        *response.status_mut() = status;
        response
    }

    /// How often the clock is read for a call and its answer's body, with a subscriber at a level.
    fn reads<L, B>(level: LevelFilter, answer: Answer, layer: L) -> usize
    where
        L: Layer<tower::util::ServiceFn<Answer>>,
        L::Service: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
        B: Body,
    {
        let before = READS.get();
        with_default(tracing_subscriber::registry().with(level), || {
            let mut cx = Context::from_waker(Waker::noop());
            let mut call = pin!(layer.layer(service_fn(answer)).call(Request::default()));
            let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut cx) else {
                panic!("nothing here waits");
            };
            let mut body = pin!(response.into_body());
            while let Poll::Ready(Some(_)) = body.as_mut().poll_frame(&mut cx) {}
        });
        READS.get() - before
    }

    /// One test: what levels are wanted is known to the whole program.
    #[test]
    fn the_clock_is_read_for_those_who_are_told() {
        let fine: Answer = |_| std::future::ready(Ok(answering(StatusCode::OK)));
        let broken: Answer = |_| std::future::ready(Ok(answering(StatusCode::BAD_GATEWAY)));
        let http = ZeroTraceLayer::new_for_http;
        let silent = || {
            let layer = http().on_request(()).on_response(()).on_body_chunk(());
            layer.on_eos(()).on_failure(())
        };
        for answer in [fine, broken] {
            // Nobody listens.
            assert_eq!(reads(LevelFilter::OFF, answer, http()), 0);
            assert_eq!(
                reads(LevelFilter::OFF, answer, ZeroTraceLayer::new_for_grpc()),
                0
            );
            // There is nothing to be heard, though the span is wanted.
            assert_eq!(reads(LevelFilter::TRACE, answer, silent()), 0);
            // Only failures have a latency to be told, and from ERROR to INFO only they are told at all.
            let deaf_to_failures = || http().on_failure(());
            assert_eq!(reads(LevelFilter::INFO, answer, deaf_to_failures()), 0);
        }
        for level in [LevelFilter::ERROR, LevelFilter::INFO] {
            assert_eq!(reads(level, fine, http()), 1);
            assert_eq!(reads(level, broken, http()), 2);
        }
        // When it came, when it was answered, when its body began and ended.
        assert_eq!(reads(LevelFilter::DEBUG, fine, http()), 4);
        let timed =
            silent().on_body_chunk(|_: &Bytes, _: std::time::Duration, _: &tracing::Span| ());
        assert!(reads(LevelFilter::OFF, fine, timed) >= 2);
    }
}
