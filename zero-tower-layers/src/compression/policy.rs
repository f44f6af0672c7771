//! Which coding a response gets, and what its head then says: heads in, decisions out.
//!
//! Knows header maps; knows no body, no encoder and no service.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap,
    HeaderValue, VARY,
};

/// A content coding, from the least to the most preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Coding {
    Identity,
    Deflate,
    Gzip,
    Brotli,
    Zstd,
}

impl Coding {
    const ALL: [Coding; 5] = [
        Coding::Identity,
        Coding::Deflate,
        Coding::Gzip,
        Coding::Brotli,
        Coding::Zstd,
    ];

    fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Deflate => "deflate",
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        // No two names of the same length begin with the same letter.
        let first = name.first()?.to_ascii_lowercase();
        let (coding, spelling) = match (name.len(), first) {
            (2, b'b') => (Coding::Brotli, "br"),
            (4, b'g') => (Coding::Gzip, "gzip"),
            (4, b'z') => (Coding::Zstd, "zstd"),
            (6, b'x') => (Coding::Gzip, "x-gzip"),
            (7, b'd') => (Coding::Deflate, "deflate"),
            (8, b'i') => (Coding::Identity, "identity"),
            _ => return None,
        };
        name.eq_ignore_ascii_case(spelling.as_bytes())
            .then_some(coding)
    }
}

/// The codings a layer offers. Default: all that were compiled in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offer([bool; Coding::ALL.len()]);

impl Default for Offer {
    fn default() -> Self {
        let mut offer = Offer([false; Coding::ALL.len()]);
        offer.set(Coding::Identity, true);
        offer.set(Coding::Deflate, cfg!(feature = "compression-deflate"));
        offer.set(Coding::Gzip, cfg!(feature = "compression-gzip"));
        offer.set(Coding::Brotli, cfg!(feature = "compression-br"));
        offer.set(Coding::Zstd, cfg!(feature = "compression-zstd"));
        offer
    }
}

impl Offer {
    pub(super) fn set(&mut self, coding: Coding, enable: bool) {
        self.0[coding as usize] = enable;
    }

    fn has(self, coding: Coding) -> bool {
        self.0[coding as usize]
    }

    /// The coding for a response to a request with these headers: of those with the highest weight
    /// the one we prefer. `None` if the client refuses all there are.
    ///
    /// # Standards
    /// RFC 9110 §12.5.3.
    pub(super) fn choose(self, request: &HeaderMap) -> Option<Coding> {
        let has_repeated = request.len() > request.keys_len();
        if has_repeated {
            let lines = request.get_all(ACCEPT_ENCODING).into_iter();
            return self.choose_for(lines.map(HeaderValue::as_bytes));
        }
        let line = request.get(ACCEPT_ENCODING).map(HeaderValue::as_bytes);
        self.choose_for(line.into_iter())
    }

    /// As [`choose`](Self::choose), with the values of `accept-encoding`.
    #[inline]
    pub(super) fn choose_for<'a>(
        self,
        mut lines: impl Iterator<Item = &'a [u8]>,
    ) -> Option<Coding> {
        let Some(first) = lines.next() else {
            return Some(Coding::Identity);
        };
        match (lines.next(), well_known(first)) {
            (None, Some(wished)) => Some(self.best_of(wished)),
            (second, _) => self.weigh([Some(first), second].into_iter().flatten().chain(lines)),
        }
    }

    /// Of codings that are wished for alike, the one we prefer.
    fn best_of(self, wished: &[Coding]) -> Coding {
        let offered = wished.iter().filter(|coding| self.has(**coding));
        offered.max().copied().unwrap_or(Coding::Identity)
    }

    fn weigh<'a>(self, lines: impl Iterator<Item = &'a [u8]>) -> Option<Coding> {
        let mut wishes = Wishes::default();
        // A line with anything but printable ASCII says nothing.
        let is_text = |line: &&[u8]| line.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'));
        for line in lines.filter(is_text) {
            for item in line.split(|byte| *byte == b',') {
                wishes.add(item, self);
            }
        }
        match wishes.others {
            Some(others) => self.choose_by(|coding| wishes.first(coding).or(Some(others))),
            None => self
                .choose_by(|coding| wishes.best(coding))
                .or((!wishes.refuses_identity).then_some(Coding::Identity)),
        }
    }

    fn choose_by(self, weight: impl Fn(Coding) -> Option<Weight>) -> Option<Coding> {
        let offered = Coding::ALL.into_iter().filter(|coding| self.has(*coding));
        let weighed = offered.filter_map(|coding| Some((weight(coding)?, coding)));
        let best = weighed.filter(|(weight, _)| weight.0 > 0).max();
        best.map(|(_, coding)| coding)
    }
}

/// What most clients send, which need not be read word by word.
fn well_known(line: &[u8]) -> Option<&'static [Coding]> {
    use Coding::{Brotli, Deflate, Gzip, Zstd};

    match line {
        // Chrome and Firefox; curl; Safari and libraries; older ones; Go.
        b"gzip, deflate, br, zstd" => Some(&[Deflate, Gzip, Brotli, Zstd]),
        b"deflate, gzip, br, zstd" => Some(&[Deflate, Gzip, Brotli, Zstd]),
        b"gzip, deflate, br" => Some(&[Deflate, Gzip, Brotli]),
        b"gzip, deflate" => Some(&[Deflate, Gzip]),
        b"gzip" => Some(&[Gzip]),
        _ => None,
    }
}

/// What `accept-encoding` asks for. A coding may be named more than once.
#[derive(Default)]
struct Wishes {
    first: [Option<Weight>; Coding::ALL.len()],
    best: [Option<Weight>; Coding::ALL.len()],
    /// Of `*`: the codings not named.
    others: Option<Weight>,
    refuses_identity: bool,
}

