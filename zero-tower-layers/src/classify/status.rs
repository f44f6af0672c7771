//! Classifiers that go by the status code.

use std::fmt;
use std::ops::RangeInclusive;

use http::{Response, StatusCode};

use super::{ClassifiedResponse, ClassifyResponse, NeverClassifyEos, SharedClassifier};

/// Statuses 5xx are failures, and errors. The classifier of
/// [`ZeroTraceLayer::new_for_http`](crate::trace::ZeroTraceLayer::new_for_http).
///
/// # Standards
/// RFC 9110 §15.6.
#[derive(Clone, Debug, Default)]
pub struct ServerErrorsAsFailures {
    _private: (),
}

impl ServerErrorsAsFailures {
    /// The classifier.
    pub fn new() -> Self {
        Self::default()
    }

    /// The classifier, for every request.
    pub fn make_classifier() -> SharedClassifier<Self> {
        SharedClassifier::new(Self::new())
    }
}

impl ClassifyResponse for ServerErrorsAsFailures {
    type FailureClass = ServerErrorsFailureClass;
    type ClassifyEos = NeverClassifyEos<ServerErrorsFailureClass>;
    #[cfg(feature = "zero-runtime")]
    const BY_STATUS: bool = true;

    fn classify_response<B>(
        self,
        response: &Response<B>,
    ) -> ClassifiedResponse<Self::FailureClass, Self::ClassifyEos> {
        let status = response.status();
        ClassifiedResponse::Ready(if status.is_server_error() {
            Err(ServerErrorsFailureClass::StatusCode(status))
        } else {
            Ok(())
        })
    }

    fn classify_error<E>(self, error: &E) -> Self::FailureClass
    where
        E: fmt::Display + 'static,
    {
        ServerErrorsFailureClass::Error(error.to_string())
    }
}

/// Statuses of a range are failures, and errors.
#[derive(Clone, Debug)]
pub struct StatusInRangeAsFailures {
    range: RangeInclusive<u16>,
}

impl StatusInRangeAsFailures {
    /// Takes statuses in `range` for failures.
    ///
    /// # Panics
    /// If an end of the range is not a status code (100 to 999).
    pub fn new(range: RangeInclusive<u16>) -> Self {
        for end in [range.start(), range.end()] {
            assert!(
                StatusCode::from_u16(*end).is_ok(),
                "{end} is not a status code; give a range within 100..=999"
            );
        }
        Self { range }
    }

    /// Takes 400 to 599 for failures.
    pub fn new_for_client_and_server_errors() -> Self {
        Self::new(400..=599)
    }

    /// This classifier, for every request.
    pub fn into_make_classifier(self) -> SharedClassifier<Self> {
        SharedClassifier::new(self)
    }
}

impl ClassifyResponse for StatusInRangeAsFailures {
    type FailureClass = StatusInRangeFailureClass;
    type ClassifyEos = NeverClassifyEos<StatusInRangeFailureClass>;
    #[cfg(feature = "zero-runtime")]
    const BY_STATUS: bool = true;

    fn classify_response<B>(
        self,
        response: &Response<B>,
    ) -> ClassifiedResponse<Self::FailureClass, Self::ClassifyEos> {
        let status = response.status();
        ClassifiedResponse::Ready(if self.range.contains(&status.as_u16()) {
            Err(StatusInRangeFailureClass::StatusCode(status))
        } else {
            Ok(())
        })
    }

    fn classify_error<E>(self, error: &E) -> Self::FailureClass
    where
        E: fmt::Display + 'static,
    {
        StatusInRangeFailureClass::Error(error.to_string())
    }
}

/// Declares a failure that is a status or an error's text.
macro_rules! failure_class {
    ($(#[$doc:meta])* $class:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $class {
            /// The response has this status.
            StatusCode(StatusCode),
            /// There is no response, but this error.
            Error(String),
        }

        impl fmt::Display for $class {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    Self::StatusCode(status) => write!(f, "Status code: {status}"),
                    Self::Error(error) => write!(f, "Error: {error}"),
                }
            }
        }
    };
}

failure_class! {
    /// A failure, as [`ServerErrorsAsFailures`] sees it.
    ServerErrorsFailureClass
}

failure_class! {
    /// A failure, as [`StatusInRangeAsFailures`] sees it.
    StatusInRangeFailureClass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "99 is not a status code")]
    fn a_range_begins_at_a_status() {
        StatusInRangeAsFailures::new(99..=200);
    }
}
