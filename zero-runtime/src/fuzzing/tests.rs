//! The corpus, which holds every input that once found a fault; and some noise around it.

use std::fs;
use std::path::Path;

/// So many mutations of each entry.
const MUTATIONS: usize = 300;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&corpus).expect("a corpus for every target");
    let mut random = 0x5eed_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    let mut count = 0;
    for entry in entries {
        let input = fs::read(entry.expect("can be listed").path()).expect("can be read");
        run(&input);
        count += 1;
        for _ in 0..MUTATIONS {
            let mut input = input.clone();
            for _ in 0..=next() % 4 {
                let at = next() % (input.len() + 1);
                match next() % 3 {
                    0 => input.insert(at, next() as u8),
                    1 if at < input.len() => drop(input.remove(at)),
                    _ if at < input.len() => input[at] = next() as u8,
                    _ => {}
                }
            }
            run(&input);
        }
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn heads() {
    replay("head", super::head);
}

#[test]
fn chunked_bodies() {
    replay("chunked", super::chunked);
}

#[test]
fn machines() {
    replay("machine", super::machine);
}

#[test]
fn responses() {
    replay("response", super::response);
}
