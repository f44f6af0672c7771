//! From a URI to the one it should have been. Knows URIs and nothing else.

use http::Uri;
use http::uri::PathAndQuery;

use crate::scratch;

/// How a path is to end.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// Without a slash.
    Trim,
    /// With exactly one slash.
    Append,
}

impl Ending {
    /// Rewrites the path of `uri` if it is not spelt so. The query stays.
    pub(super) fn normalize(self, uri: &mut Uri) {
        if let Some(path) = self.rewrite(uri) {
            // Only a URI without a path cannot take one, and those are left alone.
            let mut parts = std::mem::take(uri).into_parts();
            parts.path_and_query = Some(path);
            *uri = Uri::from_parts(parts).expect("a path replaced by a path");
        }
    }

    /// The new path and query, or nothing if the path may stay.
    fn rewrite(self, uri: &Uri) -> Option<PathAndQuery> {
        // An authority alone, as of CONNECT.
        let has_no_path = uri.scheme().is_none() && uri.authority().is_some();
        match has_no_path {
            true => None,
            false => self.rewritten(uri.path(), uri.query()),
        }
    }

    /// What `path` and `query` should have been together; nothing if they are.
    pub(super) fn rewritten(self, path: &str, query: Option<&str>) -> Option<PathAndQuery> {
        if self.is_met(path) {
            return None;
        }
        let name = path.trim_matches('/');
        let slash = match self {
            Ending::Append if !name.is_empty() => "/",
            _ => "",
        };
        let (mark, query) = match query {
            Some(query) => ("?", query),
            None => ("", ""),
        };
        let text = scratch::join(&["/", name, slash, mark, query].map(str::as_bytes));
        PathAndQuery::from_maybe_shared(text).ok()
    }

    fn is_met(self, path: &str) -> bool {
        match self {
            Ending::Trim => path == "/" || !(path.ends_with('/') || path.starts_with("//")),
            Ending::Append => path.ends_with('/') && !path.ends_with("//"),
        }
    }
}
