//! Which values of a header map are to be marked. Knows header maps and nothing else.

use http::header::{HeaderMap, HeaderName};

/// Marks every value of every header that is named.
///
/// The map's entry API makes room before it looks, and so is not used.
pub(super) fn mark(names: &[HeaderName], headers: &mut HeaderMap) {
    let has_repeated = headers.len() > headers.keys_len();
    if has_repeated {
        return mark_all(names, headers);
    }
    for name in names {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

#[cold]
fn mark_all(names: &[HeaderName], headers: &mut HeaderMap) {
    for (_, value) in headers.iter_mut().filter(|(of, _)| names.contains(of)) {
        value.set_sensitive(true);
    }
}
