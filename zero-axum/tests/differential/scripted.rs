//! Every case in one piece, in every mode.

use crate::play::{App, Differences, Servers, Step};
use crate::requests::{CASES, bytes};
use crate::support::{Mode, in_every_mode};

in_every_mode![same_bytes_as_axum_serve,];

fn same_bytes_as_axum_serve(mode: Mode) {
    let servers = Servers::start(mode, App::Plain);
    let mut differences = Differences::default();
    for (name, case) in CASES {
        differences.look(name, &servers, &[Step::Send(bytes(case))]);
    }
    differences.assert_none();
}
