//! Long bodies, compressed: they begin early, are no larger than tower-http's, and are whole.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::{Layer, Service, service_fn};
use tower_http::compression::CompressionLayer;
use zero_tower_layers::compression::predicate::SizeAbove;
use zero_tower_layers::compression::{CompressionLevel, ZeroCompressionLayer};

const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];
/// Input after which something has been sent.
const BEGUN_BYTES: usize = 64 * 1024;

/// Data that is all there, in pieces; counts what has been read of it.
#[derive(Clone)]
struct Pieces {
    left: VecDeque<Bytes>,
    read: Arc<AtomicUsize>,
    /// What it says it is long.
    said: Option<u64>,
}

impl Pieces {
    fn of(data: &Bytes, piece_bytes: usize) -> Self {
        let starts = (0..data.len()).step_by(piece_bytes);
        let pieces = starts.map(|at| data.slice(at..data.len().min(at + piece_bytes)));
        Pieces {
            left: pieces.collect(),
            read: Arc::default(),
            said: Some(data.len() as u64),
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.left.pop_front();
        let bytes = piece.as_ref().map_or(0, Bytes::len);
        self.read.fetch_add(bytes, Ordering::Relaxed);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        self.said
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// What a client gets, and how much of the body had been read when the first of it came.
fn encoded<L, B>(layer: L, coding: &'static str, pieces: Pieces) -> (Vec<u8>, usize)
where
    L: Layer<tower::util::ServiceFn<Answer>>,
    L::Service: Service<Request<Pieces>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes>,
{
    let read = pieces.read.clone();
    let answer: Answer = |request| std::future::ready(Ok(Response::new(request.into_body())));
    let mut service = layer.layer(service_fn(answer));
    let request = Request::builder()
        .header(ACCEPT_ENCODING, coding)
        .body(pieces);
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = pin!(service.call(request.unwrap()));
    let Poll::Ready(Ok(response)) = call.as_mut().poll(&mut cx) else {
        panic!("nothing here waits");
    };
    let mut body = pin!(response.into_body());
    let (mut received, mut begun) = (Vec::new(), None);
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
        begun.get_or_insert_with(|| read.load(Ordering::Relaxed));
        received.extend_from_slice(&frame.into_data().unwrap());
    }
    (received, begun.unwrap())
}

type Answer = fn(Request<Pieces>) -> std::future::Ready<Result<Response<Pieces>, Infallible>>;

fn decoded(coding: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(data).read_to_end(&mut out),
        "deflate" => flate2::read::ZlibDecoder::new(data).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(data, 4096).read_to_end(&mut out),
        _ => zstd::stream::read::Decoder::new(data)
            .unwrap()
            .read_to_end(&mut out),
    }
    .unwrap();
    out
}

/// Records such as an API answers with, cut to size.
fn records(bytes: usize) -> Bytes {
    let mut text = String::new();
    let mut n = 1_u64;
    while text.len() < bytes {
        n = n
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        text += &format!(
            "{{\"id\":{},\"name\":\"user {}\",\"age\":{}}},",
            n >> 40,
            n % 997,
            (n >> 33) % 90
        );
    }
    text.truncate(bytes);
    text.into()
}

#[test]
fn something_is_sent_before_much_has_been_read() {
    let data = records(1 << 20);
    for coding in CODINGS {
        for level in [
            CompressionLevel::Fastest,
            CompressionLevel::Default,
            CompressionLevel::Precise(9),
        ] {
            let layer = ZeroCompressionLayer::new().quality(level);
            let (received, begun) = encoded(layer, coding, Pieces::of(&data, 8 * 1024));
            // The piece that comes next shows that the body is longer.
            assert!(
                begun <= BEGUN_BYTES + 8 * 1024,
                "{coding} {level:?}: {begun} bytes read"
            );
            assert!(decoded(coding, &received) == data, "{coding} {level:?}");
        }
    }
}

/// With `begin_early(false)` the encoder decides, as tower-http's does.
#[test]
fn beginning_can_be_left_to_the_encoder() {
    let data = records(1 << 20);
    for coding in CODINGS {
        let layer = ZeroCompressionLayer::new().begin_early(false);
        let (received, begun) = encoded(layer, coding, Pieces::of(&data, 8 * 1024));
        let (_, theirs) = encoded(CompressionLayer::new(), coding, Pieces::of(&data, 8 * 1024));
        assert!(begun > BEGUN_BYTES + 8 * 1024, "{coding}: {begun}");
        assert_eq!(begun, theirs, "{coding}");
        assert!(decoded(coding, &received) == data, "{coding}");
    }
}

/// Both of whole bodies and of bodies in pieces, at the level named.
#[track_caller]
fn assert_no_larger(coding: &'static str, bytes: usize, level: Level) {
    let data = records(bytes);
    let (ours, theirs) = level;
    for piece_bytes in [bytes, 8 * 1024] {
        let pieces = || Pieces::of(&data, piece_bytes);
        let layer = ZeroCompressionLayer::new().quality(ours);
        let (ours, _) = encoded(layer, coding, pieces());
        let layer = CompressionLayer::new().quality(theirs);
        let (theirs, _) = encoded(layer, coding, pieces());
        assert!(decoded(coding, &ours) == data, "{coding}, {bytes}");
        assert!(
            ours.len() * 100 <= theirs.len() * 102,
            "{coding}, {bytes} in pieces of {piece_bytes}: {} bytes, tower-http {}",
            ours.len(),
            theirs.len()
        );
    }
}

/// A level, as ours and as theirs.
type Level = (CompressionLevel, tower_http::CompressionLevel);

const DEFAULT: Level = (
    CompressionLevel::Default,
    tower_http::CompressionLevel::Default,
);

fn precise(level: i32) -> Level {
    (
        CompressionLevel::Precise(level),
        tower_http::CompressionLevel::Precise(level),
    )
}

#[test]
fn beginning_early_costs_no_size() {
    for bytes in [
        1 << 10,
        1 << 14,
        BEGUN_BYTES,
        BEGUN_BYTES + 1,
        1 << 17,
        1 << 20,
    ] {
        for coding in CODINGS {
            assert_no_larger(coding, bytes, DEFAULT);
        }
    }
}

/// Where encoders look furthest, ending a block early could cost most.
#[test]
fn beginning_early_costs_no_size_at_high_levels_either() {
    let best = (CompressionLevel::Best, tower_http::CompressionLevel::Best);
    for bytes in [BEGUN_BYTES + 1, 3 << 16] {
        for coding in CODINGS {
            assert_no_larger(coding, bytes, precise(9));
            assert_no_larger(coding, bytes, best);
        }
    }
}

/// A body may say that it ends and go on: what it said is a hint.
#[test]
fn a_body_longer_than_it_said_is_whole() {
    let data = records(1 << 18);
    for coding in CODINGS {
        for said in [0, 100, 70_000] {
            let mut pieces = Pieces::of(&data, 8 * 1024);
            pieces.said = Some(said);
            let layer = ZeroCompressionLayer::new().compress_when(Some(SizeAbove::new(0)));
            let (received, _) = encoded(layer, coding, pieces);
            assert!(decoded(coding, &received) == data, "{coding}, {said}");
        }
    }
}

/// Encoders are used again: nothing of one body is to be seen in the next, be it shorter or longer.
#[test]
fn what_came_before_changes_nothing() {
    let bodies = [300, 5_000, 20_000, 200_000].map(records);
    let levels = [0, 1, 2, 3, 4, 5, 9, 10].map(CompressionLevel::Precise);
    for (level, coding) in levels
        .map(|level| CODINGS.map(|coding| (level, coding)))
        .as_flattened()
    {
        let with = |layer: ZeroCompressionLayer, body: &Bytes| {
            encoded(layer.quality(*level), coding, Pieces::of(body, body.len())).0
        };
        let fresh = || ZeroCompressionLayer::new().keep_encoders(false);
        let alone = bodies.each_ref().map(|body| with(fresh(), body));
        for at in [0, 1, 2, 3, 2, 1, 0, 3, 0, 2, 0, 1, 1, 3, 3] {
            let received = with(ZeroCompressionLayer::new(), &bodies[at]);
            assert!(received == alone[at], "{coding} {level:?}: body {at}");
        }
    }
}
