//! The builder: rules by name, checked when the layer is applied.

use tower_layer::Layer;

use super::policy::Policy;
use super::service::ZeroCors;
use super::{
    AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, AllowPrivateNetwork, Any,
    ExposeHeaders, MaxAge, Vary,
};
use crate::kept::Kept;

/// Adds CORS headers to responses and answers preflights. See the [module](super).
///
/// [`new`](Self::new) allows nothing; each method allows something.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ZeroCorsLayer {
    pub(super) allow_credentials: AllowCredentials,
    pub(super) allow_headers: AllowHeaders,
    pub(super) allow_methods: AllowMethods,
    pub(super) allow_origin: AllowOrigin,
    pub(super) allow_private_network: AllowPrivateNetwork,
    pub(super) expose_headers: ExposeHeaders,
    pub(super) max_age: MaxAge,
    /// `None`: the names follow from the rules.
    pub(super) vary: Option<Vary>,
    is_counted: bool,
}

impl ZeroCorsLayer {
    /// Allows nothing: responses get `vary: origin` and no other CORS header.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows all methods, request headers and origins, and exposes all response headers, each by `*`.
    /// No credentials.
    pub fn permissive() -> Self {
        Self::new()
            .allow_headers(Any)
            .allow_methods(Any)
            .allow_origin(Any)
            .expose_headers(Any)
    }

    /// Allows credentials, and whatever method, request headers and origin a request names.
    pub fn very_permissive() -> Self {
        Self::new()
            .allow_credentials(true)
            .allow_headers(AllowHeaders::mirror_request())
            .allow_methods(AllowMethods::mirror_request())
            .allow_origin(AllowOrigin::mirror_request())
    }

    /// Sets [`AllowCredentials`]. Default: not said.
    pub fn allow_credentials<T: Into<AllowCredentials>>(mut self, allow_credentials: T) -> Self {
        self.allow_credentials = allow_credentials.into();
        self
    }

    /// Sets [`AllowHeaders`], for preflights. Default: not said.
    ///
    /// `*` does not cover `authorization`, which must be named.
    pub fn allow_headers<T: Into<AllowHeaders>>(mut self, headers: T) -> Self {
        self.allow_headers = headers.into();
        self
    }

    /// Sets [`MaxAge`], for preflights. Default: not said, and browsers take 5 seconds.
    pub fn max_age<T: Into<MaxAge>>(mut self, max_age: T) -> Self {
        self.max_age = max_age.into();
        self
    }

    /// Sets [`AllowMethods`], for preflights. Default: not said.
    pub fn allow_methods<T: Into<AllowMethods>>(mut self, methods: T) -> Self {
        self.allow_methods = methods.into();
        self
    }

    /// Sets [`AllowOrigin`]. Default: no origin.
    pub fn allow_origin<T: Into<AllowOrigin>>(mut self, origin: T) -> Self {
        self.allow_origin = origin.into();
        self
    }

    /// Sets [`ExposeHeaders`], for responses that are not preflights'. Default: not said.
    pub fn expose_headers<T: Into<ExposeHeaders>>(mut self, headers: T) -> Self {
        self.expose_headers = headers.into();
        self
    }

    /// Sets [`AllowPrivateNetwork`]. Default: not said.
    pub fn allow_private_network<T: Into<AllowPrivateNetwork>>(mut self, allow: T) -> Self {
        self.allow_private_network = allow.into();
        self
    }

    /// Names the request headers that responses depend on. Default: those of `origin`,
    /// `access-control-request-method` and `access-control-request-headers` whose rule asks the
    /// request.
    pub fn vary<T: Into<Vary>>(mut self, headers: T) -> Self {
        self.vary = Some(headers.into());
        self
    }

    /// Frees the rules with the last service that has them, as tower-http does. By default the first of a
    /// program's are kept until it ends, equal ones once, unless there is a predicate among them; counting who
    /// has them costs each request a little.
    pub fn counted(mut self) -> Self {
        self.is_counted = true;
        self
    }

    /// Whether both are made of the same constants. What has a predicate is the same as nothing.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.allow_credentials.is_same(&other.allow_credentials)
            && self.allow_headers.0 == other.allow_headers.0
            && self.allow_methods.0 == other.allow_methods.0
            && self.allow_origin.is_same(&other.allow_origin)
            && self
                .allow_private_network
                .is_same(&other.allow_private_network)
            && self.expose_headers.0 == other.expose_headers.0
            && self.max_age.is_same(&other.max_age)
    }
}

impl<S> Layer<S> for ZeroCorsLayer {
    type Service = ZeroCors<S>;

    /// # Panics
    /// When credentials are allowed for all requests together with a `*`, which browsers refuse.
    fn layer(&self, inner: S) -> Self::Service {
        let policy = Policy::new(self.clone());
        policy.assert_usable();
        // A predicate may hold what is waited for to be dropped.
        let policy = match self.is_counted || policy.has_predicates_for_preflights() {
            true => Kept::counted(policy),
            false => Kept::new(policy),
        };
        ZeroCors::with_policy(inner, policy)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method};

    use super::*;
    use crate::cors::AllowOrigin;

    fn policy(layer: &ZeroCorsLayer) -> *const Policy {
        // Kept for good, so that the address stays another's.
        let service = Box::leak(Box::new(layer.layer(())));
        &*service.policy
    }

    /// `Router::layer` applies a clone of the layer to each route.
    #[test]
    fn layers_that_say_the_same_share_a_policy() {
        let listed = || {
            ZeroCorsLayer::new()
                .allow_origin([HeaderValue::from_static("https://a")])
                .allow_methods([Method::GET])
        };
        let layer = listed();
        assert_eq!(policy(&layer), policy(&layer.clone()));
        assert_eq!(policy(&layer), policy(&listed()));
    }

    #[test]
    fn layers_that_differ_share_none() {
        let exact = |mark| {
            let mut origin = HeaderValue::from_static("https://a");
            origin.set_sensitive(mark);
            ZeroCorsLayer::new().allow_origin(origin)
        };
        let layers = [
            exact(false),
            exact(true),
            exact(false).allow_methods(Any),
            exact(false).allow_credentials(true),
            exact(false).allow_private_network(true),
            exact(false).expose_headers(Any),
            exact(false).allow_headers(Any),
            exact(false).max_age(std::time::Duration::from_secs(1)),
            exact(false).vary([http::header::ACCEPT]),
            // The same value as without saying so, and kept by a service that is told more.
            exact(false).vary([]),
            exact(false).allow_origin(AllowOrigin::predicate(|_, _| true)),
            exact(false).counted(),
        ];
        let policies: Vec<_> = layers.iter().map(policy).collect();
        for (at, one) in policies.iter().enumerate() {
            assert!(!policies[at + 1..].contains(one), "{:?}", layers[at]);
        }
    }
}
