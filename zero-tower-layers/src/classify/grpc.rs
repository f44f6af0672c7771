//! The classifier that goes by gRPC's status, in the head or in the trailers.

use std::fmt;
use std::num::NonZeroI32;

use http::{HeaderMap, Response};
use percent_encoding::percent_decode;

use super::{ClassifiedResponse, ClassifyEos, ClassifyResponse, SharedClassifier};

/// Declares the codes once, for the enum and for the way back from a number.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// A gRPC status code.
        ///
        /// # Standards
        /// [gRPC status codes](https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(i32)]
        #[non_exhaustive]
        pub enum GrpcCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl GrpcCode {
            fn from_number(number: i32) -> Option<GrpcCode> {
                match number {
                    $($number => Some(GrpcCode::$name),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Done.
    Ok = 0,
    /// Cancelled, mostly by the caller.
    Cancelled = 1,
    /// An error nobody has named.
    Unknown = 2,
    /// The arguments can never be right.
    InvalidArgument = 3,
    /// Not done in time.
    DeadlineExceeded = 4,
    /// No such thing.
    NotFound = 5,
    /// There is one already.
    AlreadyExists = 6,
    /// The caller may not.
    PermissionDenied = 7,
    /// A quota or the room is used up.
    ResourceExhausted = 8,
    /// The system is not in the state this takes.
    FailedPrecondition = 9,
    /// Given up, mostly for a conflict.
    Aborted = 10,
    /// Beyond the end.
    OutOfRange = 11,
    /// Not implemented, or not offered.
    Unimplemented = 12,
    /// Something is broken.
    Internal = 13,
    /// Not to be reached now.
    Unavailable = 14,
    /// Data is lost or corrupt.
    DataLoss = 15,
    /// The caller has not said who it is.
    Unauthenticated = 16,
}

impl From<i32> for GrpcCode {
    /// Numbers without a code are [`Unknown`](GrpcCode::Unknown).
    fn from(number: i32) -> Self {
        GrpcCode::from_number(number).unwrap_or(GrpcCode::Unknown)
    }
}

impl From<NonZeroI32> for GrpcCode {
    fn from(number: NonZeroI32) -> Self {
        number.get().into()
    }
}

/// Codes that count as success, one bit each.
#[derive(Debug, Clone, Copy)]
struct Successes(u32);

impl Successes {
    const OK: Self = Successes(1 << GrpcCode::Ok as u32);

    fn with(self, code: GrpcCode) -> Self {
        Successes(self.0 | 1 << code as u32)
    }

    fn contain(self, code: GrpcCode) -> bool {
        self.0 & 1 << code as u32 != 0
    }
}

/// gRPC statuses other than [`GrpcCode::Ok`] are failures, and errors. The classifier of
/// [`ZeroTraceLayer::new_for_grpc`](crate::trace::ZeroTraceLayer::new_for_grpc).
///
/// A status in the head settles the matter; without one, the trailers do.
#[derive(Debug, Clone)]
pub struct GrpcErrorsAsFailures {
    successes: Successes,
}

impl Default for GrpcErrorsAsFailures {
    fn default() -> Self {
        Self::new()
    }
}

impl GrpcErrorsAsFailures {
    /// Takes only [`GrpcCode::Ok`] for success.
    pub fn new() -> Self {
        Self {
            successes: Successes::OK,
        }
    }

    /// Takes `code` for success too.
    pub fn with_success(mut self, code: GrpcCode) -> Self {
        self.successes = self.successes.with(code);
        self
    }

    /// The classifier, for every request.
    pub fn make_classifier() -> SharedClassifier<Self> {
        SharedClassifier::new(Self::new())
    }
}

impl ClassifyResponse for GrpcErrorsAsFailures {
    type FailureClass = GrpcFailureClass;
    type ClassifyEos = GrpcEosErrorsAsFailures;

    fn classify_response<B>(
        self,
        response: &Response<B>,
    ) -> ClassifiedResponse<Self::FailureClass, Self::ClassifyEos> {
        match self.successes.judge(response.headers()) {
            Some(verdict) => ClassifiedResponse::Ready(verdict),
            None => ClassifiedResponse::RequiresEos(GrpcEosErrorsAsFailures {
                successes: self.successes,
            }),
        }
    }

    fn classify_error<E>(self, error: &E) -> Self::FailureClass
    where
        E: fmt::Display + 'static,
    {
        GrpcFailureClass::Error(error.to_string())
    }
}

/// The [`ClassifyEos`] of [`GrpcErrorsAsFailures`]. Trailers without a status are no failure.
#[derive(Debug, Clone)]
pub struct GrpcEosErrorsAsFailures {
    successes: Successes,
}

impl ClassifyEos for GrpcEosErrorsAsFailures {
    type FailureClass = GrpcFailureClass;

    fn classify_eos(self, trailers: Option<&HeaderMap>) -> Result<(), Self::FailureClass> {
        trailers
            .and_then(|trailers| self.successes.judge(trailers))
            .unwrap_or(Ok(()))
    }

    fn classify_error<E>(self, error: &E) -> Self::FailureClass
    where
        E: fmt::Display + 'static,
    {
        GrpcFailureClass::Error(error.to_string())
    }
}

/// A failure, as [`GrpcErrorsAsFailures`] sees it.
#[derive(Debug)]
#[non_exhaustive]
pub enum GrpcFailureClass {
    /// A status that is not a success.
    Status(GrpcStatus),
    /// There is no status, but this error.
    Error(String),
}

impl fmt::Display for GrpcFailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "Status: {status}"),
            Self::Error(error) => write!(f, "Error: {error}"),
        }
    }
}

