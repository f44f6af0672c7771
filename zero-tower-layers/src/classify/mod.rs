//! Tells success from failure: of a response, of a stream's end, of an error.
//!
//! The traits and types have the names of `tower_http::classify` and do the same;
//! [`trace`](crate::trace) uses them.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use http::{HeaderMap, Request, Response};

mod grpc;
mod map;
mod status;

pub(crate) use self::grpc::status_of as grpc_status_of;
pub use self::grpc::{
    GrpcCode, GrpcEosErrorsAsFailures, GrpcErrorsAsFailures, GrpcFailureClass, GrpcStatus,
};
pub use self::map::MapFailureClass;
pub use self::status::{
    ServerErrorsAsFailures, ServerErrorsFailureClass, StatusInRangeAsFailures,
    StatusInRangeFailureClass,
};

/// Makes a classifier for each request.
pub trait MakeClassifier {
    /// Classifies the response of one request.
    type Classifier: ClassifyResponse<FailureClass = Self::FailureClass, ClassifyEos = Self::ClassifyEos>;

    /// What a failure is called.
    type FailureClass;

    /// Classifies the end of one stream.
    type ClassifyEos: ClassifyEos<FailureClass = Self::FailureClass>;

    /// Whether requests are not looked at, and their classifiers look at statuses alone: then the heads of
    /// the server's own kind are not turned into `http`'s types for them. Default: `false`.
    #[cfg(feature = "zero-runtime")]
    const BY_STATUS: bool = false;

    /// The classifier for the response to `request`.
    fn make_classifier<B>(&self, request: &Request<B>) -> Self::Classifier;
}

/// Gives every request a clone of one classifier.
#[derive(Debug, Clone)]
pub struct SharedClassifier<C> {
    classifier: C,
}

impl<C: ClassifyResponse + Clone> SharedClassifier<C> {
    /// Gives every request a clone of `classifier`.
    pub fn new(classifier: C) -> Self {
        Self { classifier }
    }
}

impl<C: ClassifyResponse + Clone> MakeClassifier for SharedClassifier<C> {
    type Classifier = C;
    type FailureClass = C::FailureClass;
    type ClassifyEos = C::ClassifyEos;
    #[cfg(feature = "zero-runtime")]
    const BY_STATUS: bool = C::BY_STATUS;

    fn make_classifier<B>(&self, _request: &Request<B>) -> C {
        self.classifier.clone()
    }
}

/// Classifies one response, or the error in its place.
pub trait ClassifyResponse {
    /// What a failure is called.
    type FailureClass;

    /// Classifies the end of the response's stream, where its head does not settle it.
    type ClassifyEos: ClassifyEos<FailureClass = Self::FailureClass>;

    /// Whether a response's status settles the matter, whatever else it is. Default: `false`.
    #[cfg(feature = "zero-runtime")]
    const BY_STATUS: bool = false;

    /// Classifies a response by its head.
    fn classify_response<B>(
        self,
        response: &Response<B>,
    ) -> ClassifiedResponse<Self::FailureClass, Self::ClassifyEos>;

    /// Classifies an error of the service. It is always a failure.
    fn classify_error<E>(self, error: &E) -> Self::FailureClass
    where
        E: fmt::Display + 'static;

    /// Changes what failures are called.
    fn map_failure_class<F, NewClass>(self, f: F) -> MapFailureClass<Self, F>
    where
        Self: Sized,
        F: FnOnce(Self::FailureClass) -> NewClass,
    {
        MapFailureClass::new(self, f)
    }
}

/// Classifies the end of one stream.
pub trait ClassifyEos {
    /// What a failure is called.
    type FailureClass;

    /// Classifies an end without error.
    ///
    /// # Errors
    /// The failure, if it is one.
    fn classify_eos(self, trailers: Option<&HeaderMap>) -> Result<(), Self::FailureClass>;

    /// Classifies an error of the body. It is always a failure.
    fn classify_error<E>(self, error: &E) -> Self::FailureClass
    where
        E: fmt::Display + 'static;

    /// Changes what failures are called.
    fn map_failure_class<F, NewClass>(self, f: F) -> MapFailureClass<Self, F>
    where
        Self: Sized,
        F: FnOnce(Self::FailureClass) -> NewClass,
    {
        MapFailureClass::new(self, f)
    }
}

/// What a response's head tells.
#[derive(Debug)]
pub enum ClassifiedResponse<FailureClass, ClassifyEos> {
    /// It settles the matter.
    Ready(Result<(), FailureClass>),
    /// The end of the stream will.
    RequiresEos(ClassifyEos),
}

/// The [`ClassifyEos`] of classifiers that never need one. Has no values.
pub struct NeverClassifyEos<T> {
    never: Infallible,
    failure_class: PhantomData<fn() -> T>,
}

impl<T> ClassifyEos for NeverClassifyEos<T> {
    type FailureClass = T;

    fn classify_eos(self, _trailers: Option<&HeaderMap>) -> Result<(), T> {
        match self.never {}
    }

    fn classify_error<E>(self, _error: &E) -> T
    where
        E: fmt::Display + 'static,
    {
        match self.never {}
    }
}

impl<T> fmt::Debug for NeverClassifyEos<T> {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.never {}
    }
}
