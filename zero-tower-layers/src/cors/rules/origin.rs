//! Which origins are allowed.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::HeaderValue;
use http::request::Parts;

use super::questions::{Answer, Questions};
use super::{Any, Ask, Head, wildcard};
use crate::kept::is_same_value;

/// The origins a layer allows: `access-control-allow-origin`.
///
/// The default allows none.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct AllowOrigin(Rule);

#[derive(Clone)]
enum Rule {
    Const(HeaderValue),
    List(Arc<[HeaderValue]>),
    Mirror,
    Predicate(Arc<Ask<bool>>),
    AsyncPredicate(Arc<Questions>),
}

impl AllowOrigin {
    /// Allows all origins, by `*`.
    pub fn any() -> Self {
        Self(Rule::Const(wildcard()))
    }

    /// Names one origin in every response, whatever the request's is.
    pub fn exact(origin: HeaderValue) -> Self {
        Self(Rule::Const(origin))
    }

    /// Allows the origins listed; a response names the one that asked.
    ///
    /// # Panics
    /// If `*` is in the list: it would be compared as an origin, and match none.
    pub fn list<I: IntoIterator<Item = HeaderValue>>(origins: I) -> Self {
        let origins: Arc<[HeaderValue]> = origins.into_iter().collect();
        assert!(
            !origins.iter().any(|origin| origin == "*"),
            "`*` among the origins of `AllowOrigin::list`: it is compared as an origin there and \
             would match none. For any origin use `AllowOrigin::any()`"
        );
        Self(Rule::List(origins))
    }

    /// Allows the origins for which `f` is true; a response names the one that asked.
    pub fn predicate<F>(f: F) -> Self
    where
        F: Fn(&HeaderValue, &Parts) -> bool + Send + Sync + 'static,
    {
        Self(Rule::Predicate(Arc::new(f)))
    }

    /// As [`predicate`](Self::predicate), with an answer that is waited for. The wrapped service is
    /// called at once, but its future is polled only when the answer is there.
    ///
    /// The predicate's future is boxed, in boxes that are used again: nothing is taken from the heap once as
    /// many have been made as requests wait at once, up to 64, unless two threads come for one at the same moment.
    pub fn async_predicate<F, Fut>(f: F) -> Self
    where
        F: FnOnce(HeaderValue, &Parts) -> Fut + Send + Sync + 'static + Clone,
        Fut: Future<Output = bool> + Send + 'static,
    {
        Self(Rule::AsyncPredicate(Arc::new(Questions::new(f))))
    }

    /// Allows every origin by naming the one that asked, which credentials permit and `*` does not.
    pub fn mirror_request() -> Self {
        Self(Rule::Mirror)
    }

    pub(in crate::cors) fn is_wildcard(&self) -> bool {
        matches!(&self.0, Rule::Const(origin) if origin == "*")
    }

    pub(in crate::cors) fn depends_on_request(&self) -> bool {
        !matches!(self.0, Rule::Const(_))
    }

    pub(in crate::cors) fn is_predicate(&self) -> bool {
        matches!(self.0, Rule::Predicate(_) | Rule::AsyncPredicate(_))
    }

    /// Of a list the request's own origin is sent back, so that marks on the list's do not matter.
    pub(in crate::cors) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Rule::Const(a), Rule::Const(b)) => is_same_value(a, b),
            (Rule::List(a), Rule::List(b)) => a == b,
            (Rule::Mirror, Rule::Mirror) => true,
            _ => false,
        }
    }

    pub(in crate::cors) fn ask(&self, head: Head<'_>) -> Origin {
        if let Rule::Const(value) = &self.0 {
            return Origin::Known(Some(value.clone()));
        }
        let Some(origin) = head.origin() else {
            return Origin::Known(None);
        };
        let allowed = match &self.0 {
            Rule::Const(_) | Rule::Mirror => true,
            Rule::AsyncPredicate(questions) => {
                return Origin::Asked(questions.ask(origin, head.parts()));
            }
            Rule::List(list) => list.contains(origin),
            Rule::Predicate(ask) => ask(origin, head.parts()),
        };
        Origin::Known(allowed.then(|| origin.clone()))
    }
}

/// The value of `access-control-allow-origin`, or a question for it.
pub(in crate::cors) enum Origin {
    Known(Option<HeaderValue>),
    Asked(Answer),
}

impl Origin {
    /// Waits for the answer. Ready again and again once it is there.
    pub(in crate::cors) fn poll_known(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<&mut Option<HeaderValue>> {
        if let Origin::Asked(answer) = self {
            *self = Origin::Known(ready!(answer.poll(cx)));
        }
        match self {
            Origin::Known(value) => Poll::Ready(value),
            Origin::Asked(_) => Poll::Pending,
        }
    }
}

impl Default for Rule {
    fn default() -> Self {
        Rule::List(Arc::new([]))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Const(origin) => f.debug_tuple("Const").field(origin).finish(),
            Rule::List(origins) => f.debug_tuple("List").field(origins).finish(),
            Rule::Mirror => f.write_str("Mirror"),
            Rule::Predicate(_) => f.write_str("Predicate"),
            Rule::AsyncPredicate(_) => f.write_str("AsyncPredicate"),
        }
    }
}

impl From<Any> for AllowOrigin {
    fn from(_: Any) -> Self {
        Self::any()
    }
}

impl From<HeaderValue> for AllowOrigin {
    fn from(origin: HeaderValue) -> Self {
        Self::exact(origin)
    }
}

impl<const N: usize> From<[HeaderValue; N]> for AllowOrigin {
    fn from(origins: [HeaderValue; N]) -> Self {
        Self::list(origins)
    }
}

impl From<Vec<HeaderValue>> for AllowOrigin {
    fn from(origins: Vec<HeaderValue>) -> Self {
        Self::list(origins)
    }
}
