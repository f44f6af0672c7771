//! A connection's wire is lent to a protocol for a call.

use std::convert::Infallible;

use zero_runtime::raw::{Opening, ProtocolHandler, Step, Wire};

struct Keeps<'a>(Option<&'a mut Wire<'a>>);

impl<'a> ProtocolHandler for Keeps<'a> {
    type Conn = ();
    type Event = Infallible;
    type Order = Infallible;

    fn open(&mut self, _: &Opening, _: &mut Wire<'_>) {}

    fn handle_input(&mut self, (): &mut (), _: &[u8], wire: &mut Wire<'_>) -> Step<Infallible> {
        self.0 = Some(wire); //~ lifetime
        Step::more(0)
    }
}

fn main() {}
