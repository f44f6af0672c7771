//! Drives one call of a service: readiness, the call, the response's body, into a sink.
//!
//! Knows neither shard nor worker; both poll it, and a driver that began on one may end on another.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;

use crate::body::RequestBody;
use crate::error::BoxError;
use crate::limits::{SPARE_DRIVERS_BYTES_MAX, SPARE_DRIVERS_MAX};
use crate::message::{Pooled, ResponseHead};
use crate::pool::copies::{self, Copied};
use crate::proto::h1::BodyLength;
use crate::service::sealed::{Apart, Fill};
use crate::service::{HttpService, Reply};

/// Where a response goes.
pub(crate) trait Sink {
    /// Takes the head; returns whether the body is wanted. An error ends the exchange without
    /// further pieces. What goes out with the head is the sink's to send.
    fn head(&mut self, head: ResponseHead, length: BodyLength) -> Result<bool, ()>;
    /// Whether another piece of the body is welcome. If not, the sink sees to it that the driver
    /// is polled again.
    fn has_room(&mut self) -> bool;
    /// Takes a piece of the body; returns whether more of it is wanted.
    fn data(&mut self, data: Bytes) -> bool;
    /// The response is complete.
    fn end(&mut self, trailers: Option<HeaderMap>);
    /// Takes a response that is whole: head, body if there is one, and end. An error as of
    /// [`head`](Self::head).
    fn whole(&mut self, lines: Pooled) -> Result<(), ()> {
        self.head(ResponseHead::Lines(lines), BodyLength::Empty)?;
        self.end(None);
        Ok(())
    }
}

/// How a driven call ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The sink has the whole response.
    Complete,
    /// The service or the body failed.
    Failed(BoxError),
    /// The sink refused the response.
    Refused,
}

pin_project! {
    #[project = StageProjection]
    enum Stage<S: HttpService> {
        Idle,
        Waiting { service: S, call: Option<(S::Head, RequestBody)> },
        Calling { #[pin] future: S::Future },
        Sending { #[pin] body: <S::Response as Reply>::Body },
    }
}

pin_project! {
    /// One call on its way. Reusable: after it has ended it may be started again.
    pub(crate) struct Driver<S: HttpService> {
        #[pin]
        stage: Stage<S>,
        is_head: bool,
    }
}

impl<S: HttpService> Driver<S> {
    pub(crate) fn idle() -> Self {
        Driver {
            stage: Stage::Idle,
            is_head: false,
        }
    }

    /// Begins a call that is to be polled later.
    pub(crate) fn start(self: Pin<&mut Self>, service: S, head: S::Head, body: RequestBody) {
        let mut this = self.project();
        *this.is_head = head.is_head();
        let call = Some((head, body));
        this.stage.set(Stage::Waiting { service, call });
    }

    /// Begins a call and polls it once; a service that is ready gets its request without detour.
    ///
    /// Takes the head out of its place, because it is large and moving it is dear.
    ///
    /// # Panics
    /// When there is none.
    #[inline]
    pub(crate) fn start_now(
        self: Pin<&mut Self>,
        mut service: S,
        head: &mut Option<S::Head>,
        body: RequestBody,
        cx: &mut Context<'_>,
        sink: &mut impl Sink,
    ) -> Poll<Ended> {
        match service.poll_ready(cx) {
            Poll::Pending => {
                let head = head.take().expect("a call is made once");
                self.start(service, head, body);
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Ended::Failed(error.into())),
            Poll::Ready(Ok(())) => {}
        }
        self.call_ready(&mut service, head, body, cx, sink)
    }

    /// The same of a service that is left where it is: a clone of it is called, unless that makes no difference.
    ///
    /// # Panics
    /// As [`start_now`](Self::start_now).
    #[inline]
    pub(crate) fn start_beside(
        self: Pin<&mut Self>,
        service: &mut S,
        head: &mut Option<S::Head>,
        body: RequestBody,
        cx: &mut Context<'_>,
        sink: &mut impl Sink,
    ) -> Poll<Ended> {
        match S::is_stateless() {
            true => self.call_ready(service, head, body, cx, sink),
            false => self.start_now(service.clone(), head, body, cx, sink),
        }
    }

    #[inline(always)]
    fn call_ready(
        mut self: Pin<&mut Self>,
        service: &mut S,
        head: &mut Option<S::Head>,
        body: RequestBody,
        cx: &mut Context<'_>,
        sink: &mut impl Sink,
    ) -> Poll<Ended> {
        let mut this = self.as_mut().project();
        *this.is_head = head.as_ref().is_some_and(Fill::is_head);
        let future = service.call(head.take().expect("a call is made once"), body);
        this.stage.set(Stage::Calling { future });
        self.poll(cx, sink)
    }

    /// Sends the body of a response whose head is sent.
    pub(crate) fn start_sending(
        mut self: Pin<&mut Self>,
        body: <S::Response as Reply>::Body,
        cx: &mut Context<'_>,
        sink: &mut impl Sink,
    ) -> Poll<Ended> {
        self.as_mut().project().stage.set(Stage::Sending { body });
        self.poll(cx, sink)
    }

    /// Drops whatever is under way.
    pub(crate) fn stop(self: Pin<&mut Self>) {
        self.project().stage.set(Stage::Idle);
    }

    /// Drives the call as far as it goes now. Once it is ready the driver is idle.
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        sink: &mut impl Sink,
    ) -> Poll<Ended> {
        let ended = ready!(self.as_mut().advance(cx, sink));
        self.stop();
        Poll::Ready(ended)
    }

    fn advance(self: Pin<&mut Self>, cx: &mut Context<'_>, sink: &mut impl Sink) -> Poll<Ended> {
        let mut this = self.project();
        loop {
            match this.stage.as_mut().project() {
                StageProjection::Idle => unreachable!("a driver is started before it is polled"),
                StageProjection::Waiting { service, call } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Ended::Failed(error.into()));
                    }
                    let (head, body) = call.take().expect("a request is called with once");
                    let future = service.call(head, body);
                    this.stage.set(Stage::Calling { future });
                }
                StageProjection::Calling { future } => {
                    let response = match ready!(future.poll(cx)) {
                        Ok(response) => response,
                        Err(error) => return Poll::Ready(Ended::Failed(error.into())),
                    };
                    match send_head(response, *this.is_head, sink) {
                        Ok(Some(body)) => this.stage.set(Stage::Sending { body }),
                        Ok(None) => return Poll::Ready(Ended::Complete),
                        Err(()) => return Poll::Ready(Ended::Refused),
                    }
                }
                StageProjection::Sending { body } => return send_body(body, cx, sink),
            }
        }
    }
}

