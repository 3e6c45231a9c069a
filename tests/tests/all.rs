//! The one test binary of the workspace's end-to-end tests.

mod automerge_faults;
mod blackbox;
mod conflict_order;
mod convergence;
mod crash_images;
mod disk_cases;
mod folder_cases;
mod folding;
mod forks;
mod fs_conformance;
mod fuzz_inputs;
mod history;
mod hostile;
mod kill_points;
mod limits;
mod merges;
mod mounts;
mod nodes;
mod preflight;
mod processes;
mod rails;
mod rounds;
mod simulation;
mod tidy;
mod tree_cases;
mod wire_costs;
