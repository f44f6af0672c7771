//! Input is lent to a protocol for a step.

use std::convert::Infallible;

use zero_runtime::raw::{Opening, ProtocolHandler, Step, Wire};

struct Keeps<'a>(&'a [u8]);

impl<'a> ProtocolHandler for Keeps<'a> {
    type Conn = ();
    type Event = Infallible;
    type Order = Infallible;

    fn open(&mut self, _: &Opening, _: &mut Wire<'_>) {}

    fn handle_input(&mut self, (): &mut (), input: &[u8], _: &mut Wire<'_>) -> Step<Infallible> {
        self.0 = input; //~ lifetime
        Step::more(0)
    }
}

fn main() {}
