//! What a check is, and what all checks here share.
//!
//! Knows requests and the answers to them; knows no service and no future.

use http::header::HeaderMap;
use http::{Request, Response, StatusCode};
use subtle::{Choice, ConstantTimeEq as _};

/// Lets a request pass, or answers it.
///
/// Closures of `&mut Request<B>` that return such a result are checks.
pub trait ValidateRequest<B> {
    /// The body of the answer to a request that may not pass.
    type ResponseBody;

    /// Checks a request, and may change it.
    ///
    /// # Errors
    /// The answer, if the request may not pass.
    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<Self::ResponseBody>>;

    /// As [`validate`](Self::validate), for a request that is dropped if it may not pass: what it owns
    /// may go into the answer. This is what the layer calls. Default: `validate`.
    ///
    /// # Errors
    /// The answer, if the request may not pass.
    fn validate_last(
        &mut self,
        request: &mut Request<B>,
    ) -> Result<(), Response<Self::ResponseBody>> {
        self.validate(request)
    }
}

impl<B, F, ResBody> ValidateRequest<B> for F
where
    F: FnMut(&mut Request<B>) -> Result<(), Response<ResBody>>,
{
    type ResponseBody = ResBody;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<ResBody>> {
        self(request)
    }
}

/// Whether a value is the one expected. The time it takes depends on their lengths alone.
///
/// Eight bytes at a time, for a comparison that the optimiser must leave alone costs as much for eight as
/// for one.
pub(super) fn is_secret(actual: &[u8], expected: &[u8]) -> bool {
    if actual.len() != expected.len() {
        return false;
    }
    let (words, expected_words) = (actual.as_chunks::<8>().0, expected.as_chunks::<8>().0);
    let words = words.iter().zip(expected_words);
    let same = match (actual.last_chunk::<8>(), expected.last_chunk::<8>()) {
        // What is left behind the words is compared with the end of the last of them once more.
        (Some(last), Some(expected_last)) => words
            .chain([(last, expected_last)])
            .fold(Choice::from(1), |same, (a, b)| {
                same & u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b))
            }),
        _ => actual.ct_eq(expected),
    };
    same.into()
}

/// Whether a value is text as `HeaderValue::to_str` has it.
pub(super) fn is_text(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// An answer with this status and nothing else.
pub(super) fn refusal<B: Default>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    response
}

/// Takes the header map of a request that is done with, empty, for its answer.
pub(super) fn take_map<B>(request: &mut Request<B>) -> HeaderMap {
    let mut headers = std::mem::take(request.headers_mut());
    headers.clear();
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_and_nothing_that_differs_in_a_byte_or_in_length() {
        for len in 0..40 {
            let secret: Vec<u8> = (0..len).map(|n| b'a' + n % 26).collect();
            assert!(is_secret(&secret, &secret));
            for at in 0..secret.len() {
                let mut other = secret.clone();
                other[at] ^= 1 << (at % 8);
                assert!(!is_secret(&other, &secret), "{at} of {len}");
            }
            assert!(!is_secret(&[&secret[..], b"\0"].concat(), &secret));
        }
    }
}
