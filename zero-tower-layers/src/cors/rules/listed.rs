//! Rules that are a list of names, or the request's own list.

use std::fmt;

use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{Any, joined, wildcard};

/// A list of tokens, encoded, or the value of a request header.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::cors) enum Listed {
    Const(Option<HeaderValue>),
    Mirror(HeaderName),
}

impl Listed {
    fn any() -> Self {
        Listed::Const(Some(wildcard()))
    }

    fn list<T: AsRef<[u8]>>(items: impl IntoIterator<Item = T>) -> Self {
        Listed::Const(joined(items, ","))
    }

    /// The header's value for a request, if it gets one.
    pub(in crate::cors) fn value(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Listed::Const(value) => value.clone(),
            Listed::Mirror(name) => request.get(name).cloned(),
        }
    }

    pub(in crate::cors) fn is_wildcard(&self) -> bool {
        matches!(self, Listed::Const(Some(value)) if value == "*")
    }

    pub(in crate::cors) fn is_mirror(&self) -> bool {
        matches!(self, Listed::Mirror(_))
    }
}

impl Default for Listed {
    fn default() -> Self {
        Listed::Const(None)
    }
}

impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listed::Const(value) => f.debug_tuple("Const").field(value).finish(),
            Listed::Mirror(_) => f.write_str("MirrorRequest"),
        }
    }
}

/// The methods a preflight answer allows: `access-control-allow-methods`.
///
/// The default sends no such header.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct AllowMethods(pub(in crate::cors) Listed);

impl AllowMethods {
    /// Allows all methods, by `*`.
    pub fn any() -> Self {
        Self(Listed::any())
    }

    /// Allows one method.
    pub fn exact(method: Method) -> Self {
        Self::list([method])
    }

    /// Allows the methods named. An empty list sends no header.
    pub fn list<I: IntoIterator<Item = Method>>(methods: I) -> Self {
        let methods: Vec<Method> = methods.into_iter().collect();
        Self(Listed::list(methods.iter().map(Method::as_str)))
    }

    /// Allows the method the preflight asks for, if it asks.
    pub fn mirror_request() -> Self {
        Self(Listed::Mirror(header::ACCESS_CONTROL_REQUEST_METHOD))
    }
}

impl From<Any> for AllowMethods {
    fn from(_: Any) -> Self {
        Self::any()
    }
}

impl From<Method> for AllowMethods {
    fn from(method: Method) -> Self {
        Self::exact(method)
    }
}

impl<const N: usize> From<[Method; N]> for AllowMethods {
    fn from(methods: [Method; N]) -> Self {
        Self::list(methods)
    }
}

impl From<Vec<Method>> for AllowMethods {
    fn from(methods: Vec<Method>) -> Self {
        Self::list(methods)
    }
}

/// The request headers a preflight answer allows: `access-control-allow-headers`.
///
/// The default sends no such header.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct AllowHeaders(pub(in crate::cors) Listed);

impl AllowHeaders {
    /// Allows all headers, by `*`; it does not cover `authorization`.
    pub fn any() -> Self {
        Self(Listed::any())
    }

    /// Allows the headers named. An empty list sends no header.
    pub fn list<I: IntoIterator<Item = HeaderName>>(headers: I) -> Self {
        Self(Listed::list(headers))
    }

    /// Allows the headers the preflight asks for, if it asks.
    pub fn mirror_request() -> Self {
        Self(Listed::Mirror(header::ACCESS_CONTROL_REQUEST_HEADERS))
    }
}

/// The response headers a script may read: `access-control-expose-headers`.
///
/// The default sends no such header.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct ExposeHeaders(pub(in crate::cors) Listed);

impl ExposeHeaders {
    /// Exposes all headers, by `*`.
    pub fn any() -> Self {
        Self(Listed::any())
    }

    /// Exposes the headers named. An empty list sends no header.
    pub fn list<I: IntoIterator<Item = HeaderName>>(headers: I) -> Self {
        Self(Listed::list(headers))
    }
}

/// The conversions of a rule that is a list of header names.
macro_rules! from_header_names {
    ($rule:ty) => {
        impl From<Any> for $rule {
            fn from(_: Any) -> Self {
                Self::any()
            }
        }

        impl<const N: usize> From<[HeaderName; N]> for $rule {
            fn from(headers: [HeaderName; N]) -> Self {
                Self::list(headers)
            }
        }

        impl From<Vec<HeaderName>> for $rule {
            fn from(headers: Vec<HeaderName>) -> Self {
                Self::list(headers)
            }
        }
    };
}

from_header_names!(AllowHeaders);
from_header_names!(ExposeHeaders);
