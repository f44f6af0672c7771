//! The check of `accept`: whether the client takes what the service makes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::header::{ACCEPT, HeaderValue};
use http::{Request, Response, StatusCode};
use mime::{Mime, MimeIter};

use super::policy::{ValidateRequest, is_text, refusal};

/// Asks that `accept`, if there is one, names the media type given, its range or `*/*`; else 406.
///
/// As tower-http, it looks at types and subtypes alone: not at weights, nor at other parameters, nor
/// at the suffix behind a `+`.
pub struct AcceptHeader<ResBody> {
    offered: Arc<Mime>,
    body: PhantomData<fn() -> ResBody>,
}

impl<ResBody> AcceptHeader<ResBody> {
    /// # Panics
    /// If it is no media type.
    pub(super) fn new(media_type: &str) -> Self {
        let offered: Mime = media_type
            .parse()
            .unwrap_or_else(|error| panic!("`{media_type}` is not a media type: {error}"));
        Self {
            offered: Arc::new(offered),
            body: PhantomData,
        }
    }
}

impl<B, ResBody: Default> ValidateRequest<B> for AcceptHeader<ResBody> {
    type ResponseBody = ResBody;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<ResBody>> {
        let lines = request.headers().get_all(ACCEPT).iter();
        match self.is_accepted(lines.map(HeaderValue::as_bytes)) {
            true => Ok(()),
            false => Err(refusal(StatusCode::NOT_ACCEPTABLE)),
        }
    }
}

impl<ResBody> AcceptHeader<ResBody> {
    /// Whether a request with these values of `accept` takes what is offered.
    pub(super) fn is_accepted<'a>(&self, lines: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut lines = lines.peekable();
        lines.peek().is_none()
            || lines
                .filter(|line| is_text(line))
                .filter_map(|line| str::from_utf8(line).ok())
                .any(|line| is_accepted_by(&self.offered, line))
    }
}

/// Reads a list that is spelt as everybody spells it without taking memory. Any other is left to the
/// `mime` crate, which takes some, so that it is understood as tower-http understands it.
fn is_accepted_by(offered: &Mime, line: &str) -> bool {
    if line.split(',').all(|item| plain(item).is_some()) {
        let mut items = line.split(',').filter_map(plain);
        items.any(|(kind, subtype)| covers(offered, kind, subtype))
    } else {
        MimeIter::new(line)
            .filter_map(Result::ok)
            .any(|item| covers(offered, item.type_().as_str(), item.subtype().as_str()))
    }
}

/// Whether a media range covers the type on offer.
fn covers(offered: &Mime, kind: &str, subtype: &str) -> bool {
    let is_kind = kind.eq_ignore_ascii_case(offered.type_().as_str());
    let is_subtype = subtype.eq_ignore_ascii_case(offered.subtype().as_str());
    is_kind && (is_subtype || subtype == "*") || kind == "*" && subtype == "*"
}

/// Type and subtype of `type/subtype;name=value`, without quotes, and with no space but before it or
/// behind a semicolon.
fn plain(item: &str) -> Option<(&str, &str)> {
    let mut parts = item.trim_start_matches(' ').split(';');
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let are_plain = parts.all(|parameter| {
        let parameter = parameter.trim_start_matches(' ').split_once('=');
        parameter.is_some_and(|(name, value)| is_token(name) && is_token(value))
    });
    // What stands behind the last `+` is a suffix, which no one asks for.
    let subtype_proper = match subtype.rfind('+') {
        Some(0) | None => subtype,
        Some(plus) => &subtype[..plus],
    };
    (are_plain && is_token(kind) && is_token(subtype)).then_some((kind, subtype_proper))
}

/// RFC 9110 §5.6.2, but for what `mime` thinks otherwise of.
fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+*".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

impl<ResBody> Clone for AcceptHeader<ResBody> {
    fn clone(&self) -> Self {
        Self {
            offered: self.offered.clone(),
            body: PhantomData,
        }
    }
}

impl<ResBody> fmt::Debug for AcceptHeader<ResBody> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AcceptHeader").field(&self.offered).finish()
    }
}
