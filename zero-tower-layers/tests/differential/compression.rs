//! Compression: which coding, which headers, and the same body once decoded.

use std::io::Read as _;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::support::*;

mod theirs {
    pub use tower_http::CompressionLevel as Level;
    pub use tower_http::compression::predicate::{
        DefaultPredicate, NotForContentType, Predicate, SizeAbove,
    };
    pub use tower_http::compression::{Compression as Service, CompressionLayer as Layer};
}

mod ours {
    pub use zero_tower_layers::compression::predicate::{
        DefaultPredicate, NotForContentType, Predicate, SizeAbove,
    };
    pub use zero_tower_layers::compression::{
        CompressionLevel as Level, ZeroCompression as Service, ZeroCompressionLayer as Layer,
    };
}

#[derive(Clone, Copy, Debug)]
enum When {
    Default,
    SizeAbove,
    NotText,
    Closure,
    Both,
    Always,
}

#[derive(Clone, Debug)]
struct Choice {
    refused: Vec<&'static str>,
    level: (u8, i32),
    when: When,
}

fn choices() -> impl Strategy<Value = Choice> {
    let refused = prop_oneof![
        2 => Just(Vec::new()),
        1 => subsequence(vec!["gzip", "deflate", "br", "zstd"], 0..=4),
    ];
    let level = prop_oneof![
        4 => Just((0, 0)),
        1 => Just((1, 0)),
        2 => (-3..9).prop_map(|level| (2, level)),
    ];
    let when = select(&[
        When::Default,
        When::Default,
        When::SizeAbove,
        When::NotText,
        When::Closure,
        When::Both,
        When::Always,
    ]);
    (refused, level, when).prop_map(|(refused, level, when)| Choice {
        refused,
        level,
        when,
    })
}

fn closure(status: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    status.is_success() && !headers.contains_key("x-as-it-is")
}

macro_rules! run {
    ($krate:ident, $choice:expr, $script:expr, $head:expr) => {{
        use $krate::*;
        let choice = $choice;
        let level = match choice.level {
            (0, _) => Level::Default,
            (1, _) => Level::Fastest,
            (3, _) => Level::Best,
            (_, level) => Level::Precise(level),
        };
        let mut layer = Layer::new().quality(level);
        for name in &choice.refused {
            layer = match *name {
                "gzip" => layer.no_gzip(),
                "deflate" => layer.deflate(false),
                "br" => layer.no_br(),
                _ => layer.zstd(false),
            };
        }
        match choice.when {
            When::Default => observe(layer, $script, $head),
            When::SizeAbove => observe(layer.compress_when(SizeAbove::new(100)), $script, $head),
            When::NotText => observe(
                layer.compress_when(NotForContentType::new("text/")),
                $script,
                $head,
            ),
            When::Closure => observe(layer.compress_when(closure), $script, $head),
            When::Both => {
                let both = DefaultPredicate::new()
                    .and(closure)
                    .and(NotForContentType::const_new("text/c"));
                observe(layer.compress_when(both), $script, $head)
            }
            When::Always => observe(layer.compress_when(None::<SizeAbove>), $script, $head),
        }
    }};
}

/// Lists of codings with weights, good and bad.
fn accept_encoding() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let name = select(vec![
        "gzip", "x-gzip", "GZIP", "deflate", "br", "zstd", "identity", "*", "compress", "",
    ]);
    let weight = select(vec![
        "",
        "",
        "",
        ";q=1",
        ";q=0",
        "; q=0.5",
        ";Q=0.50",
        ";q=0.001",
        ";q=1.000",
        ";q=0.",
        ";q=2",
        ";q=1.001",
        ";q=.5",
        ";q=0.1234",
        ";q =1",
        ";q=0.5;a=b",
        ";",
        ";a=b",
    ]);
    let item = (name, weight).prop_map(|(name, weight)| format!("{name}{weight}"));
    let separator = select(vec![",", ", ", " , ", ",\t"]);
    let line = (proptest::collection::vec(item, 1..5), separator)
        .prop_map(|(items, separator)| items.join(separator));
    let odd = Just(String::from("gzip, \u{e9}"));
    let line = prop_oneof![12 => line, 1 => odd];
    proptest::collection::vec(line, 0..3).prop_map(|lines| {
        let field = |line: String| {
            (
                http::header::ACCEPT_ENCODING,
                HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            )
        };
        lines.into_iter().map(field).collect()
    })
}

