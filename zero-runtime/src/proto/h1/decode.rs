//! Takes the framing off a request body. Knows lengths and chunks; knows nothing of heads.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{H1Limits, ParseError};

/// What the input held.
#[derive(Debug)]
pub(super) enum Decoded {
    NeedMore,
    /// A part of the body, never empty.
    Data(Range<usize>),
    Trailers(HeaderMap),
    End,
}

/// How much of the input was used up, and what it meant.
type Progress = (usize, Decoded);

/// Where in a body the connection is.
#[derive(Debug)]
pub(super) enum Decoder {
    /// This many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
}

impl Decoder {
    pub(super) fn chunked() -> Self {
        Decoder::Chunked(Chunked {
            state: State::Start,
            left: 0,
            extension_bytes: 0,
            lines: Lines::default(),
        })
    }

    #[inline]
    pub(super) fn decode(
        &mut self,
        limits: &H1Limits,
        input: &[u8],
    ) -> Result<Progress, ParseError> {
        match self {
            Decoder::Length(0) => Ok((0, Decoded::End)),
            Decoder::Length(left) => Ok(take_data(left, input, 0)),
            Decoder::Chunked(chunked) => chunked.decode(limits, input),
        }
    }
}

/// Takes what there is of the next `left` bytes at `at`.
#[inline]
fn take_data(left: &mut u64, input: &[u8], at: usize) -> Progress {
    let present = input.len() - at;
    let taken = usize::try_from(*left).map_or(present, |left| left.min(present));
    if taken == 0 {
        return (at, Decoded::NeedMore);
    }
    *left -= taken as u64;
    (at + taken, Decoded::Data(at..at + taken))
}

/// A chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    /// Of the present chunk's size line: the size so far. Of its data: what is still to come.
    left: u64,
    /// Over all chunks.
    extension_bytes: u32,
    /// Meaningful in `State::Trailers` alone.
    lines: Lines,
}

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    Start,
    Size,
    SpaceBehindSize,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// Behind the last chunk: an empty line, or a trailer.
    LastCr,
    LastLf,
    /// Within the trailer section, none of which is used up before all of it is there.
    Trailers,
}

