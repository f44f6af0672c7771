//! The tower shell: asks the policy, calls the service, writes the answer down.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::HeaderMap;
use http::{Method, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::policy::{Decision, Policy, put_origin};
use super::rules::Head;
use super::{
    AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, AllowPrivateNetwork, ExposeHeaders,
    MaxAge, ZeroCorsLayer,
};
use crate::kept::Kept;

/// The service of [`ZeroCorsLayer`]. See the [module](super).
#[derive(Debug, Clone)]
#[must_use]
pub struct ZeroCors<S> {
    pub(super) inner: S,
    pub(super) policy: Kept<Policy>,
}

impl<S> ZeroCors<S> {
    /// Wraps a service and allows nothing; see [`ZeroCorsLayer::new`]. Until a rule is set, `vary`
    /// names all three headers of a preflight.
    pub fn new(inner: S) -> Self {
        Self::untouched(inner, ZeroCorsLayer::new())
    }

    /// Wraps a service; see [`ZeroCorsLayer::permissive`], and [`new`](Self::new) for `vary`.
    pub fn permissive(inner: S) -> Self {
        Self::untouched(inner, ZeroCorsLayer::permissive())
    }

    /// Wraps a service; see [`ZeroCorsLayer::very_permissive`], and [`new`](Self::new) for `vary`.
    pub fn very_permissive(inner: S) -> Self {
        Self::untouched(inner, ZeroCorsLayer::very_permissive())
    }

    /// The same as [`ZeroCorsLayer::new`].
    pub fn layer() -> ZeroCorsLayer {
        ZeroCorsLayer::new()
    }

    inner_accessors!();

    pub(super) fn with_policy(inner: S, policy: Kept<Policy>) -> Self {
        Self { inner, policy }
    }

    fn untouched(inner: S, rules: ZeroCorsLayer) -> Self {
        Self::with_policy(inner, Kept::counted(Policy::untouched(rules)))
    }

    fn map_rules(self, change: impl FnOnce(ZeroCorsLayer) -> ZeroCorsLayer) -> Self {
        let rules = self.policy.rules().clone();
        Self::with_policy(self.inner, Kept::counted(Policy::new(change(rules))))
    }
}

/// The layer's builder methods, on the service.
macro_rules! rules {
    ($($method:ident: $rule:ident,)*) => {
        impl<S> ZeroCors<S> {
            $(
                #[doc = concat!("See [`ZeroCorsLayer::", stringify!($method), "`].")]
                pub fn $method<T: Into<$rule>>(self, rule: T) -> Self {
                    self.map_rules(|rules| rules.$method(rule))
                }
            )*
        }
    };
}

rules! {
    allow_credentials: AllowCredentials,
    allow_headers: AllowHeaders,
    max_age: MaxAge,
    allow_methods: AllowMethods,
    allow_origin: AllowOrigin,
    expose_headers: ExposeHeaders,
    allow_private_network: AllowPrivateNetwork,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for ZeroCors<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    /// # Panics
    /// As [`ZeroCorsLayer`] does when it is applied, for services that were made without it.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.policy.assert_usable();
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        if request.method() == Method::OPTIONS {
            return ResponseFuture {
                kind: preflight(&self.policy, request),
            };
        }
        let decision = if self.policy.has_predicates() {
            let (parts, body) = request.into_parts();
            let decision = self.policy.decide(Head::whole(&parts));
            request = Request::from_parts(parts, body);
            decision
        } else {
            self.policy.decide(Head::without_parts(request.headers()))
        };
        ResponseFuture {
            kind: Kind::Call {
                future: self.inner.call(request),
                decision,
                policy: self.policy.clone(),
            },
        }
    }
}

#[cold]
fn preflight<F, B>(policy: &Policy, request: Request<B>) -> Kind<F> {
    let (decision, headers) = policy.preflight(request.into_parts().0);
    Kind::Preflight { decision, headers }
}

pin_project! {
    /// The future of [`ZeroCors`].
    pub struct ResponseFuture<F> {
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

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Default,
{
    type Output = Result<Response<B>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProj::Call {
                future,
                decision,
                policy,
            } => {
                ready!(decision.origin.poll_known(cx));
                // The response is changed where it lies: it is large, and moving it is most of the cost.
                let mut answer = future.poll(cx);
                if let Poll::Ready(Ok(response)) = &mut answer {
                    let origin = ready!(decision.origin.poll_known(cx)).take();
                    policy.answer(decision, origin, response.headers_mut());
                }
                answer
            }
            KindProj::Preflight { decision, headers } => {
                let origin = ready!(decision.origin.poll_known(cx)).take();
                put_origin(headers, origin);
                let mut response = Response::new(B::default());
                std::mem::swap(response.headers_mut(), headers);
                Poll::Ready(Ok(response))
            }
        }
    }
}