const RESPONSE: &[(&str, &[&str])] = &[
    (
        "content-type",
        &[
            "text/plain",
            "text/css",
            "image/png",
            "image/svg+xml",
            "application/grpc+x",
            "application/grpc-web",
            "text/event-stream",
        ],
    ),
    ("content-length", &["10", "100", "x"]),
    ("vary", &["origin", "Accept-Encoding, x", "*"]),
    ("accept-ranges", &["bytes"]),
    ("etag", &["\"1\""]),
    ("x-as-it-is", &[""]),
];

/// Fields that keep a response from being compressed are rare, or nothing would be.
fn response_fields() -> impl Strategy<Value = Vec<(HeaderName, HeaderValue)>> {
    let hindrance = fields(
        &[
            ("content-encoding", &["gzip"]),
            ("content-range", &["bytes 0-9/10"]),
        ],
        1,
    );
    let hindrance = prop_oneof![5 => Just(Vec::new()), 1 => hindrance];
    (fields(RESPONSE, 4), hindrance).prop_map(|(mut fields, hindrance)| {
        fields.extend(hindrance);
        fields
    })
}

/// Text that compresses, or noise that does not, of up to some chunks.
fn data() -> BoxedStrategy<Vec<u8>> {
    let text = (0..4_usize, 0..12_000_usize).prop_map(|(start, len)| {
        let words = b"the quick brown fox jumps over the lazy dog and 0123456789 more; ";
        words
            .iter()
            .copied()
            .cycle()
            .skip(start)
            .take(len)
            .collect()
    });
    let noise = (any::<u64>(), 0..9_000_usize).prop_map(|(seed, len)| {
        let step = |state: &mut u64| {
            *state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            Some((*state >> 33) as u8)
        };
        std::iter::successors(Some(seed), |_| None)
            .flat_map(|seed| std::iter::repeat_n((), len).scan(seed, move |state, ()| step(state)))
            .collect()
    });
    let short = proptest::collection::vec(any::<u8>(), 0..50);
    prop_oneof![4 => text, 1 => noise, 3 => short].boxed()
}

pub fn decode(coding: &str, data: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(data).read_to_end(&mut out)?,
        "deflate" => flate2::read::ZlibDecoder::new(data).read_to_end(&mut out)?,
        "br" => brotli::Decompressor::new(data, 4096).read_to_end(&mut out)?,
        "zstd" => zstd::stream::read::Decoder::new(data)?.read_to_end(&mut out)?,
        _ => data.to_vec().as_slice().read_to_end(&mut out)?,
    };
    Ok(out)
}

/// Puts decoded bodies in the place of encoded ones, and returns the latters' size. What was sent before an
/// error depends on the encoder's moods and is dropped.
fn decode_outcome(outcome: &mut Outcome, was_encoded: bool) -> usize {
    let observed = outcome.observed();
    observed
        .map(|observed| decode_observed(observed, was_encoded))
        .sum()
}

fn decode_observed(observed: &mut Observed, was_encoded: bool) -> usize {
    let bytes = observed.data.len();
    let coding = observed
        .headers
        .iter()
        .find(|(name, ..)| name == "content-encoding");
    match coding {
        Some((_, coding, _)) if !was_encoded => {
            if observed.error.is_some() {
                observed.data.clear();
                return 0;
            }
            observed.data = decode(coding, &observed.data).expect("a whole stream of its coding");
            bytes
        }
        _ => bytes,
    }
}

#[test]
fn responses_differ_in_nothing_but_the_encoded_bytes() {
    check_choices(1500, choices(), steps(data()));
}

/// Encoders at high levels take their time, and zstd's several hundred MiB at the highest.
#[test]
fn high_levels_are_taken_alike() {
    let level = prop_oneof![1 => Just((3, 0)), 3 => (9..20).prop_map(|level| (2, level))];
    let choices = (level, any::<bool>()).prop_map(|(level, br)| Choice {
        refused: match (level, br) {
            ((3, _), true) => vec!["zstd"],
            ((3, _), false) => vec!["zstd", "br"],
            (_, true) => Vec::new(),
            (_, false) => vec!["br"],
        },
        level,
        when: When::Default,
    });
    let data = proptest::collection::vec(any::<u8>(), 40..2000).boxed();
    check_choices(40, choices, steps(data));
}

