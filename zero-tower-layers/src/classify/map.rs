//! A classifier whose failures get another name.

use std::fmt;

use http::{HeaderMap, Response};

use super::{ClassifiedResponse, ClassifyEos, ClassifyResponse};

/// What [`ClassifyResponse::map_failure_class`] and [`ClassifyEos::map_failure_class`] return.
#[derive(Clone, Copy)]
pub struct MapFailureClass<C, F> {
    inner: C,
    rename: F,
}

impl<C, F> MapFailureClass<C, F> {
    pub(super) fn new(inner: C, rename: F) -> Self {
        Self { inner, rename }
    }
}

impl<C, F, NewClass> ClassifyResponse for MapFailureClass<C, F>
where
    C: ClassifyResponse,
    F: FnOnce(C::FailureClass) -> NewClass,
{
    type FailureClass = NewClass;
    type ClassifyEos = MapFailureClass<C::ClassifyEos, F>;
    #[cfg(feature = "zero-runtime")]
    const BY_STATUS: bool = C::BY_STATUS;

    fn classify_response<B>(
        self,
        response: &Response<B>,
    ) -> ClassifiedResponse<NewClass, Self::ClassifyEos> {
        match self.inner.classify_response(response) {
            ClassifiedResponse::Ready(result) => {
                ClassifiedResponse::Ready(result.map_err(self.rename))
            }
            ClassifiedResponse::RequiresEos(eos) => {
                ClassifiedResponse::RequiresEos(MapFailureClass::new(eos, self.rename))
            }
        }
    }

    fn classify_error<E>(self, error: &E) -> NewClass
    where
        E: fmt::Display + 'static,
    {
        (self.rename)(self.inner.classify_error(error))
    }
}

impl<C, F, NewClass> ClassifyEos for MapFailureClass<C, F>
where
    C: ClassifyEos,
    F: FnOnce(C::FailureClass) -> NewClass,
{
    type FailureClass = NewClass;

    fn classify_eos(self, trailers: Option<&HeaderMap>) -> Result<(), NewClass> {
        self.inner.classify_eos(trailers).map_err(self.rename)
    }

    fn classify_error<E>(self, error: &E) -> NewClass
    where
        E: fmt::Display + 'static,
    {
        (self.rename)(self.inner.classify_error(error))
    }
}

impl<C: fmt::Debug, F> fmt::Debug for MapFailureClass<C, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapFailureClass")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
