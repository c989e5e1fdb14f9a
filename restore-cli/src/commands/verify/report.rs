//! What `verify` says: damaged places, what they cost, the verdict. For people so much of it; all of it as JSON.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant as Stopwatch;

use asof_journal::repair::Repaired;
use asof_journal::segments::Damage;
use asof_journal::types::Instant;
use asof_journal::verify::{Affected, IndexState, LostGroups, Place, Verification};
use serde::Serialize;

use crate::errors::{Error, Result};
use crate::output::{Output, PathFields, escape, local};

/// Of each kind so many are told to people; the others are counted.
const TOLD_MAX: usize = 100;

/// One line of `verify --json`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'l> {
    /// A damaged place. `bytes` 0 means the whole file. `known_since` where it has been noted before.
    Damage {
        file: String,
        segment: u64,
        offset: u64,
        bytes: u64,
        what: &'l str,
        #[serde(skip_serializing_if = "Option::is_none")]
        known_since: Option<String>,
    },
    /// Something that costs nothing.
    Note { file: String, segment: u64, offset: u64, what: &'l str },
    /// Groups that are gone: what they said is not known.
    Lost {
        first_seq: u64,
        last_seq: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        known_since: Option<String>,
    },
    /// A path that cannot be restored exactly as of `from` and up to `until`, where that is over.
    Affected {
        #[serde(flatten)]
        path: PathFields,
        from_seq: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        until_seq: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        why: &'l str,
    },
    /// How the index is.
    Index { state: &'static str, what: String, behind: u64 },
    /// What `--repair` did.
    Repaired {
        #[serde(skip_serializing_if = "Option::is_none")]
        index: Option<&'l str>,
        blocks: u64,
        bytes: u64,
        noted: u64,
    },
    Summary {
        sound: bool,
        deep: bool,
        complete: bool,
        segments: u64,
        bytes: u64,
        frames: u64,
        batches: u64,
        damaged: u64,
        damaged_known: u64,
        lost_groups: u64,
        affected: u64,
        torn_bytes: u64,
        seconds: f64,
    },
}

/// The voice of one check.
pub(super) struct Report<'o> {
    /// Where it goes.
    pub(super) out: &'o mut Output,
    /// When it began.
    pub(super) started: Stopwatch,
}

/// How a check ends.
pub(super) fn verdict(found: &Verification) -> Result<()> {
    if found.is_sound()? {
        return Ok(());
    }
    let what = "the journal is damaged; what is damaged, and what that costs, is named above";
    let next = match (found.deep, found.places.iter().all(|place| place.known.is_some())) {
        (_, true) if found.index.is_sound() => {
            "all of it is known, and nothing more can be done here; a copy of the journal from before may have it"
        }
        (true, _) => "stop asofd and run `asof verify --repair`: it mends what can be mended",
        (false, _) => {
            "`asof verify --deep` reads every byte; `asof verify --repair` mends what can be mended"
        }
    };
    Err(Error::assertion(what, next))
}

