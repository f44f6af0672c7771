//! Header maps as they were made for heads seen before. Whoever sends many fields sends the same ones in the
//! same order again: such a map is cloned and given its values, instead of being grown and filled name by name.
//!
//! Owns maps without values, a bounded number of them; knows names and their order, nothing of what is said.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::head::put_value;
use super::known::Known;
use super::names::NameTable;
use super::table::{HeadTable, Line};
use crate::words::short_word;

/// Shapes kept. A power of two.
const SLOTS: usize = 8;
/// Heads with more lines are made field by field.
const LINES_MAX: usize = 32;
/// Heads whose names are longer, all of them together, too. In bytes.
const NAMES_BYTES_MAX: usize = 512;
/// So many heads in a row must miss a slot before what is in it is given up: a peer who never asks twice in the
/// same way costs others little.
const MISSES_MAX: u32 = 8;

/// The shapes of one shard, one a slot.
#[derive(Debug)]
pub(super) struct Shapes {
    slots: Box<[Slot; SLOTS]>,
}

#[derive(Debug, Default)]
struct Slot {
    shape: Option<Shape>,
    /// Since the shape was last met.
    misses: u32,
}

/// The names of one kind of head, in their order and none of them twice.
#[derive(Debug)]
struct Shape {
    /// As they were sent, one after the other.
    names: Vec<u8>,
    fields: Vec<Field>,
    /// With empty values.
    map: HeaderMap,
}

#[derive(Debug)]
struct Field {
    /// Length of the name.
    bytes: u16,
    known: &'static Known,
}

impl Shapes {
    pub(super) fn new() -> Self {
        Shapes {
            slots: Box::new(std::array::from_fn(|_| Slot::default())),
        }
    }

    /// The map of a head, if one of its shape is remembered.
    #[inline(never)]
    pub(super) fn map(&mut self, head: &Bytes, table: &HeadTable) -> Option<HeaderMap> {
        let slot = &mut self.slots[index(table)];
        let Some(shape) = slot.shape.as_ref().filter(|shape| shape.is_of(head, table)) else {
            slot.misses += 1;
            return None;
        };
        slot.misses = 0;
        let mut map = shape.map.clone();
        let lines = table.lines.iter().zip(&shape.fields);
        for ((line, field), place) in lines.zip(map.values_mut()) {
            put_value(place, head, *line, field.known)?;
        }
        Some(map)
    }

    /// Remembers the shape of a head that `map` was made of, if it is worth it.
    #[cold]
    pub(super) fn learn(
        &mut self,
        head: &[u8],
        table: &HeadTable,
        names: &mut NameTable,
        map: &HeaderMap,
    ) {
        let slot = &mut self.slots[index(table)];
        if slot.shape.is_some() && slot.misses < MISSES_MAX {
            return;
        }
        slot.misses = 0;
        if let Some(shape) = Shape::of(head, table, names, map) {
            slot.shape = Some(shape);
        }
    }
}

/// Where heads of a shape are remembered: told by what is at hand, not by its names.
#[inline]
fn index(table: &HeadTable) -> usize {
    let bytes = |line: &Line| usize::from(line.name_bytes);
    let (first, last) = (table.lines.first(), table.lines.last());
    let ends = first.map_or(0, bytes) + 3 * last.map_or(0, bytes);
    (table.lines.len() + ends) % SLOTS
}

impl Shape {
    /// `None` when a name is there twice, or hidden, or when there are too many.
    #[cold]
    fn of(head: &[u8], table: &HeadTable, names: &mut NameTable, map: &HeaderMap) -> Option<Self> {
        let lines = &table.lines;
        let bytes: usize = lines.iter().map(|line| usize::from(line.name_bytes)).sum();
        let is_plain = map.keys_len() == lines.len() && map.len() == lines.len();
        if !is_plain || lines.len() > LINES_MAX || bytes > NAMES_BYTES_MAX {
            return None;
        }
        let mut shape = Shape {
            names: Vec::with_capacity(bytes),
            fields: Vec::with_capacity(lines.len()),
            map: HeaderMap::with_capacity(lines.len()),
        };
        for line in lines {
            let raw = line.name(head);
            let (name, known) = names.get(raw).ok()?;
            shape.names.extend_from_slice(raw);
            shape.fields.push(Field {
                bytes: line.name_bytes,
                known,
            });
            shape
                .map
                .try_insert(name, HeaderValue::from_static(""))
                .ok()?;
        }
        // `http` promises no order. This is how it is, and if it ever is not, nothing is remembered.
        let clone = shape.map.clone();
        let mut in_order = lines.iter().zip(clone.keys());
        let is_in_place = |(line, name): (&Line, &HeaderName)| {
            let raw = line.name(head);
            name.as_str().as_bytes().eq_ignore_ascii_case(raw)
        };
        in_order.all(is_in_place).then_some(shape)
    }

    /// Whether the head has these names, spelt like this, and in this order.
    #[inline]
    fn is_of(&self, head: &[u8], table: &HeadTable) -> bool {
        let mut names = &self.names[..];
        let is_next = |(line, field): (&Line, &Field)| {
            if line.name_bytes != field.bytes || line.hidden {
                return false;
            }
            let (name, rest) = names.split_at(usize::from(field.bytes));
            names = rest;
            is_same(name, line.name(head))
        };
        table.lines.len() == self.fields.len() && table.lines.iter().zip(&self.fields).all(is_next)
    }
}

