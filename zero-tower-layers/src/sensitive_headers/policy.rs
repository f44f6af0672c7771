//! Which values of a header map are to be marked. Knows header maps and nothing else.

use http::header::{HeaderMap, HeaderName};

/// Marks every value of every header that is named.
///
/// The map's entry API would do it in one look-up, but makes room before it looks.
pub(super) fn mark(names: &[HeaderName], headers: &mut HeaderMap) {
    for name in names {
        let mut values = headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => {}
            (Some(_), None) => mark_first(name, headers),
            (Some(_), Some(_)) => mark_all(name, headers),
        }
    }
}

fn mark_first(name: &HeaderName, headers: &mut HeaderMap) {
    if let Some(value) = headers.get_mut(name) {
        value.set_sensitive(true);
    }
}

fn mark_all(name: &HeaderName, headers: &mut HeaderMap) {
    for (_, value) in headers.iter_mut().filter(|(of, _)| *of == name) {
        value.set_sensitive(true);
    }
}