fn check_choices(
    cases: u32,
    choices: impl Strategy<Value = Choice>,
    steps: impl Strategy<Value = Vec<Step>>,
) {
    let heads = heads(accept_encoding());
    let scripts = scripts(response_fields(), steps).prop_map(|script| Script {
        // Bodies are read to their end: ours have fewer frames.
        polls_max: usize::MAX,
        ..script
    });
    check(
        cases,
        (choices, heads, scripts),
        |(choice, head, script)| {
            let was_encoded = script.answer.as_ref().is_ok_and(|answer| {
                let mut headers = answer.headers.iter();
                headers.any(|(name, _)| name == "content-encoding")
            });
            let mut theirs = run!(theirs, &choice, &script, &head);
            let mut ours = run!(ours, &choice, &script, &head);
            let their_bytes = decode_outcome(&mut theirs, was_encoded);
            let our_bytes = decode_outcome(&mut ours, was_encoded);
            prop_assert_eq!(&ours, &theirs);
            let most = 1.02 * their_bytes as f64 + 16.0 * ours.answers.len() as f64;
            prop_assert!(
                our_bytes as f64 <= most,
                "{} bytes for {}",
                our_bytes,
                their_bytes
            );
            Ok(())
        },
    );
}

/// zlib-rs 0.6.8 does not quite reset an encoder that is in the middle of a stream.
#[test]
fn a_body_that_breaks_off_leaves_no_trace_in_the_next() {
    let script = |steps| Script {
        unready: 0,
        ready: Ok(()),
        waits: 0,
        polls_max: usize::MAX,
        answer: Ok(Answer {
            status: StatusCode::OK,
            headers: Vec::new(),
            steps,
            knows_size: false,
        }),
    };
    let text: Vec<u8> = b"as it was in the beginning ".repeat(100);
    for coding in ["gzip", "deflate", "br", "zstd"] {
        for level in [
            ours::Level::Fastest,
            ours::Level::Default,
            ours::Level::Precise(9),
        ] {
            let head = Head {
                method: http::Method::GET,
                uri: "/".parse().unwrap(),
                headers: vec![(
                    http::header::ACCEPT_ENCODING,
                    HeaderValue::from_static(coding),
                )],
            };
            let layer = ours::Layer::new().quality(level);
            let breaks = script(vec![Step::Data(text.clone()), Step::Pending, Step::Error]);
            observe(layer.clone(), &breaks, &head);
            let goes_on = script(vec![
                Step::Data(text.clone()),
                Step::Pending,
                Step::Data(text.clone()),
            ]);
            let mut outcome = observe(layer, &goes_on, &head);
            decode_outcome(&mut outcome, false);
            for observed in outcome.observed() {
                assert_eq!(observed.data, text.repeat(2), "{coding} {level:?}");
            }
        }
    }
}

#[test]
fn a_service_is_built_as_a_layer_is() {
    let head = Head {
        method: http::Method::GET,
        uri: "/".parse().unwrap(),
        headers: vec![(
            http::header::ACCEPT_ENCODING,
            HeaderValue::from_static("gzip, br"),
        )],
    };
    let script = Script {
        unready: 1,
        ready: Ok(()),
        waits: 1,
        polls_max: usize::MAX,
        answer: Ok(Answer {
            status: StatusCode::OK,
            headers: Vec::new(),
            steps: vec![Step::Data(vec![b'a'; 5000])],
            knows_size: true,
        }),
    };
    let wrap_theirs = |inner| {
        theirs::Service::new(inner)
            .no_br()
            .quality(theirs::Level::Best)
    };
    let wrap_ours = |inner| ours::Service::new(inner).no_br().quality(ours::Level::Best);
    let mut theirs = observe_with(wrap_theirs, &script, &head, no_id);
    let mut ours = observe_with(wrap_ours, &script, &head, no_id);
    decode_outcome(&mut theirs, false);
    decode_outcome(&mut ours, false);
    assert_eq!(ours, theirs);
    for observed in ours.observed() {
        assert_eq!(observed.data, vec![b'a'; 5000]);
    }
}