/// Whether two names of one length are the same, without a call for those of up to 16 bytes.
#[inline]
fn is_same(a: &[u8], b: &[u8]) -> bool {
    let ends = |name: &[u8]| Some((*name.first_chunk::<8>()?, *name.last_chunk::<8>()?));
    match (ends(a), ends(b)) {
        (Some(a_ends), Some(b_ends)) => a_ends == b_ends && (a.len() <= 16 || a == b),
        _ => short_word(a) == short_word(b),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Conn, Event, H1Limits, HeadMemory, blank_head, fill_head};
    use super::*;
    use crate::proto::step;

    /// The map of a head with these fields, by a memory that has seen others, or not.
    fn map(memory: &mut HeadMemory, fields: &[(&str, &str)]) -> HeaderMap {
        let lines = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let head = format!("GET / HTTP/1.1\r\n{}\r\n", lines.collect::<String>());
        let mut table = HeadTable::new(100);
        let step = Conn::new().handle_input(&H1Limits::default(), head.as_bytes(), &mut table);
        let is_head = matches!(step.next, step::Next::Event(Event::Head(_)));
        assert!(is_head, "{head:?}: {step:?}");
        let mut parts = blank_head();
        fill_head(Bytes::from(head), &table, memory, &mut parts).unwrap();
        parts.headers
    }

    fn remembered(memory: &HeadMemory) -> usize {
        let slots = memory.shapes().slots.iter();
        slots.filter(|slot| slot.shape.is_some()).count()
    }

    fn assert_says(map: &HeaderMap, fields: &[(&str, &str)]) {
        let said = map
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let expected = fields
            .iter()
            .map(|&(name, value)| (name.to_ascii_lowercase(), value));
        let said: Vec<_> = said.map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(said, expected.collect::<Vec<_>>());
        for (name, value) in fields {
            assert_eq!(map.get(*name).unwrap(), value, "found by its name");
        }
    }

    #[test]
    fn heads_of_one_shape_say_what_they_say() {
        let memory = &mut HeadMemory::new();
        for round in [
            "one",
            "two",
            "",
            "a value that is longer than the others were",
        ] {
            let fields = [
                ("Host", "h"),
                ("Accept", "*/*"),
                ("X-Custom-And-Long-Name", round),
                ("te", "trailers"),
                ("A", round),
            ];
            assert_says(&map(memory, &fields), &fields);
            assert_eq!(remembered(memory), 1);
        }
    }

    #[test]
    fn names_of_the_same_lengths_are_told_apart() {
        let memory = &mut HeadMemory::new();
        let names = [
            "x-0123456789abcdef-y",
            "x-0123456789abcdeF-y",
            "x-0123456780abcdef-y",
            "y-0123456789abcdef-y",
        ];
        for name in names.iter().cycle().take(3 * names.len()) {
            let fields = [("host", "h"), (*name, "v")];
            assert_says(&map(memory, &fields), &fields);
        }
        for fields in [
            [("host", "h"), ("ab", "1")],
            [("host", "h"), ("ac", "1")],
            [("hosu", "h"), ("host", "1")],
        ] {
            assert_says(&map(memory, &fields), &fields);
        }
    }

    #[test]
    fn a_map_of_a_shape_may_grow_and_shrink() {
        let memory = &mut HeadMemory::new();
        let fields = [("host", "h"), ("accept", "a"), ("dnt", "1")];
        map(memory, &fields);
        let mut changed = map(memory, &fields);
        changed.remove("accept");
        changed.insert("x-new", HeaderValue::from_static("v"));
        changed.append("host", HeaderValue::from_static("i"));
        assert_eq!(changed.len(), 4);
        // And what others get of the shape is as it was.
        assert_says(&map(memory, &fields), &fields);
    }

    #[test]
    fn what_is_there_twice_is_not_remembered() {
        let memory = &mut HeadMemory::new();
        for _ in 0..2 {
            let twice = map(memory, &[("host", "h"), ("cookie", "a"), ("cookie", "b")]);
            assert!(twice.get_all("cookie").iter().eq(["a", "b"]));
        }
        assert_eq!(remembered(memory), 0);
        let hidden = [
            ("host", "h"),
            ("content-length", "0"),
            ("content-length", "0"),
        ];
        assert_eq!(map(memory, &hidden).len(), 2);
        assert_eq!(remembered(memory), 0);
    }

    #[test]
    fn many_fields_are_not_remembered() {
        let memory = &mut HeadMemory::new();
        let names: Vec<_> = (0..LINES_MAX).map(|nth| format!("x-{nth}")).collect();
        let mut fields = vec![("host", "h")];
        fields.extend(names.iter().map(|name| (&name[..], "v")));
        assert_says(&map(memory, &fields), &fields);
        let long = "l".repeat(NAMES_BYTES_MAX);
        let fields = [("host", "h"), (&long[..], "v")];
        assert_says(&map(memory, &fields), &fields);
        assert_eq!(remembered(memory), 0);
    }

    #[test]
    fn a_shape_that_is_met_again_is_not_given_up_for_passers_by() {
        let memory = &mut HeadMemory::new();
        let usual = [("host", "h"), ("abc", "v")];
        map(memory, &usual);
        let kept = |memory: &HeadMemory| {
            let shapes = memory
                .shapes()
                .slots
                .iter()
                .filter_map(|slot| slot.shape.as_ref());
            shapes.filter(|shape| shape.names == b"hostabc").count() == 1
        };
        let passing = |memory: &mut HeadMemory, nth: u32| {
            let name = format!("x{nth:02}");
            map(memory, &[("host", "h"), (&name, "v")]);
        };
        for nth in 0..50 {
            passing(memory, nth);
            if nth % 4 == 3 {
                map(memory, &usual);
            }
            assert!(kept(memory), "{nth}");
        }
        for nth in 0..=MISSES_MAX {
            passing(memory, nth);
        }
        assert!(!kept(memory));
    }
}
