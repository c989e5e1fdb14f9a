//! `drill`: a recovery drill, the file that says what one does, the witness that it is compared with, and what was drilled.

mod history;
mod init;
mod list;
mod witness;

use crate::args::{DrillArgs, DrillVerb};
use crate::drill;
use crate::errors::{Error, Result};
use crate::output::Output;
use crate::session::Session;

/// Runs the drill in a file, or does what belongs to drills.
pub(crate) fn run(session: &Session, args: &DrillArgs, out: &mut Output) -> Result<()> {
    match (&args.verb, &args.file) {
        (Some(DrillVerb::Init(init)), _) => init::run(session, init, out),
        (Some(DrillVerb::Witness(witness)), _) => witness::run(session, witness, out),
        (Some(DrillVerb::List(list)), _) => list::run(session, list, out),
        (Some(DrillVerb::History(history)), _) => history::run(session, history, out),
        (None, Some(file)) => drill::run::run(session, args, file, out),
        (None, None) => Err(Error::usage("which drill?", "name its file; `asof drill init FILE` writes one")),
    }
}