impl Report<'_> {
    /// Says what a repair found, did, and left.
    pub(super) fn repaired(mut self, repaired: &Repaired) -> Result<()> {
        self.found(&repaired.found)?;
        let Repaired { left, index, blocks, bytes, noted, .. } = repaired;
        if self.out.is_json() {
            let index = index.as_deref();
            let line = Line::Repaired { index, blocks: *blocks, bytes: *bytes, noted: *noted };
            self.out.object(&line)?;
        } else {
            if let Some(why) = index {
                self.out.line(&format!("repaired   the index was made anew: {}", escape(why.as_bytes())))?;
            }
            let size = indicatif::HumanBytes(*bytes);
            self.out
                .line(&format!("repaired   {blocks} blocks ({size}) were taken again from live files"))?;
            self.out.line(&format!("repaired   {noted} places are noted as known from now on"))?;
            self.out.line("--- what is left ---")?;
        }
        self.found(left)?;
        verdict(left)
    }

    /// Says what a check found.
    pub(super) fn found(&mut self, found: &Verification) -> Result<()> {
        for (at, place) in found.places.iter().enumerate() {
            self.place(at, place)?;
        }
        self.more(found.places.len())?;
        for (at, note) in found.notes.iter().enumerate() {
            self.note(at, note)?;
        }
        for (at, lost) in found.lost.iter().enumerate() {
            self.lost(at, lost)?;
        }
        self.more(found.lost.len())?;
        let (mut count, mut failed) = (0, None);
        found.affected(&mut |affected| {
            failed = self.affected(count, &affected).err();
            count += 1;
            failed.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.more(count)?;
        self.index(&found.index)?;
        self.summary(found, count as u64)
    }

    /// Says how many of a kind were not told.
    fn more(&mut self, count: usize) -> Result<()> {
        match count.checked_sub(TOLD_MAX) {
            Some(more) if more > 0 && !self.out.is_json() => {
                self.out.line(&format!("           and {more} more; --json tells all"))
            }
            _ => Ok(()),
        }
    }

    fn place(&mut self, at: usize, place: &Place) -> Result<()> {
        let Place { damage, known } = place;
        if self.out.is_json() {
            return self.out.object(&Line::Damage {
                file: file(&damage.path),
                segment: damage.at.segment.0,
                offset: damage.at.offset,
                bytes: damage.len,
                what: &damage.what,
                known_since: known.map(Instant::to_rfc3339),
            });
        }
        if at >= TOLD_MAX {
            return Ok(());
        }
        let known = known.map_or(String::new(), |known| format!(" (known since {})", local(known)));
        self.out.line(&format!("damaged    {}{known}", where_and_what(damage)))
    }

    fn note(&mut self, at: usize, note: &Damage) -> Result<()> {
        if self.out.is_json() {
            let (segment, offset) = (note.at.segment.0, note.at.offset);
            return self.out.object(&Line::Note {
                file: file(&note.path),
                segment,
                offset,
                what: &note.what,
            });
        }
        if at < TOLD_MAX {
            self.out.line(&format!("remark     {}", where_and_what(note)))?;
        }
        Ok(())
    }

    fn lost(&mut self, at: usize, lost: &LostGroups) -> Result<()> {
        if self.out.is_json() {
            return self.out.object(&Line::Lost {
                first_seq: lost.first.0,
                last_seq: lost.last.0,
                after: lost.after.map(Instant::to_rfc3339),
                before: lost.before.map(Instant::to_rfc3339),
                known_since: lost.known.map(Instant::to_rfc3339),
            });
        }
        if at >= TOLD_MAX {
            return Ok(());
        }
        let range = match lost.first == lost.last {
            true => format!("{}", lost.first),
            false => format!("{} to {}", lost.first, lost.last),
        };
        let when = match (lost.after, lost.before) {
            (Some(after), Some(before)) => {
                format!("committed between {} and {}", local(after), local(before))
            }
            (None, Some(before)) => format!("committed before {}", local(before)),
            (Some(after), None) => format!("committed after {}", local(after)),
            (None, None) => "everything".to_owned(),
        };
        let known = lost.known.map_or(String::new(), |known| format!(" (known since {})", local(known)));
        self.out.line(&format!(
            "lost       {range}, {when}: what changed then is shown as it was before, or as it was seen later{known}"
        ))
    }

    fn affected(&mut self, at: usize, affected: &Affected) -> Result<()> {
        if self.out.is_json() {
            return self.out.object(&Line::Affected {
                path: PathFields::new(&affected.path),
                from_seq: affected.from.0,
                from: affected.from_instant.map(Instant::to_rfc3339),
                until_seq: affected.until.map(|seq| seq.0),
                until: affected.until_instant.map(Instant::to_rfc3339),
                why: &affected.why,
            });
        }
        if at >= TOLD_MAX {
            return Ok(());
        }
        let place = |instant: Option<Instant>, seq| match instant {
            Some(instant) => format!("{} ({seq})", local(instant)),
            None => format!("{seq}"),
        };
        let until = match affected.until {
            Some(seq) => format!("until {}", place(affected.until_instant, seq)),
            None => "until now".to_owned(),
        };
        let from = place(affected.from_instant, affected.from);
        let why = escape(affected.why.as_bytes());
        self.out.line(&format!("affected   {} from {from} {until}: {why}", escape(&affected.path)))
    }

    fn index(&mut self, index: &IndexState) -> Result<()> {
        let (state, what, behind) = match index {
            IndexState::Sound { behind } => ("sound", String::new(), *behind),
            IndexState::Missing => ("missing", "readers do without; asofd makes one".to_owned(), 0),
            IndexState::Unusable(what) => ("unusable", what.clone(), 0),
            IndexState::Ahead(what) => ("ahead", what.clone(), 0),
            IndexState::Differs(differences) => {
                let counts = format!(
                    "{} entries are missing, {} too many, {} wrong",
                    differences.missing, differences.extra, differences.other
                );
                ("wrong", format!("{counts}; {}", differences.first), 0)
            }
        };
        if self.out.is_json() {
            return self.out.object(&Line::Index { state, what, behind });
        }
        let shown = escape(what.as_bytes());
        match state {
            "sound" if behind == 0 => self.out.line("index      agrees with the segments"),
            "sound" => self
                .out
                .line(&format!("index      agrees with the segments; {behind} batches are not in it yet")),
            _ => self.out.line(&format!("index      {state}: {shown}")),
        }
    }

    fn summary(&mut self, found: &Verification, affected: u64) -> Result<()> {
        let counts = found.counts;
        let known = found.places.iter().filter(|place| place.known.is_some()).count() as u64;
        let lost: u64 = found.lost.iter().map(|lost| lost.last.0 - lost.first.0 + 1).sum();
        let (sound, seconds) = (found.is_sound()?, self.started.elapsed().as_secs_f64());
        if self.out.is_json() {
            return self.out.object(&Line::Summary {
                sound,
                deep: found.deep,
                complete: !found.stopped,
                segments: counts.segments,
                bytes: counts.bytes,
                frames: counts.frames,
                batches: counts.batches,
                damaged: found.places.len() as u64,
                damaged_known: known,
                lost_groups: lost,
                affected,
                torn_bytes: found.torn_bytes,
                seconds,
            });
        }
        if found.torn_bytes > 0 {
            let size = indicatif::HumanBytes(found.torn_bytes);
            self.out.line(&format!(
                "remark     the log ends in {size} that were never durable: an ordinary power cut"
            ))?;
        }
        let depth =
            if found.deep { "every byte read" } else { "headers and batches read; --deep reads everything" };
        self.out.line(&format!(
            "checked    {} in {} segments, {} frames, {} batches in {seconds:.1} s ({depth})",
            indicatif::HumanBytes(counts.bytes),
            counts.segments,
            counts.frames,
            counts.batches,
        ))?;
        let verdict = match sound {
            true if found.places.is_empty() => "sound".to_owned(),
            true => {
                format!("sound; damaged places that are known, and that nothing depends on any more: {known}")
            }
            false => format!(
                "damaged; places: {} (known: {known}), lost groups: {lost}, paths that were or are affected: {affected}",
                found.places.len()
            ),
        };
        self.out.line(&format!("verdict    {verdict}"))
    }
}

fn file(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}

fn where_and_what(damage: &Damage) -> String {
    let (path, what) = (escape(damage.path.as_os_str().as_bytes()), escape(damage.what.as_bytes()));
    match damage.len {
        0 => format!("{path}: {what}"),
        len => format!("{path} at offset {} ({len} bytes): {what}", damage.at.offset),
    }
}
