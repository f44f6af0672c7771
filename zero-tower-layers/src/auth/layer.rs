//! The builder: which check.

use http::header::{HeaderName, HeaderValue, InvalidHeaderName};
use tower_layer::Layer;

use super::service::ZeroAuth;
use super::{AcceptHeader, Basic, Bearer, RequiredHeaderValue};

/// Lets requests pass that stand a check, and answers the others. See the [module](super).
#[derive(Debug, Clone)]
pub struct ZeroAuthLayer<T> {
    validate: T,
}

impl<T> ZeroAuthLayer<T> {
    /// Checks by a [`ValidateRequest`](super::ValidateRequest), such as a closure.
    pub fn custom(validate: T) -> Self {
        Self { validate }
    }
}

impl<ResBody: Default> ZeroAuthLayer<Bearer<ResBody>> {
    /// Asks for a bearer token; else 401. See [`Bearer`].
    ///
    /// # Panics
    /// If the token has bytes that no header value may have.
    pub fn bearer(token: &str) -> Self {
        Self::custom(Bearer::new(token))
    }

    /// See [`Bearer::challenge`].
    pub fn challenge(self, challenge: HeaderValue) -> Self {
        Self::custom(self.validate.challenge(challenge))
    }

    /// See [`Bearer::without_challenge`].
    pub fn without_challenge(self) -> Self {
        Self::custom(self.validate.without_challenge())
    }
}

impl<ResBody: Default> ZeroAuthLayer<Basic<ResBody>> {
    /// Asks for a name and a password; else 401. See [`Basic`].
    pub fn basic(username: &str, password: &str) -> Self {
        Self::custom(Basic::new(username, password))
    }

    /// See [`Basic::challenge`].
    pub fn challenge(self, challenge: HeaderValue) -> Self {
        Self::custom(self.validate.challenge(challenge))
    }

    /// See [`Basic::without_challenge`].
    pub fn without_challenge(self) -> Self {
        Self::custom(self.validate.without_challenge())
    }
}

impl<ResBody: Default> ZeroAuthLayer<AcceptHeader<ResBody>> {
    /// Asks that the client accepts this media type; else 406. See [`AcceptHeader`].
    ///
    /// # Panics
    /// If it is not a media type.
    pub fn accept(value: &str) -> Self {
        Self::custom(AcceptHeader::new(value))
    }
}

impl<ResBody: Default> ZeroAuthLayer<RequiredHeaderValue<ResBody>> {
    /// Asks for a header with this value; else 403. See [`RequiredHeaderValue`].
    ///
    /// # Errors
    /// If the name is not a header's.
    pub fn has_header_value(name: &str, value: &str) -> Result<Self, InvalidHeaderName> {
        let name: HeaderName = name.parse()?;
        Ok(Self::custom(RequiredHeaderValue::new(name, value)))
    }
}

impl<S, T: Clone> Layer<S> for ZeroAuthLayer<T> {
    type Service = ZeroAuth<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroAuth::custom(inner, self.validate.clone())
    }
}
