//! One body through one encoder: what to read, when to flush, when to stop.
//!
//! Knows bodies and the encoder's three verbs; knows no coding.

use std::io;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};

use super::layer::Manner;
use super::policy::Coding;
use super::pool::Lease;
use crate::BoxError;

/// Input after which the first chunk is sent, however little it is: encoders collect 128 KiB (zstd) to whole
/// bodies of a MiB (br) before they give anything. Shorter bodies are encoded as one.
const FIRST_INPUT_BYTES: usize = 64 * 1024;

pub(super) struct Coder<D> {
    /// Never locked: it is reached by `get_mut` alone. It is here because a body ought to be `Sync`,
    /// and not every encoder is.
    encoder: Mutex<Lease>,
    /// What has been read and not been encoded.
    input: Option<D>,
    /// Whether the encoder may be holding back something it was given.
    holds_back: bool,
    /// Input that may be taken before something is to be sent; without bound once something has been.
    until_sent_bytes: usize,
    /// Whether the encoder has been given anything.
    is_begun: bool,
    /// The body's whole length, as it says before anything is read of it.
    total_bytes: Option<u64>,
    state: State,
}

/// Where a body stands. It goes down the list, but for Flushing, which goes back to Reading.
enum State {
    Reading,
    /// The body has nothing for now, or nothing has been sent for long: what the encoder holds back is to go out.
    Flushing,
    /// The body's data has ended.
    Finishing,
    /// All output has been sent.
    Ending,
    Done,
}

/// What one turn of the loop came to.
enum Turn {
    /// Go on.
    Again,
    /// The encoder's output is full, or all there is: send it.
    Emit,
    /// Nothing to do until the body wakes us.
    Wait,
}

impl<D: Buf> Coder<D> {
    /// `None` for a coding that is none.
    pub(super) fn new(coding: Coding, manner: Manner, total_bytes: Option<u64>) -> Option<Self> {
        let lease = match manner.keeps_encoders {
            true => Lease::take(coding, manner.quality),
            false => Lease::fresh(coding, manner.quality),
        };
        let encoder = Mutex::new(lease?);
        Some(Self {
            encoder,
            input: None,
            holds_back: false,
            until_sent_bytes: match manner.begins_early {
                true => FIRST_INPUT_BYTES,
                false => usize::MAX,
            },
            is_begun: false,
            total_bytes,
            state: State::Reading,
        })
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    pub(super) fn poll_frame<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
    where
        B: Body<Data = D>,
        B::Error: Into<BoxError>,
    {
        loop {
            let turn = match self.state {
                State::Reading if self.has_input() => self.encode().map_err(Into::into),
                State::Reading => self.read(body.as_mut(), cx),
                State::Flushing => self.flush().map_err(Into::into),
                State::Finishing => self.finish().map_err(Into::into),
                State::Ending => return self.end(),
                State::Done => return Poll::Ready(None),
            };
            match turn {
                Ok(Turn::Again) => {}
                Ok(Turn::Emit) => {
                    self.until_sent_bytes = usize::MAX;
                    let chunk = self.encoder().take_output();
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                Ok(Turn::Wait) => return Poll::Pending,
                Err(error) => {
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn encoder(&mut self) -> &mut super::codec::Encoder {
        let lease = self.encoder.get_mut();
        lease.unwrap_or_else(PoisonError::into_inner)
    }

    fn has_input(&self) -> bool {
        self.input.as_ref().is_some_and(Buf::has_remaining)
    }

    fn encode(&mut self) -> io::Result<Turn> {
        let Some(input) = &mut self.input else {
            return Ok(Turn::Again);
        };
        if self.until_sent_bytes == 0 {
            self.until_sent_bytes = usize::MAX;
            self.state = State::Flushing;
            return Ok(Turn::Again);
        }
        let encoder = self.encoder.get_mut();
        let encoder = encoder.unwrap_or_else(PoisonError::into_inner);
        let chunk = input.chunk();
        if !self.is_begun {
            encoder.expect(chunk.len(), self.total_bytes);
            self.is_begun = true;
        }
        let chunk = &chunk[..chunk.len().min(self.until_sent_bytes)];
        let read = encoder.encode(chunk)?;
        input.advance(read);
        self.until_sent_bytes -= read;
        self.holds_back = true;
        Ok(if encoder.is_full() {
            Turn::Emit
        } else {
            Turn::Again
        })
    }

    fn read<B>(&mut self, body: Pin<&mut B>, cx: &mut Context<'_>) -> Result<Turn, BoxError>
    where
        B: Body<Data = D>,
        B::Error: Into<BoxError>,
    {
        self.input = None;
        match body.poll_frame(cx) {
            Poll::Pending if self.holds_back => self.state = State::Flushing,
            Poll::Pending => return Ok(Turn::Wait),
            Poll::Ready(None) => self.state = State::Finishing,
            Poll::Ready(Some(Err(error))) => return Err(error.into()),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => self.input = Some(data),
                Err(frame) => {
                    self.encoder().trailers = frame.into_trailers().ok();
                    self.state = State::Finishing;
                }
            },
        }
        Ok(Turn::Again)
    }

    fn flush(&mut self) -> io::Result<Turn> {
        if self.encoder().flush()? {
            self.holds_back = false;
            self.state = State::Reading;
        }
        Ok(self.emit_if_any())
    }

    fn finish(&mut self) -> io::Result<Turn> {
        if self.encoder().finish()? {
            self.state = State::Ending;
        }
        Ok(self.emit_if_any())
    }

    fn emit_if_any(&mut self) -> Turn {
        if self.encoder().has_output() {
            Turn::Emit
        } else {
            Turn::Again
        }
    }

    fn end<E>(&mut self) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        self.state = State::Done;
        Poll::Ready(
            self.encoder()
                .trailers
                .take()
                .map(|trailers| Ok(Frame::trailers(trailers))),
        )
    }
}
