//! Every copy of a message's bytes is made by `pool/copies`, which counts it: no module copies by other means,
//! but those that say here what they copy.
#![forbid(unsafe_code)]

#[path = "support/sources.rs"]
mod sources;

use std::collections::BTreeMap;

/// How bytes are copied.
const COPIES: [&str; 13] = [
    "extend_from_slice",
    "copy_from_slice",
    "clone_from_slice",
    "put_slice",
    "copy_to_bytes",
    "copy_to_slice",
    "to_vec()",
    "into_owned()",
    ".to_owned()",
    "copy_within",
    "copy_nonoverlapping",
    "BytesMut::from(",
    ".concat()",
];

/// Files that copy, how often they say so, and what it is. A message's payload is nowhere among it.
const EXCEPT: &[(&str, usize, &str)] = &[
    ("zero-runtime/pool/copies.rs", 4, "the counted ones"),
    // What implements `Append`, through which copies are counted.
    (
        "zero-runtime/pool/write_buf.rs",
        3,
        "for the counted ones, and for the server's own words",
    ),
    (
        "zero-runtime/pool/slot.rs",
        4,
        "for the counted ones, and for the application, which writes",
    ),
    (
        "zero-runtime/message/buffer.rs",
        5,
        "for the counted ones, and for the application, which writes",
    ),
    ("zero-runtime/upgrade/stream.rs", 1, "for the counted ones"),
    // Heads are made of parts, not copied.
    ("zero-runtime/proto/date.rs", 2, "the date"),
    ("zero-runtime/proto/h1/conn.rs", 1, "100 Continue"),
    ("zero-runtime/proto/h1/encode.rs", 1, "a response's head"),
    (
        "zero-runtime/proto/h1/encode/plain.rs",
        20,
        "a response's head",
    ),
    (
        "zero-runtime/proto/h1/send.rs",
        11,
        "what frames chunks, and trailers",
    ),
    ("zero-runtime/message/response.rs", 5, "a response's head"),
    // No bytes of messages.
    ("zero-runtime/bridge/peers.rs", 1, "an address"),
    ("zero-runtime/dispatch.rs", 1, "a path's class"),
    (
        "zero-runtime/proto/h1/shapes.rs",
        1,
        "names of a shape, when it is learnt",
    ),
    (
        "zero-runtime/runtime/router/table.rs",
        1,
        "the end of a path, to be hashed",
    ),
    ("zero-axum/upgrade.rs", 1, "hyper's handshake in memory"),
];

/// Not on a server's way.
const ELSEWHERE: [&str; 4] = [
    "zero-runtime/fuzzing",
    "zero-runtime/instrument.rs",
    "zero-runtime/sim/",
    "zero-runtime/worker/direct/story.rs",
];

fn copies(code: &str) -> usize {
    COPIES.iter().map(|copy| code.matches(copy).count()).sum()
}

#[test]
fn no_module_copies_bytes_uncounted() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in sources::lines(&["zero-runtime", "zero-axum"]) {
        let is_elsewhere = ELSEWHERE.iter().any(|start| line.file.starts_with(start));
        for _ in 0..copies(&line.code) {
            if !is_elsewhere {
                let at = format!("{}: {}", line.number, line.code.trim());
                found.entry(line.file.clone()).or_default().push(at);
            }
        }
    }
    let mut wrong = String::new();
    for (file, expected, what) in EXCEPT {
        let lines = found.remove(*file).unwrap_or_default();
        if lines.len() != *expected {
            wrong += &format!(
                "{file} ({what}): {} places, not {expected}: {lines:#?}\n",
                lines.len()
            );
        }
    }
    for (file, lines) in found {
        wrong += &format!("{file}: {lines:#?}\n");
    }
    assert!(
        wrong.is_empty(),
        "copies that pool/copies does not make:\n{wrong}"
    );
}

#[test]
fn a_copy_would_be_found() {
    let text =
        "// copy_from_slice\nout.extend_from_slice(&bytes);\nlet a = Bytes::copy_from_slice(b);\n";
    let found: usize = sources::code(text)
        .iter()
        .map(|(_, code)| copies(code))
        .sum();
    assert_eq!(found, 2);
}