/// Drivers whose calls have ended, for those to come.
///
/// Calls that do not wait need one. The others are for calls that wait on their shard and end there: as long as one
/// begins when another ends, it takes what that has put back, however many wait. So the stock has to last for bursts
/// only; it is bounded, because what a burst has left in it stays for ever.
pub(crate) struct SpareDrivers<S: HttpService> {
    /// The one that was put back last; nothing else is looked at while calls do not wait.
    last: Option<Pin<Box<Driver<S>>>>,
    /// Those put back before it, with room for all of them.
    rest: Vec<Pin<Box<Driver<S>>>>,
    rest_max: usize,
}

impl<S: HttpService> SpareDrivers<S> {
    pub(crate) fn new() -> Self {
        // A future may be large; one is kept whatever its size.
        let fitting = SPARE_DRIVERS_BYTES_MAX / size_of::<Driver<S>>().max(1);
        let rest_max = fitting.clamp(1, SPARE_DRIVERS_MAX) - 1;
        SpareDrivers {
            last: None,
            rest: Vec::with_capacity(rest_max),
            rest_max,
        }
    }

    /// An idle driver.
    #[inline]
    pub(crate) fn take(&mut self) -> Pin<Box<Driver<S>>> {
        match self.last.take() {
            Some(driver) => driver,
            None => self.take_from_rest(),
        }
    }

    fn take_from_rest(&mut self) -> Pin<Box<Driver<S>>> {
        self.rest.pop().unwrap_or_else(|| Box::pin(Driver::idle()))
    }

    /// Keeps a driver, which must be idle.
    #[inline]
    pub(crate) fn put(&mut self, driver: Pin<Box<Driver<S>>>) {
        debug_assert!(matches!(driver.stage, Stage::Idle));
        if let Some(before) = self.last.replace(driver) {
            self.put_to_rest(before);
        }
    }

    fn put_to_rest(&mut self, driver: Pin<Box<Driver<S>>>) {
        if self.rest.len() < self.rest_max {
            self.rest.push(driver);
        }
    }
}

/// Sends the head; gives back the body if it is to be polled.
#[inline]
pub(crate) fn send_head<P: Reply>(
    response: P,
    is_head: bool,
    sink: &mut impl Sink,
) -> Result<Option<<P as Reply>::Body>, ()> {
    let response = match Apart::into_whole(response) {
        Ok(lines) => return sink.whole(lines).map(|()| None),
        Err(response) => response,
    };
    let (head, body) = Apart::into_parts(response);
    let is_over = body.is_end_stream();
    let length = match is_over {
        true => BodyLength::Empty,
        false => match body.size_hint().exact() {
            Some(bytes) => BodyLength::Known(bytes),
            None => BodyLength::Unknown,
        },
    };
    let is_bodyless = is_head || is_bodyless(head.status()) || is_over;
    if sink.head(head, length)? && !is_bodyless {
        return Ok(Some(body));
    }
    sink.end(None);
    Ok(None)
}

//= https://www.rfc-editor.org/rfc/rfc9112#section-6.3
//# any response with a 1xx (Informational), 204 (No Content), or 304 (Not Modified) status code
//# is always terminated by the first empty line after the header fields
fn is_bodyless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

fn send_body<B>(mut body: Pin<&mut B>, cx: &mut Context<'_>, sink: &mut impl Sink) -> Poll<Ended>
where
    B: Body<Data: Buf, Error: Into<BoxError>>,
{
    loop {
        if !sink.has_room() {
            return Poll::Pending;
        }
        let frame = match ready!(body.as_mut().poll_frame(cx)) {
            None => {
                sink.end(None);
                return Poll::Ready(Ended::Complete);
            }
            Some(Err(error)) => return Poll::Ready(Ended::Failed(error.into())),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                let is_wanted = match data.remaining() {
                    0 => true,
                    _ => sink.data(copies::in_one_piece(Copied::BodyMade, data)),
                };
                if !is_wanted || body.is_end_stream() {
                    sink.end(None);
                    return Poll::Ready(Ended::Complete);
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    sink.end(Some(trailers));
                    return Poll::Ready(Ended::Complete);
                }
                // An unknown kind of frame has no form in HTTP/1.
            }
        }
    }
}
