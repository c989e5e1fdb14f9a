//! Recovery drills from outside: what passes, what fails and why alone, what is inconclusive, what is left behind.
//!
//! Each drill runs against a real journal; the evidence is written by the tests or by `asof drill witness`.

mod assertions;
mod bad_input;
mod ground;
mod reports;
mod sampling;
mod scenarios;
