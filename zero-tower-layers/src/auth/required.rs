//! The check for a header with one value.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::header::{HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};

use super::policy::{ValidateRequest, is_secret, is_text, refusal};

/// Asks for a header whose first value is the one given; else 403.
pub struct RequiredHeaderValue<ResBody> {
    name: HeaderName,
    value: Arc<str>,
    body: PhantomData<fn() -> ResBody>,
}

impl<ResBody> RequiredHeaderValue<ResBody> {
    pub(super) fn new(name: HeaderName, value: &str) -> Self {
        Self {
            name,
            value: value.into(),
            body: PhantomData,
        }
    }
}

impl<ResBody> RequiredHeaderValue<ResBody> {
    pub(super) fn name(&self) -> &HeaderName {
        &self.name
    }

    /// Whether the value is what a request has. As tower-http: one that is not printable ASCII matches
    /// nothing, be it the same.
    pub(super) fn is(&self, actual: Option<&[u8]>) -> bool {
        actual.is_some_and(|actual| is_secret(actual, self.value.as_bytes()) && is_text(actual))
    }
}

impl<B, ResBody: Default> ValidateRequest<B> for RequiredHeaderValue<ResBody> {
    type ResponseBody = ResBody;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<ResBody>> {
        let actual = request.headers().get(self.name());
        match self.is(actual.map(HeaderValue::as_bytes)) {
            true => Ok(()),
            false => Err(refusal(StatusCode::FORBIDDEN)),
        }
    }
}

impl<ResBody> Clone for RequiredHeaderValue<ResBody> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            value: self.value.clone(),
            body: PhantomData,
        }
    }
}

impl<ResBody> fmt::Debug for RequiredHeaderValue<ResBody> {
    /// Without the value, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequiredHeaderValue")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
