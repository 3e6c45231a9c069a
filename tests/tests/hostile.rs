//! Scripts of a hostile peer against real daemons: what it sends is refused with the right code, changes nothing, costs
//! little memory, and the honest pair goes on. The client and the bench are in `tests/src/hostile`.

mod changes;
mod commits;
mod contents;
mod door;
mod frames;
mod members;
mod names;
mod refusing;
mod volume;

use sync_tests::hostile::bench::{self, Bench};

fn script(play: impl AsyncFnOnce(&mut Bench)) {
    bench::script(env!("CARGO_BIN_EXE_kith-under-test"), play);
}