impl Chunked {
    fn decode(&mut self, limits: &H1Limits, input: &[u8]) -> Result<Progress, ParseError> {
        let mut at = 0;
        loop {
            if self.state == State::Trailers {
                return self.decode_trailers(limits, input, at);
            }
            let Some(&byte) = input.get(at) else {
                return Ok((at, Decoded::NeedMore));
            };
            self.state = match self.state {
                State::Start => {
                    self.left = 0;
                    self.push_digit(byte)?
                }
                State::Size => match byte {
                    b'\t' | b' ' => State::SpaceBehindSize,
                    b';' => State::Extension,
                    b'\r' => State::SizeLf,
                    digit => self.push_digit(digit)?,
                },
                State::SpaceBehindSize => match byte {
                    b'\t' | b' ' => State::SpaceBehindSize,
                    b';' => State::Extension,
                    b'\r' => State::SizeLf,
                    _ => return Err(ParseError::ChunkSize),
                },
                State::Extension => self.skip_extension(limits, byte)?,
                State::SizeLf => match (byte, self.left) {
                    (b'\n', 0) => State::LastCr,
                    (b'\n', _) => State::Data,
                    _ => return Err(ParseError::ChunkSize),
                },
                State::Data => {
                    let data = take_data(&mut self.left, input, at);
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(data);
                }
                State::DataCr if byte == b'\r' => State::DataLf,
                State::DataLf if byte == b'\n' => State::Start,
                State::DataCr | State::DataLf => return Err(ParseError::ChunkEnd),
                State::LastCr if byte == b'\r' => State::LastLf,
                State::LastCr => {
                    self.state = State::Trailers;
                    self.lines = Lines::default();
                    continue;
                }
                State::LastLf if byte == b'\n' => return Ok((at + 1, Decoded::End)),
                State::LastLf => return Err(ParseError::Trailer),
                State::Trailers => unreachable!("decoded above"),
            };
            at += 1;
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc9112#section-7.1
    //# Recipients MUST anticipate potentially large hexadecimal numerals and
    //# prevent parsing errors due to integer conversion overflows or precision
    //# loss due to integer representation.
    fn push_digit(&mut self, byte: u8) -> Result<State, ParseError> {
        let digit = (byte as char).to_digit(16).ok_or(ParseError::ChunkSize)?;
        self.left = self
            .left
            .checked_mul(16)
            .ok_or(ParseError::ChunkSizeOverflow)?
            | u64::from(digit);
        Ok(State::Size)
    }

    //= https://www.rfc-editor.org/rfc/rfc9112#section-7.1.1
    //# A server ought to limit the total length of chunk extensions received
    //# in a request to an amount reasonable for the services provided
    fn skip_extension(&mut self, limits: &H1Limits, byte: u8) -> Result<State, ParseError> {
        match byte {
            b'\r' => return Ok(State::SizeLf),
            // Others take a bare line feed for the end of the line: refuse it rather than differ.
            b'\n' => return Err(ParseError::ChunkExtension),
            _ => {}
        }
        self.extension_bytes = self.extension_bytes.saturating_add(1);
        if self.extension_bytes as usize >= limits.chunk_extension_bytes_max {
            return Err(ParseError::ChunkExtension);
        }
        Ok(State::Extension)
    }

    fn decode_trailers(
        &mut self,
        limits: &H1Limits,
        input: &[u8],
        at: usize,
    ) -> Result<Progress, ParseError> {
        let section = &input[at..];
        if !self.lines.scan(limits, section)? {
            return Ok((at, Decoded::NeedMore));
        }
        let section = &section[..self.lines.scanned as usize];
        let trailers = parse_trailers(section, self.lines.count as usize)?;
        Ok((at + section.len(), Decoded::Trailers(trailers)))
    }
}

/// How far the search for a trailer section's end has come.
#[derive(Debug, Clone, Copy, Default)]
struct Lines {
    scanned: u32,
    count: u32,
    place: Place,
}

/// What the next byte of a trailer section is.
#[derive(Debug, Clone, Copy, Default)]
enum Place {
    #[default]
    LineStart,
    Line,
    LineLf,
    EndLf,
}

impl Lines {
    /// Goes on with the search in `section`; true when its end is found, `scanned` bytes in.
    fn scan(&mut self, limits: &H1Limits, section: &[u8]) -> Result<bool, ParseError> {
        for &byte in &section[self.scanned as usize..] {
            self.scanned += 1;
            let mut is_end = false;
            self.place = match (self.place, byte) {
                (Place::LineStart, b'\r') => Place::EndLf,
                (Place::Line, b'\r') => Place::LineLf,
                (Place::LineStart | Place::Line, _) => Place::Line,
                (Place::LineLf, b'\n') => {
                    self.count += 1;
                    if self.count as usize > limits.trailers_max {
                        return Err(ParseError::TrailersTooLarge);
                    }
                    Place::LineStart
                }
                (Place::EndLf, b'\n') => {
                    is_end = true;
                    Place::LineStart
                }
                (Place::LineLf | Place::EndLf, _) => return Err(ParseError::Trailer),
            };
            if self.scanned as usize >= limits.trailer_bytes_max {
                return Err(ParseError::TrailersTooLarge);
            }
            if is_end {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

//= https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
//# a sender MUST NOT generate a trailer field unless the sender knows the
//# corresponding header field name's definition permits sending that field
//# in trailers
//
// They are handed on apart from the headers, so what a trailer says frames nothing.
fn parse_trailers(section: &[u8], lines: usize) -> Result<HeaderMap, ParseError> {
    let mut scratch = vec![httparse::EMPTY_HEADER; lines];
    let Ok(httparse::Status::Complete((_, headers))) =
        httparse::parse_headers(section, &mut scratch)
    else {
        return Err(ParseError::Trailer);
    };
    let mut trailers = HeaderMap::new();
    for header in headers {
        let name = HeaderName::try_from(header.name).map_err(|_| ParseError::Trailer)?;
        let value = HeaderValue::from_bytes(header.value).map_err(|_| ParseError::Trailer)?;
        trailers
            .try_append(name, value)
            .map_err(|_| ParseError::TrailersTooLarge)?;
    }
    Ok(trailers)
}
