//! Reads a head that is written as nearly all are, in one pass. Knows one spelling of the syntax; what
//! it does not take may be a head nevertheless, or the beginning of one: [`parse`](super::parse) has
//! the last word, and all errors.

use super::H1Limits;
use super::line::URI;
use super::scan::{Class, find_stop};
use super::table::{HeadTable, Line, Span};

const METHOD: Class = Class {
    has_letters: false,
    ranges: [(b'A', b'Z'); 3],
};

/// Visible ASCII but for `#`, which no form of a target has room for.
const TARGET: Class = Class {
    has_letters: false,
    ranges: [(b'!', b'"'), (b'$', b'~'), (b'$', b'~')],
};

/// Of tokens, what is in nearly all names of fields.
pub(super) const NAME: Class = Class {
    has_letters: true,
    ranges: [(b'0', b'9'), (b'-', b'.'), (b'_', b'_')],
};

/// All that may be in a value, but for the tab.
pub(super) const VALUE: Class = Class {
    has_letters: false,
    ranges: [(b' ', b'~'), (0x80, 0xff), (0x80, 0xff)],
};

/// Notes in `table` where the parts of the head at the start of `input` lie. False if this is not whole,
/// not plain or no head; what `table` then holds means nothing.
#[inline]
pub(super) fn read(limits: &H1Limits, input: &[u8], table: &mut HeadTable) -> bool {
    read_head(limits, input, table).is_some()
}

#[inline]
fn read_head(limits: &H1Limits, input: &[u8], table: &mut HeadTable) -> Option<()> {
    let method_end = match input.first_chunk() {
        Some(b"GET ") => 3,
        _ => find_stop(METHOD, input, 0)?,
    };
    let start = method_end + 1;
    let uri_end = find_stop(URI, input, start)?;
    table.is_uri = input[uri_end] == b' ';
    let target_end = match table.is_uri {
        true => uri_end,
        false => find_stop(TARGET, input, uri_end)?,
    };
    let target_bytes = target_end - start;
    let is_in_order = input[method_end] == b' ' && method_end > 0;
    if !is_in_order || target_bytes == 0 || target_bytes > limits.uri_bytes_max {
        return None;
    }
    let (version, rest) = input[target_end..].split_first_chunk::<8>()?;
    let ([minor, line_end @ ..], lines) = rest.split_first_chunk::<3>()?;
    if version != b" HTTP/1." || line_end != b"\r\n" || !matches!(minor, b'0' | b'1') {
        return None;
    }
    table.method_bytes = method_end as u32;
    table.target = Span {
        start: start as u32,
        bytes: target_bytes as u32,
    };
    table.has_fragment = false;
    table.is_http_11 = *minor == b'1';
    let from = input.len() - lines.len();
    table.head_bytes = read_lines(limits, input, from, table)? as u32;
    Some(())
}

/// Reads the lines that begin at `at`; returns where the head ends.
#[inline]
fn read_lines(
    limits: &H1Limits,
    input: &[u8],
    mut at: usize,
    table: &mut HeadTable,
) -> Option<usize> {
    let lines_max = limits.headers_max.min(table.lines_max);
    table.lines.clear();
    loop {
        if is_line_end(input, at) {
            return Some(at + 2);
        }
        let colon = find_stop(NAME, input, at)?;
        if input[colon] != b':' || colon == at {
            return None;
        }
        let mut start = colon + 1;
        while is_space(*input.get(start)?) {
            start += 1;
        }
        let stop = find_stop(VALUE, input, start)?;
        let mut end = stop;
        while end > start && is_space(input[end - 1]) {
            end -= 1;
        }
        if !is_line_end(input, stop) || table.lines.len() == lines_max {
            return None;
        }
        table.lines.push(Line {
            name_start: at as u32,
            name_bytes: u16::try_from(colon - at).ok()?,
            hidden: false,
            value: Span {
                start: start as u32,
                bytes: (end - start) as u32,
            },
        });
        at = stop + 2;
    }
}

#[inline]
fn is_line_end(input: &[u8], at: usize) -> bool {
    matches!(input.get(at..), Some([b'\r', b'\n', ..]))
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
