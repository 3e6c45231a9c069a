//! The one test binary of the workspace's end-to-end tests.

mod automerge_faults;
mod conflict_order;
mod convergence;
mod crash_images;
mod forks;
mod fs_conformance;
mod fuzz_inputs;
mod hostile;
mod kill_points;
mod nodes;
mod processes;
mod rounds;
mod simulation;
mod tidy;
mod wire_costs;
