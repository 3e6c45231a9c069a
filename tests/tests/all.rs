//! The one test binary of the workspace's end-to-end tests.

mod convergence;
mod nodes;
mod wire_costs;