impl std::error::Error for GrpcFailureClass {}

/// What `grpc-status` and `grpc-message` say.
#[derive(Debug, PartialEq, Eq)]
pub struct GrpcStatus {
    code: Option<GrpcCode>,
    code_raw: i32,
    message: Option<String>,
}

impl GrpcStatus {
    /// The code; `None` if the number has none.
    pub fn code(&self) -> Option<GrpcCode> {
        self.code
    }

    /// The number.
    pub fn code_raw(&self) -> i32 {
        self.code_raw
    }

    /// The message, percent-decoded; bytes that are not UTF-8 are replaced.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

impl fmt::Display for GrpcStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(f, "{code:?}")?,
            None => write!(f, "Code({})", self.code_raw)?,
        }
        match &self.message {
            Some(message) => write!(f, ": {message}"),
            None => Ok(()),
        }
    }
}

impl Successes {
    /// `None` without a status. A status that is no number counts as success.
    fn judge(self, headers: &HeaderMap) -> Option<Result<(), GrpcFailureClass>> {
        let Some(number) = number_of(headers)? else {
            return Some(Ok(()));
        };
        let code = GrpcCode::from_number(number);
        if code.is_some_and(|code| self.contain(code)) {
            return Some(Ok(()));
        }
        Some(Err(GrpcFailureClass::Status(GrpcStatus {
            code,
            code_raw: number,
            message: message_of(headers),
        })))
    }
}

/// The number to log for a head or trailers: 0 for a status that is no number, `None` without one.
pub(crate) fn status_of(headers: &HeaderMap) -> Option<i32> {
    number_of(headers).map(|number| number.unwrap_or(0))
}

/// The status, if there is one; and its number, if it is one.
fn number_of(headers: &HeaderMap) -> Option<Option<i32>> {
    let text = headers.get("grpc-status")?.to_str().ok();
    Some(text.and_then(|text| text.parse().ok()))
}

fn message_of(headers: &HeaderMap) -> Option<String> {
    let message = headers.get("grpc-message")?;
    let text = percent_decode(message.as_bytes()).decode_utf8_lossy();
    Some(text.into_owned())
}