impl Wishes {
    /// Adds one item of the list. What is malformed or not offered is passed over.
    fn add(&mut self, item: &[u8], offer: Offer) {
        let semicolon = item.iter().position(|byte| *byte == b';');
        let (name, weight) = match semicolon {
            Some(at) => (&item[..at], Weight::parse(item[at + 1..].trim_ascii())),
            None => (item, Some(Weight::MAX)),
        };
        let name = name.trim_ascii();
        let Some(weight) = weight else { return };
        if name == b"*" {
            self.others.get_or_insert(weight);
            return;
        }
        let Some(coding) = Coding::from_name(name).filter(|coding| offer.has(*coding)) else {
            return;
        };
        self.refuses_identity |= coding == Coding::Identity && weight.0 == 0;
        self.first[coding as usize].get_or_insert(weight);
        let best = &mut self.best[coding as usize];
        *best = (*best).max(Some(weight));
    }

    fn first(&self, coding: Coding) -> Option<Weight> {
        self.first[coding as usize]
    }

    fn best(&self, coding: Coding) -> Option<Weight> {
        self.best[coding as usize]
    }
}

/// A weight in thousandths. RFC 9110 §12.4.2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Weight(u16);

impl Weight {
    const MAX: Weight = Weight(1000);

    /// Reads `q=` and a number from 0 to 1 with at most three decimals.
    fn parse(text: &[u8]) -> Option<Self> {
        let [b'q' | b'Q', b'=', digits @ ..] = text else {
            return None;
        };
        let (whole, decimals) = match digits {
            [whole] => (whole, &[][..]),
            [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
            _ => return None,
        };
        let mut thousandths = match whole {
            b'0' => 0,
            b'1' => 1000,
            _ => return None,
        };
        for (digit, unit) in decimals.iter().zip([100, 10, 1]) {
            if !digit.is_ascii_digit() {
                return None;
            }
            thousandths += unit * u16::from(digit - b'0');
        }
        (thousandths <= 1000).then_some(Weight(thousandths))
    }
}

/// Whether a response's head lets it be compressed: it is neither encoded already nor a range.
pub(super) fn is_compressible(response: &HeaderMap) -> bool {
    !response.contains_key(CONTENT_ENCODING) && !response.contains_key(CONTENT_RANGE)
}

/// Says in `vary` that the response depends on `accept-encoding`, unless it says so.
pub(super) fn vary_by_encoding(response: &mut HeaderMap) {
    let is_said = response.get_all(VARY).iter().any(|value| {
        let name = ACCEPT_ENCODING.as_str().as_bytes();
        let text = value.as_bytes();
        text.windows(name.len())
            .any(|part| part.eq_ignore_ascii_case(name))
    });
    if !is_said {
        response.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Makes a head that of the encoded response: another length, no ranges of the old bytes.
pub(super) fn encode_head(response: &mut HeaderMap, coding: Coding) {
    response.remove(ACCEPT_RANGES);
    response.remove(CONTENT_LENGTH);
    response.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &[&'static str]) -> Option<Coding> {
        let mut offer = Offer([false; 5]);
        for coding in Coding::ALL {
            offer.set(coding, true);
        }
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        offer.choose(&headers)
    }

    #[test]
    fn the_highest_weight_wins_and_then_our_preference() {
        assert_eq!(chosen(&[]), Some(Coding::Identity));
        assert_eq!(chosen(&["gzip, deflate, br, zstd"]), Some(Coding::Zstd));
        assert_eq!(
            chosen(&["gzip;q=0.5", "br;q=0.2, X-GZIP;q=0.1"]),
            Some(Coding::Gzip)
        );
        assert_eq!(chosen(&["compress, snappy"]), Some(Coding::Identity));
        assert_eq!(chosen(&["gzip;q=0.999, identity"]), Some(Coding::Identity));
    }

    #[test]
    fn what_is_well_known_is_read_as_anything_else() {
        for line in [
            "gzip, deflate, br, zstd",
            "deflate, gzip, br, zstd",
            "gzip, deflate, br",
            "gzip, deflate",
            "gzip",
        ] {
            let wished = well_known(line.as_bytes()).unwrap();
            for offered in 0..1 << Coding::ALL.len() {
                let mut offer = Offer([false; 5]);
                offer.set(Coding::Identity, true);
                for coding in Coding::ALL {
                    offer.set(
                        coding,
                        offered & 1 << coding as u32 != 0 || offer.has(coding),
                    );
                }
                let weighed = offer.weigh(std::iter::once(line.as_bytes()));
                assert_eq!(Some(offer.best_of(wished)), weighed, "{line} {offer:?}");
            }
        }
    }

    #[test]
    fn a_star_stands_for_what_is_not_named() {
        assert_eq!(chosen(&["*"]), Some(Coding::Zstd));
        assert_eq!(chosen(&["zstd;q=0, *;q=0.1"]), Some(Coding::Brotli));
        assert_eq!(chosen(&["*;q=0, identity"]), Some(Coding::Identity));
        assert_eq!(chosen(&["*;q=0"]), None);
        assert_eq!(chosen(&["identity;q=0"]), None);
    }

    #[test]
    fn a_malformed_weight_drops_its_item() {
        for weight in [
            "q=2", "q=1.001", "q=0.1234", "q=.5", "q =1", "p=1", "q=", "q=0,5",
        ] {
            let item = format!("gzip;{weight}");
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, item.parse().unwrap());
            assert_eq!(
                Offer::default().choose(&headers),
                Some(Coding::Identity),
                "{item}"
            );
        }
        assert_eq!(chosen(&["gzip; Q=1.000"]), Some(Coding::Gzip));
        assert_eq!(chosen(&["gzip;q=0."]), Some(Coding::Identity));
    }
}
