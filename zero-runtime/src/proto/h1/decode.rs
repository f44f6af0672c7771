//! Takes the framing off a request body. Knows lengths and chunks; knows nothing of heads.

use std::ops::Range;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::extension::Extension;
use super::{H1Limits, ParseError, trailer};
use crate::config::Conformance;

/// What the input held.
#[derive(Debug)]
pub(super) enum Decoded {
    NeedMore,
    /// A part of the body, never empty.
    Data(Range<usize>),
    Trailers(Box<HeaderMap>),
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
            digits: 0,
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
    /// Of the present chunk's size.
    digits: u8,
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
    /// Within extensions, whose line ends at the next carriage return.
    Extension,
    /// Within extensions that are held to their grammar.
    StrictExtension(Extension),
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
                    self.digits = 0;
                    self.push_digit(limits, byte)?
                }
                State::Size => match byte {
                    b'\t' | b' ' => self.skip_space(limits)?,
                    b';' => first_extension(limits),
                    b'\r' => State::SizeLf,
                    digit => self.push_digit(limits, digit)?,
                },
                State::SpaceBehindSize => match byte {
                    b'\t' | b' ' => self.skip_space(limits)?,
                    b';' => first_extension(limits),
                    b'\r' if !is_strict(limits) => State::SizeLf,
                    _ => return Err(ParseError::ChunkSize),
                },
                State::Extension => self.skip_extension(limits, byte)?,
                State::StrictExtension(place) => self.follow_extension(limits, place, byte)?,
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
    fn push_digit(&mut self, limits: &H1Limits, byte: u8) -> Result<State, ParseError> {
        // Sixteen say all there is to say: the rest are zeros before them, which hyper takes no end of.
        self.digits = self.digits.saturating_add(1);
        if is_strict(limits) && u32::from(self.digits) > u64::BITS / 4 {
            return Err(ParseError::ChunkSizeOverflow);
        }
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
        self.count_extension_byte(limits)?;
        Ok(State::Extension)
    }

    fn follow_extension(
        &mut self,
        limits: &H1Limits,
        place: Extension,
        byte: u8,
    ) -> Result<State, ParseError> {
        if byte == b'\r' && place.may_end() {
            return Ok(State::SizeLf);
        }
        self.count_extension_byte(limits)?;
        let next = place.next(byte).ok_or(ParseError::ChunkExtension)?;
        Ok(State::StrictExtension(next))
    }

    /// Blanks between a size and what follows it: an extension, by the standard.
    fn skip_space(&mut self, limits: &H1Limits) -> Result<State, ParseError> {
        if is_strict(limits) {
            self.count_extension_byte(limits)?;
        }
        Ok(State::SpaceBehindSize)
    }

    fn count_extension_byte(&mut self, limits: &H1Limits) -> Result<(), ParseError> {
        self.extension_bytes = self.extension_bytes.saturating_add(1);
        match self.extension_bytes as usize >= limits.chunk_extension_bytes_max {
            true => Err(ParseError::ChunkExtension),
            false => Ok(()),
        }
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
        let trailers = parse_trailers(limits, section, self.lines.count as usize)?;
        Ok((at + section.len(), Decoded::Trailers(Box::new(trailers))))
    }
}

fn is_strict(limits: &H1Limits) -> bool {
    limits.conformance == Conformance::Strict
}

/// Behind the first semicolon of a size line.
fn first_extension(limits: &H1Limits) -> State {
    match limits.conformance {
        Conformance::Strict => State::StrictExtension(Extension::BeforeName),
        Conformance::Hyper => State::Extension,
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
                // Whoever takes it for the end of a line sees another end of this section.
                (Place::LineStart | Place::Line, b'\n') if is_strict(limits) => {
                    return Err(ParseError::Trailer);
                }
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
fn parse_trailers(
    limits: &H1Limits,
    section: &[u8],
    lines: usize,
) -> Result<HeaderMap, ParseError> {
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
        if is_strict(limits) && !trailer::may_trail_request(&name) {
            continue;
        }
        trailers
            .try_append(name, value)
            .map_err(|_| ParseError::TrailersTooLarge)?;
    }
    Ok(trailers)
}
