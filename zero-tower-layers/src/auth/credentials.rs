//! The checks of `authorization`: one token, or one name with its password.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};

use super::policy::{ValidateRequest, is_secret, refusal, take_map};
use crate::kept::{Kept, Same, is_same_value};

/// What `authorization` must be, and what is said of it where it is not.
pub(super) struct Credentials {
    expected: HeaderValue,
    challenge: Option<HeaderValue>,
}

impl Credentials {
    fn new(expected: HeaderValue, scheme: &'static str) -> Self {
        Self {
            expected,
            challenge: Some(HeaderValue::from_static(scheme)),
        }
    }

    /// # Panics
    /// If the token is not to be had in a header.
    fn bearer(token: &str) -> Self {
        let expected = HeaderValue::try_from(format!("Bearer {token}"));
        let expected = expected.expect("the bearer token has a byte that no header value may have");
        Self::new(expected, "Bearer")
    }

    fn basic(username: &str, password: &str) -> Self {
        let encoded = BASE64.encode(format!("{username}:{password}"));
        let expected = HeaderValue::try_from(format!("Basic {encoded}"));
        Self::new(expected.expect("base64 is ASCII"), "Basic")
    }

    fn are_in(&self, request: &HeaderMap) -> bool {
        let actual = request.get(AUTHORIZATION);
        self.are(actual.map(HeaderValue::as_bytes))
    }

    /// Whether they are what a request has as `authorization`.
    pub(super) fn are(&self, actual: Option<&[u8]>) -> bool {
        actual.is_some_and(|actual| is_secret(actual, self.expected.as_bytes()))
    }

    /// What an answer with 401 says.
    #[cfg(feature = "zero-runtime")]
    pub(super) fn challenge(&self) -> Option<&HeaderValue> {
        self.challenge.as_ref()
    }

    /// RFC 9110 §11.6.1: an answer with 401 must have a challenge.
    fn refuse<B: Default>(&self, mut headers: HeaderMap) -> Response<B> {
        if let Some(challenge) = &self.challenge {
            headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        let mut response = refusal(StatusCode::UNAUTHORIZED);
        *response.headers_mut() = headers;
        response
    }
}

impl Same for Credentials {
    /// Not in constant time: it is asked when layers are made, of the program's own secrets.
    fn is_same(&self, other: &Self) -> bool {
        let challenges = (&self.challenge, &other.challenge);
        let has_same_challenge = match challenges {
            (Some(a), Some(b)) => is_same_value(a, b),
            (a, b) => a.is_none() && b.is_none(),
        };
        has_same_challenge && is_same_value(&self.expected, &other.expected)
    }
}

impl fmt::Debug for Credentials {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("challenge", &self.challenge)
            .finish_non_exhaustive()
    }
}

/// Declares a check of credentials.
macro_rules! check {
    ($(#[$doc:meta])* $check:ident) => {
        $(#[$doc])*
        pub struct $check<ResBody> {
            pub(super) credentials: Kept<Credentials>,
            body: PhantomData<fn() -> ResBody>,
        }

        impl<ResBody> $check<ResBody> {
            /// Puts this challenge into answers, as the value of `www-authenticate`.
            pub fn challenge(self, challenge: HeaderValue) -> Self {
                self.challenging(Some(challenge))
            }

            /// Puts no challenge into answers, though RFC 9110 §11.6.1 asks for one.
            pub fn without_challenge(self) -> Self {
                self.challenging(None)
            }

            fn challenging(mut self, challenge: Option<HeaderValue>) -> Self {
                let expected = self.credentials.expected.clone();
                let credentials = Credentials { expected, challenge };
                self.credentials = match self.credentials {
                    Kept::Forever(_) => Kept::new(credentials),
                    Kept::Counted(_) => Kept::counted(credentials),
                };
                self
            }

            fn of(credentials: Kept<Credentials>) -> Self {
                Self {
                    credentials,
                    body: PhantomData,
                }
            }
        }

        impl<ResBody> Clone for $check<ResBody> {
            fn clone(&self) -> Self {
                Self {
                    credentials: self.credentials.clone(),
                    body: PhantomData,
                }
            }
        }

        impl<ResBody> fmt::Debug for $check<ResBody> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($check)).field(&*self.credentials).finish()
            }
        }

        impl<B, ResBody: Default> ValidateRequest<B> for $check<ResBody> {
            type ResponseBody = ResBody;

            fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<ResBody>> {
                if self.credentials.are_in(request.headers()) {
                    Ok(())
                } else {
                    Err(self.credentials.refuse(HeaderMap::new()))
                }
            }

            fn validate_last(
                &mut self,
                request: &mut Request<B>,
            ) -> Result<(), Response<ResBody>> {
                if self.credentials.are_in(request.headers()) {
                    Ok(())
                } else {
                    Err(self.credentials.refuse(take_map(request)))
                }
            }
        }
    };
}

check! {
    /// Asks for `authorization: Bearer <token>`, to the byte; else 401 with
    /// `www-authenticate: Bearer`. RFC 6750 §2.1, §3.
    ///
    /// The first of a program's checks keep their token in memory until it ends, and are cheaper for it;
    /// but for [`counted`](Self::counted) ones.
    Bearer
}

check! {
    /// Asks for `authorization: Basic <name and password>`, to the byte; else 401 with
    /// `www-authenticate: Basic`. RFC 7617 wants a realm too; give one by
    /// [`challenge`](Self::challenge).
    ///
    /// The first of a program's checks keep their password in memory until it ends, and are cheaper for it;
    /// but for [`counted`](Self::counted) ones.
    Basic
}

impl<ResBody> Bearer<ResBody> {
    /// # Panics
    /// If the token is not to be had in a header.
    pub(super) fn new(token: &str) -> Self {
        Self::of(Kept::new(Credentials::bearer(token)))
    }

    /// A check for [`ZeroAuthLayer::custom`](super::ZeroAuthLayer::custom) whose token is freed with the last
    /// service that has it. Counting them costs each request a little.
    ///
    /// # Panics
    /// If the token has bytes that no header value may have.
    pub fn counted(token: &str) -> Self {
        Self::of(Kept::counted(Credentials::bearer(token)))
    }
}

impl<ResBody> Basic<ResBody> {
    pub(super) fn new(username: &str, password: &str) -> Self {
        Self::of(Kept::new(Credentials::basic(username, password)))
    }

    /// A check for [`ZeroAuthLayer::custom`](super::ZeroAuthLayer::custom) whose password is freed with the last
    /// service that has it. Counting them costs each request a little.
    pub fn counted(username: &str, password: &str) -> Self {
        Self::of(Kept::counted(Credentials::basic(username, password)))
    }
}
