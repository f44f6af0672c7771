//! The builder: one choice.

use tower_layer::Layer;

use super::policy::Ending;
use super::service::ZeroNormalizePath;

/// Changes the paths of requests to one spelling. See the [module](super).
#[derive(Debug, Copy, Clone)]
pub struct ZeroNormalizePathLayer {
    ending: Ending,
}

impl ZeroNormalizePathLayer {
    /// Removes slashes from the end of a path: `/users/` and `/users//` become `/users`. A path that
    /// begins with two slashes, or ends with one, is cut at both ends; slashes within stay.
    pub fn trim_trailing_slash() -> Self {
        Self {
            ending: Ending::Trim,
        }
    }

    /// Gives a path exactly one slash at its end: `/users` and `/users//` become `/users/`. A path that
    /// is changed loses superfluous slashes at its beginning too.
    pub fn append_trailing_slash() -> Self {
        Self {
            ending: Ending::Append,
        }
    }
}

impl<S> Layer<S> for ZeroNormalizePathLayer {
    type Service = ZeroNormalizePath<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ZeroNormalizePath::with_ending(inner, self.ending)
    }
}
