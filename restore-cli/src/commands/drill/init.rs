//! `drill init`: a drill with every key explained, to a new file or to stdout.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use crate::args::DrillInitArgs;
use crate::drill::spec::TEMPLATE;
use crate::errors::{Error, Result};
use crate::output::{Output, escape};
use crate::session::Session;

/// Writes it.
pub(crate) fn run(session: &Session, args: &DrillInitArgs, out: &mut Output) -> Result<()> {
    let text = text(session);
    let Some(path) = &args.file else {
        return out.bytes(text.as_bytes());
    };
    let shown = escape(path.as_os_str().as_bytes());
    let written = File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            out.note(&format!("{shown}: say there what is to be drilled, then: asof drill {shown}"));
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::failed(
            format!("{shown} is there already"),
            "name a new file: what is there may be a drill of yours",
        )),
        Err(source) => Err(Error::Io { path: shown, action: "writing the drill", source }),
    }
}

/// With a path that is protected, where there is a journal and it says so in a way that TOML takes as it is.
fn text(session: &Session) -> String {
    let root = session.reader().ok().and_then(|reader| {
        let policy = reader.view(reader.head()).policy().ok()?;
        let root = String::from_utf8(policy.roots.first()?.path.clone()).ok()?;
        (!root.contains(['"', '\\']) && !root.contains(char::is_control)).then_some(root)
    });
    TEMPLATE.replace("ROOT", root.as_deref().unwrap_or("/home/me"))
}
