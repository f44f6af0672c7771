//! Follows the extensions of a chunk's size line, byte by byte, by the standard's grammar. Knows what
//! may come next; keeps nothing of what has come.

/// Where in the extensions the next byte falls.
//= https://www.rfc-editor.org/rfc/rfc9112#section-7.1.1
//# chunk-ext = *( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    /// Before a name, which must come.
    BeforeName,
    Name,
    /// Blanks behind a name.
    BehindName,
    /// Before a value, which must come.
    BeforeValue,
    Token,
    Quoted,
    /// Behind a backslash within quotes.
    Escaped,
    Closed,
    /// Blanks behind a value.
    BehindValue,
}

impl Extension {
    /// Whether the line may end here.
    pub(super) fn may_end(self) -> bool {
        matches!(self, Extension::Name | Extension::Token | Extension::Closed)
    }

    /// Goes on by one byte that is not the line's end; `None` if it may not stand here.
    pub(super) fn next(self, byte: u8) -> Option<Extension> {
        Some(match (self, byte) {
            (Extension::Quoted, b'"') => Extension::Closed,
            (Extension::Quoted, b'\\') => Extension::Escaped,
            (Extension::Quoted | Extension::Escaped, _) if is_text(byte) => Extension::Quoted,
            (Extension::Quoted | Extension::Escaped, _) => return None,
            (Extension::BeforeName | Extension::BeforeValue, b' ' | b'\t') => self,
            (Extension::BeforeName, _) if is_token(byte) => Extension::Name,
            (Extension::BeforeValue, b'"') => Extension::Quoted,
            (Extension::BeforeValue, _) if is_token(byte) => Extension::Token,
            (Extension::BeforeName | Extension::BeforeValue, _) => return None,
            (_, b';') => Extension::BeforeName,
            (Extension::Name | Extension::BehindName, b'=') => Extension::BeforeValue,
            (Extension::Name | Extension::BehindName, b' ' | b'\t') => Extension::BehindName,
            (_, b' ' | b'\t') => Extension::BehindValue,
            (Extension::Name | Extension::Token, _) if is_token(byte) => self,
            _ => return None,
        })
    }
}

/// RFC 9110's `tchar`.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a quoted string may hold, quotes and backslashes aside.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether `text`, which follows the first semicolon, is a whole list of extensions.
    fn is_whole(text: &str) -> bool {
        let place = text
            .bytes()
            .try_fold(Extension::BeforeName, Extension::next);
        place.is_some_and(Extension::may_end)
    }

    #[test]
    fn names_and_values_are_tokens_or_quoted() {
        for valid in [
            "a",
            " a",
            "a=b",
            "a = b",
            "a;b",
            "a ; b=c",
            "a=\"\"",
            "a=\"b;c=\\\"d\\\\\"",
            "a=\"\u{e9}\t\";b",
            "!#$%&'*+-.^_`|~",
        ] {
            assert!(is_whole(valid), "{valid}");
        }
        for invalid in [
            "",
            " ",
            "a ",
            "a=",
            "a= ",
            "a=b ",
            "a=\"b\" ",
            ";",
            "a;",
            "=b",
            "a=b=c",
            "a b",
            "a=b c",
            "\"a\"",
            "a=\"b",
            "a=\"b\\",
            "a=\"b\"c",
            "a=b\"c\"",
            "a\0",
            "a=\"\n\"",
            "a=\"\\\0\"",
            "a\u{e9}",
            "a\x7f",
            "a=\"\x7f\"",
            "a,b",
            "a(b)",
        ] {
            assert!(!is_whole(invalid), "{invalid:?}");
        }
    }
}
