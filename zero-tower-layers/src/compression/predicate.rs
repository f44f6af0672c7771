//! Which responses are worth compressing.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Extensions, HeaderMap, Response, StatusCode, Version};
use http_body::Body;

/// Says whether a response is to be compressed. Responses that are encoded already or are a range are
/// not asked about.
///
/// Closures of `(StatusCode, Version, &HeaderMap, &Extensions) -> bool` are predicates, and so is an
/// `Option` of one, in which `None` says yes.
pub trait Predicate: Clone {
    /// Whether to compress `response`.
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool;

    /// Whether it says no to every response with a body of so many bytes: their heads are not looked at
    /// then. Default: `false`.
    fn refuses_size(&self, body_bytes: u64) -> bool {
        let _ = body_bytes;
        false
    }

    /// Says yes where both say yes. The second is asked only if the first says yes.
    fn and<Other: Predicate>(self, other: Other) -> And<Self, Other>
    where
        Self: Sized,
    {
        And {
            first: self,
            second: other,
        }
    }
}

impl<F> Predicate for F
where
    F: Fn(StatusCode, Version, &HeaderMap, &Extensions) -> bool + Clone,
{
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        self(
            response.status(),
            response.version(),
            response.headers(),
            response.extensions(),
        )
    }
}

impl<P: Predicate> Predicate for Option<P> {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        self.as_ref().is_none_or(|p| p.should_compress(response))
    }

    fn refuses_size(&self, body_bytes: u64) -> bool {
        self.as_ref().is_some_and(|p| p.refuses_size(body_bytes))
    }
}

/// What [`Predicate::and`] returns.
#[derive(Debug, Clone, Copy, Default)]
pub struct And<First, Second> {
    first: First,
    second: Second,
}

impl<First: Predicate, Second: Predicate> Predicate for And<First, Second> {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        self.first.should_compress(response) && self.second.should_compress(response)
    }

    fn refuses_size(&self, body_bytes: u64) -> bool {
        // Not the second's: the first would have been asked before it, and may be told something by that.
        self.first.refuses_size(body_bytes)
    }
}

/// Bodies of 32 bytes or more that are not gRPC, images or server-sent events:
/// [`SizeAbove`], [`NotForContentType::GRPC`], [`IMAGES`](NotForContentType::IMAGES) and
/// [`SSE`](NotForContentType::SSE).
#[derive(Debug, Clone, Default)]
pub struct DefaultPredicate {
    size: SizeAbove,
}

impl DefaultPredicate {
    /// The predicate.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Predicate for DefaultPredicate {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        // The size first: it is at hand, and settles the matter for most short answers.
        self.size.should_compress(response) && {
            let content_type = content_type(response);
            NotForContentType::GRPC.permits(content_type)
                && NotForContentType::IMAGES.permits(content_type)
                && NotForContentType::SSE.permits(content_type)
        }
    }

    fn refuses_size(&self, body_bytes: u64) -> bool {
        self.size.refuses_size(body_bytes)
    }
}

/// Bodies of at least so many bytes, and bodies of unknown size.
#[derive(Debug, Clone, Copy)]
pub struct SizeAbove {
    bytes_min: u64,
}

impl SizeAbove {
    /// Compresses bodies of `min_size_bytes` or more. Default: 32.
    pub const fn new(min_size_bytes: u64) -> Self {
        Self {
            bytes_min: min_size_bytes,
        }
    }
}

impl Default for SizeAbove {
    fn default() -> Self {
        Self::new(32)
    }
}

impl Predicate for SizeAbove {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        let said = || {
            let length = response.headers().get(CONTENT_LENGTH)?;
            length.to_str().ok()?.parse().ok()
        };
        let size = response.body().size_hint().exact().or_else(said);
        size.is_none_or(|size| size >= self.bytes_min)
    }

    fn refuses_size(&self, body_bytes: u64) -> bool {
        body_bytes < self.bytes_min
    }
}

/// Responses whose content type does not begin with a given text.
#[derive(Debug, Clone)]
pub struct NotForContentType {
    prefix: Prefix,
    exception: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum Prefix {
    Static(&'static str),
    Shared(Arc<str>),
}

impl NotForContentType {
    /// Not gRPC, which compresses by itself; but gRPC-Web.
    pub const GRPC: Self = Self {
        prefix: Prefix::Static("application/grpc"),
        exception: Some("application/grpc-web"),
    };

    /// Not images, which are compressed; but SVG.
    pub const IMAGES: Self = Self {
        prefix: Prefix::Static("image/"),
        exception: Some("image/svg+xml"),
    };

    /// Not server-sent events.
    pub const SSE: Self = Self::const_new("text/event-stream");

    /// Not types that begin with `content_type`.
    pub fn new(content_type: &str) -> Self {
        Self {
            prefix: Prefix::Shared(content_type.into()),
            exception: None,
        }
    }

    /// Not types that begin with `content_type`.
    pub const fn const_new(content_type: &'static str) -> Self {
        Self {
            prefix: Prefix::Static(content_type),
            exception: None,
        }
    }

    fn permits(&self, content_type: &str) -> bool {
        let prefix = match &self.prefix {
            Prefix::Static(prefix) => prefix,
            Prefix::Shared(prefix) => &**prefix,
        };
        !content_type.starts_with(prefix)
            || self
                .exception
                .is_some_and(|exception| content_type.starts_with(exception))
    }
}

impl Predicate for NotForContentType {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        self.permits(content_type(response))
    }
}

fn content_type<B>(response: &Response<B>) -> &str {
    let value = response.headers().get(CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}
