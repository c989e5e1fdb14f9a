//! Everything in a working copy is encrypted in place and renamed. The last good instant is found from the history alone.
//!
//! Owns the attack, and the judgement whether the instant that was found is the right one: by what the drill noted when it
//! attacked, which the search does not get to see.

mod hunt;

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use asof_journal::reader::{Moment, Reader};
use asof_journal::types::{Instant, Seq};

use super::lab::{Lab, Synced, failed, ms_between, put};
use super::{Particular, Prepared};
use crate::drill::assert::verdict;
use crate::drill::ledger::{Ledger, drawn};
use crate::drill::oracle::Oracle;
use crate::drill::report::{Assertion, Outcome};
use crate::drill::run::{Draft, Drill, now};
use crate::drill::scratch::Scratch;
use crate::drill::stop::{Stop, Tried, inconclusive};
use crate::drill::walk;
use crate::errors::Error;
use crate::interrupt;
use crate::output::counted;

pub(super) use hunt::Found;

/// Honest edits before the attack: so many files of the tree get a line more.
const EDITS: usize = 12;
/// Bytes that are encrypted at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// What the drill noted when it attacked.
pub(crate) struct Attack {
    root: PathBuf,
    /// The last place before it that everything was durable at.
    before: Synced,
    /// The last honest edit.
    edited: Instant,
    /// When it began.
    began: Instant,
    victims: u64,
}

/// Fills a working copy, works on it, and encrypts it.
pub(super) fn prepare(
    drill: &Drill<'_>,
    moment: &Moment,
    scratch: &Scratch,
    draft: &mut Draft,
    ledger: &mut Ledger,
    seed: u64,
) -> Tried<Prepared> {
    let mut lab = Lab::fill(drill, moment, scratch, draft, ledger)?;
    lab.start(&[])?;
    work(&lab, seed)?;
    let edited = now().0;
    let before = lab.sync(draft)?;
    let expected = lab.observe()?;
    let began = now().0;
    let victims = encrypt(&lab.root, seed)?;
    if victims == 0 {
        return inconclusive("nothing was selected that could be encrypted: it has no file with content");
    }
    lab.sync(draft)?;
    lab.stop()?;
    let attack = Attack { root: lab.root.clone(), before: before.clone(), edited, began, victims };
    let mut prepared = lab.prepared(&before, Oracle::told(expected), Particular::Attack(attack))?;
    prepared.failure = Some(began);
    Ok(prepared)
}

/// Edits as a person makes them, so that the attack does not follow on silence.
fn work(lab: &Lab<'_>, seed: u64) -> Tried<()> {
    let dir = lab.work()?;
    for number in 0..EDITS {
        put(
            &dir.join(format!("notes-{number}.txt")),
            &format!("note {number} of {seed}: all is well\n").repeat(40),
        )?;
    }
    let mut files = files(&lab.root);
    files.sort_by_key(|path| drawn(seed, &String::from_utf8_lossy(path.as_os_str().as_bytes()), u64::MAX));
    for path in files.into_iter().take(EDITS) {
        // One that may not be written to is left.
        if let Ok(mut file) = File::options().append(true).open(&path) {
            file.write_all(b"# a line more\n").map_err(|source| failed(&path, source))?;
        }
    }
    Ok(())
}

fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    walk::walk(root, &|_, _| false, &mut |path| files.push(path), &mut |_, _| {});
    files.retain(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_file() && meta.len() > 0));
    files
}

/// Encrypts file after file in place, and renames each; gives how many.
fn encrypt(root: &Path, seed: u64) -> Tried<u64> {
    let ending = format!(".{:04x}locked", drawn(seed, "ending", 0xffff));
    let mut victims = 0;
    for path in files(root) {
        if interrupt::requested() {
            return Err(Stop::Error(Error::Interrupted));
        }
        // As with the real thing: what may not be written to is left.
        if scramble(&path, seed).is_err() {
            continue;
        }
        let mut name = path.clone().into_os_string().into_vec();
        name.extend_from_slice(ending.as_bytes());
        fs::rename(&path, std::ffi::OsString::from_vec(name)).map_err(|source| failed(&path, source))?;
        victims += 1;
    }
    put(&root.join("READ-ME-TO-GET-YOUR-FILES-BACK.txt"), "this is a drill\n")?;
    Ok(victims)
}

/// Adds a key stream to a file's bytes, in place.
fn scramble(path: &Path, seed: u64) -> std::io::Result<()> {
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut key = blake3::Hasher::new_derive_key("asof drill: ransomware");
    key.update(&seed.to_le_bytes()).update(path.as_os_str().as_bytes());
    let mut stream = key.finalize_xof();
    let (mut plain, mut added) = (vec![0; BUFFER_BYTES], vec![0; BUFFER_BYTES]);
    loop {
        let n = file.read(&mut plain)?;
        let (Some(bytes), Some(added)) = (plain.get_mut(..n), added.get_mut(..n)) else { return Ok(()) };
        if n == 0 {
            return Ok(());
        }
        stream.fill(added);
        bytes.iter_mut().zip(added).for_each(|(byte, added)| *byte ^= *added);
        file.seek_relative(-i64::try_from(n).unwrap_or(0))?;
        file.write_all(bytes)?;
    }
}

impl Attack {
    /// Finds the last good instant from the history of the journal alone.
    pub(super) fn locate(&self, journal: &Path, scratch: &Scratch, draft: &mut Draft) -> Tried<Found> {
        hunt::hunt(journal, &self.root, scratch, draft)
    }

    /// Whether what was found is the right instant: nothing honest is lost by it, and nothing of the attack is in it.
    pub(super) fn judge(&self, prepared: &Prepared) -> Assertion {
        let (found, before) = (prepared.moment, &self.before);
        let victims = counted(self.victims, "file");
        let message = format!(
            "{} was found to be the last good place; {victims} had been encrypted after seq:{}",
            prepared.at, before.seq
        );
        let is_right = found.seq.0 >= before.seq && found.instant <= self.began;
        verdict("found", if is_right { Outcome::Pass } else { Outcome::Fail }, message)
    }
}

/// Takes over what was found.
pub(super) fn take(prepared: &mut Prepared, found: Found) -> Tried<()> {
    let Found::At(seq) = found else {
        return inconclusive("no attack was found in the history, so there is no instant before it");
    };
    let Some(moment) = Reader::open(&prepared.journal)?.at_seq(Seq(seq))? else {
        return inconclusive("everything that the scratch journal has was found to be of the attack");
    };
    prepared.at = format!("seq:{seq}");
    prepared.moment = moment;
    if let Particular::Attack(attack) = &prepared.particular {
        // Everything until the last honest edit was durable before the attack.
        let newest = if seq >= attack.before.seq { attack.edited } else { moment.instant };
        prepared.rpo = Some(Ok(ms_between(newest, attack.began)));
    }
    Ok(())
}
