//! The shell over zero-runtime's own requests: the policy is given the few headers it reads, and what it
//! writes is copied into the response.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use http::{Method, Request, request};
use pin_project_lite::pin_project;
use tower_service::Service;
use zero_runtime::{HttpOwnedRequest, ZeroResponse};

use super::ZeroCors;
use super::policy::{Decision, Policy, put_origin};
use super::rules::{Head, PRIVATE_NETWORK_ASKED};
use crate::kept::Kept;

thread_local! {
    static MAP: RefCell<HeaderMap> = RefCell::new(HeaderMap::new());
}

/// Lends the thread's header map, empty, so that its memory is taken once. Nothing that `use_it` calls
/// comes here again.
fn with_map<T>(use_it: impl FnOnce(&mut HeaderMap) -> T) -> T {
    let mut map = MAP.take();
    map.clear();
    let used = use_it(&mut map);
    MAP.set(map);
    used
}

/// What a request means for its response. Predicates are given the whole head; other rules read two
/// headers of it.
fn decide(policy: &Policy, request: &HttpOwnedRequest) -> Decision {
    if policy.has_predicates() {
        return policy.decide(Head::whole(&parts_of(request)));
    }
    with_map(|map| {
        read([ORIGIN, PRIVATE_NETWORK_ASKED], request, map);
        policy.decide(Head::without_parts(map))
    })
}

/// Answers a preflight, in the thread's map: [`give_back`] it.
fn preflight(policy: &Policy, request: &HttpOwnedRequest) -> (Decision, HeaderMap) {
    if policy.has_predicates_for_preflights() {
        return policy.preflight(parts_of(request));
    }
    let asked = [
        ORIGIN,
        PRIVATE_NETWORK_ASKED,
        ACCESS_CONTROL_REQUEST_METHOD,
        ACCESS_CONTROL_REQUEST_HEADERS,
    ];
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = MAP.take();
    parts.headers.clear();
    read(asked, request, &mut parts.headers);
    policy.preflight(parts)
}

/// Gives the thread a map whose memory is to be used again.
fn give_back(map: &mut HeaderMap) {
    MAP.set(std::mem::take(map));
}

/// The first value of each header, as rules ask for them.
fn read<const N: usize>(names: [HeaderName; N], request: &HttpOwnedRequest, into: &mut HeaderMap) {
    for name in names {
        if let Some(value) = request.header_value(&name) {
            into.append(name, value);
        }
    }
}

/// The head in `http`'s types; of one that they cannot express, which no browser sends, the method alone.
fn parts_of(request: &HttpOwnedRequest) -> request::Parts {
    let head = request.http_head();
    head.unwrap_or_else(|_| Request::new(())).into_parts().0
}

impl<S> Service<HttpOwnedRequest> for ZeroCors<S>
where
    S: Service<HttpOwnedRequest, Response = ZeroResponse>,
{
    type Response = ZeroResponse;
    type Error = S::Error;
    type Future = OwnedResponseFuture<S::Future>;

    /// # Panics
    /// As [`ZeroCorsLayer`](super::ZeroCorsLayer) does when it is applied, for services that were made
    /// without it.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.policy.assert_usable();
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: HttpOwnedRequest) -> Self::Future {
        let kind = if request.method() == Method::OPTIONS.as_str() {
            let (decision, headers) = preflight(&self.policy, &request);
            Kind::Preflight { decision, headers }
        } else {
            Kind::Call {
                decision: decide(&self.policy, &request),
                future: self.inner.call(request),
                policy: self.policy.clone(),
            }
        };
        OwnedResponseFuture { kind }
    }
}

pin_project! {
    /// The future of [`ZeroCors`] over requests of the server's own kind.
    pub struct OwnedResponseFuture<F> {
        #[pin]
        kind: Kind<F>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<F> {
        Call {
            #[pin]
            future: F,
            decision: Decision,
            policy: Kept<Policy>,
        },
        Preflight {
            decision: Decision,
            headers: HeaderMap,
        },
    }
}

impl<F, E> Future for OwnedResponseFuture<F>
where
    F: Future<Output = Result<ZeroResponse, E>>,
{
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Call {
                future,
                decision,
                policy,
            } => {
                ready!(decision.origin.poll_known(cx));
                let mut response = ready!(future.poll(cx))?;
                let origin = ready!(decision.origin.poll_known(cx)).take();
                with_map(|headers| {
                    policy.answer(decision, origin, headers);
                    headers
                        .iter()
                        .for_each(|(name, value)| write(&mut response, name, value));
                });
                Poll::Ready(Ok(response))
            }
            KindProj::Preflight { decision, headers } => {
                let origin = ready!(decision.origin.poll_known(cx)).take();
                put_origin(headers, origin);
                let mut response = ZeroResponse::ok();
                headers
                    .iter()
                    .for_each(|(name, value)| write(&mut response, name, value));
                give_back(headers);
                Poll::Ready(Ok(response))
            }
        }
    }
}

/// `vary` joins what is there, the others replace it.
fn write(response: &mut ZeroResponse, name: &HeaderName, value: &HeaderValue) {
    match *name == VARY {
        true => response.append_header(name, value),
        false => response.insert_header(name, value),
    }
}
