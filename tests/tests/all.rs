//! The one test binary of the workspace's end-to-end tests.

mod automerge_faults;
mod convergence;
mod nodes;
mod processes;
mod tidy;
mod wire_costs;
