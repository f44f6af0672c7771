//! How long a browser may remember a preflight's answer.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use http::request::Parts;

use super::{Ask, Head};
use crate::scratch;

/// How long a preflight's answer may be remembered: `access-control-max-age`, in whole seconds.
///
/// The default sends no such header.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct MaxAge(Rule);

#[derive(Clone, Default)]
enum Rule {
    #[default]
    Unsaid,
    Exact(HeaderValue),
    Dynamic(Arc<Ask<Duration>>),
}

impl MaxAge {
    /// The same for every request. Parts of a second are cut off.
    pub fn exact(max_age: Duration) -> Self {
        Self(Rule::Exact(max_age.as_secs().into()))
    }

    /// Asked for each preflight that has an origin.
    pub fn dynamic<F>(f: F) -> Self
    where
        F: Fn(&HeaderValue, &Parts) -> Duration + Send + Sync + 'static,
    {
        Self(Rule::Dynamic(Arc::new(f)))
    }

    pub(in crate::cors) fn is_predicate(&self) -> bool {
        matches!(self.0, Rule::Dynamic(_))
    }

    pub(in crate::cors) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Rule::Unsaid, Rule::Unsaid) => true,
            (Rule::Exact(a), Rule::Exact(b)) => a == b,
            _ => false,
        }
    }

    pub(in crate::cors) fn value(&self, head: Head<'_>) -> Option<HeaderValue> {
        match &self.0 {
            Rule::Unsaid => None,
            Rule::Exact(value) => Some(value.clone()),
            Rule::Dynamic(ask) => Some(seconds(ask(head.origin()?, head.parts()))),
        }
    }
}

/// The duration's whole seconds in decimal, in scratch memory.
fn seconds(duration: Duration) -> HeaderValue {
    let mut digits = [0; 20];
    let mut rest = &mut digits[..];
    // The longest u64 has 20 digits.
    write!(rest, "{}", duration.as_secs()).expect("room for any u64");
    let unused = rest.len();
    let text = scratch::join(&[&digits[..20 - unused]]);
    HeaderValue::from_maybe_shared(text).expect("digits")
}

impl From<Duration> for MaxAge {
    fn from(max_age: Duration) -> Self {
        Self::exact(max_age)
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Unsaid => f.write_str("Unsaid"),
            Rule::Exact(value) => f.debug_tuple("Exact").field(value).finish(),
            Rule::Dynamic(_) => f.write_str("Dynamic"),
        }
    }
}
