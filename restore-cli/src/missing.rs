//! A path that is not there at the time that was asked for: when it was there, what it is called, which names are near
//! to it, and the command to go on with.
//!
//! Answers from the journal alone. Prints nothing; what `explain` says in full is its business.

use std::os::unix::ffi::OsStrExt;

use asof_journal::fate::{self, Ended, Fate};
use asof_journal::reader::{Around, Moment, Reader};
use asof_journal::rules::Rules;
use asof_journal::types::{Instant, Kind, Seq, Unbound};
use asof_journal::view::{Entry, View};

use crate::args::Verb;
use crate::errors::Result;
use crate::output::{as_of, brief, escape, noun};
use crate::path;
use crate::session::Session;

/// More names than this are not compared with the one that was asked for.
const NAMES_MAX: usize = 100_000;
/// So many near names are told.
const NEAR_MAX: usize = 3;

/// What happened, and what to do next.
pub(crate) struct Advice {
    /// What happened and where.
    pub(crate) what: String,
    /// What to do next, a line each.
    pub(crate) next: Vec<String>,
}

/// Says why nothing is at a path at a moment, and how to get what was meant.
pub(crate) fn advice(session: &Session, verb: &Verb, path: &[u8], moment: &Moment) -> Result<Advice> {
    let reader = session.reader()?;
    let view = reader.view_at(moment);
    let case = Case { session, verb, reader, view, path, moment };
    let mut advice = case.advice()?;
    if view.gaps(path)?.iter().any(|gap| asof_journal::view::is_below(path, &gap.scope)) {
        advice.what.push_str("; nobody looked there then (a gap)");
        advice.next.push(session.command("explain").path(path).at(moment.seq).text());
    }
    Ok(advice)
}

struct Case<'c> {
    session: &'c Session,
    verb: &'c Verb,
    reader: &'c Reader,
    view: View<'c>,
    path: &'c [u8],
    moment: &'c Moment,
}

/// A name that resembles the one that was asked for.
struct Near {
    distance: usize,
    path: Vec<u8>,
    /// As of when there is something at that path.
    seq: Seq,
    is_gone: bool,
}

impl Case<'_> {
    fn advice(&self) -> Result<Advice> {
        let fate = fate::fate(&self.view, self.path)?;
        let around = self.reader.thinned_around(self.moment.seq)?;
        if let Fate::Ended(ended) = &fate
            && ended.last.is_some()
        {
            let mut advice = self.ended(ended)?;
            if around.is_some() && ended.why != Unbound::Thinned {
                advice.what.push_str("; what came and went around that time is not kept");
                advice.next.push(self.explain());
            }
            return Ok(advice);
        }
        let later = fate::next_bound(self.reader, self.path, self.moment.seq)?;
        if let (Some(_), Some(around)) = (later, &around) {
            return self.not_kept(around);
        }
        if let Some(seq) = later {
            let first = brief(self.instant(seq)?);
            return Ok(
                self.say(&format!("it was first captured at {first}"), vec![self.show(self.path, seq)])
            );
        }
        let policy = self.view.policy()?;
        let rules = Rules::new(&policy).unwrap_or_default();
        if rules.root_of(self.path).is_none() && !rules.is_root_or_above(self.path) {
            let roots: Vec<String> = policy.roots.iter().map(|root| escape(&root.path)).collect();
            let said = match roots.len() {
                0 => "nothing was protected then".to_owned(),
                1 => format!("it lies outside of what is protected: {}", roots.join(", ")),
                _ => format!("it lies outside of all roots: {}", roots.join(", ")),
            };
            return Ok(self.say(&said, vec![self.session.command("status").text()]));
        }
        let left_out = [false, true].iter().any(|dir| rules.verdict(self.path, Some(*dir)).is_some());
        if left_out {
            return Ok(self.say("a rule leaves it out", vec![self.explain()]));
        }
        match &around {
            Some(around) => self.not_kept(around),
            None => self.never(&fate),
        }
    }

    /// It may have been there: not everything of that time is kept.
    fn not_kept(&self, around: &Around) -> Result<Advice> {
        let mut next = Vec::new();
        for near in [around.before, around.after].into_iter().flatten() {
            if self.reader.view(near.seq).resolve(self.path)?.is_some() {
                next.push(self.show(self.path, near.seq));
            }
        }
        next.push(self.explain());
        let what = format!(
            "{}: nothing of it is kept {}; not everything of that time is",
            escape(self.path),
            as_of(self.moment)
        );
        Ok(Advice { what, next })
    }

    /// It was there before, under this name. Where a directory above it went later, that was not its end.
    fn ended(&self, ended: &Ended) -> Result<Advice> {
        let then = self.reader.view(ended.seq.previous());
        if then.resolve(self.path)?.is_none()
            && let Fate::Ended(earlier) = fate::fate(&then, self.path)?
            && earlier.last.is_some()
            && earlier.seq < ended.seq
        {
            return self.ended(&earlier);
        }
        let what = self.path.get(..ended.len).unwrap_or(self.path);
        let then = ended.seq.previous();
        let until = brief(self.instant(ended.seq)?);
        if ended.why == Unbound::Moved
            && let Some(to) = self.view.path_of(ended.node)?
        {
            let to = [&to, self.path.get(ended.len..).unwrap_or_default()].concat();
            if self.view.resolve(&to)?.is_some() {
                let said = match what == self.path {
                    true => format!("it was renamed to {} at {until}", escape(&to)),
                    false => format!(
                        "its directory {} was renamed at {until}; it is {} then",
                        escape(what),
                        escape(&to)
                    ),
                };
                let next = vec![self.show(&to, self.moment.seq), self.log()];
                return Ok(self.say(&said, next));
            }
        }
        let Some(entry) = self.reader.view(then).resolve(self.path)? else {
            let said = format!("it came and went at {until}, before it could be captured");
            return Ok(self.say(&said, vec![self.log()]));
        };
        let since = brief(self.instant(entry.since)?);
        let said = match (ended.why, what == self.path) {
            (Unbound::Thinned, _) => {
                format!("it is known to have been there from {since} to {until}; what came next is not kept")
            }
            (Unbound::Uncovered, _) => format!("it was protected from {since} to {until}, and not any more"),
            (_, true) => format!("it existed from {since} to {until}"),
            (_, false) => format!("it existed from {since} to {until}, when {} went", escape(what)),
        };
        Ok(self.say(&said, vec![self.show(self.path, then), self.log()]))
    }

    /// It never was there: what is near to it?
    fn never(&self, fate: &Fate) -> Result<Advice> {
        let known = self.known(fate)?;
        if let Some(entry) = self.view.resolve(&known)?
            && entry.kind != Kind::Dir
        {
            let said = format!("{} is no directory but a {}", escape(&known), noun(entry.kind));
            return Ok(self.say(&said, vec![self.show(&known, self.moment.seq)]));
        }
        let near = self.near(&known)?;
        let Some(nearest) = near.first() else {
            let (list, dir) = (self.session.command("ls"), escape(&known));
            let said = format!("nothing of that name was ever captured in {dir}");
            let list = list.path(&known).at(self.moment.seq).word("--deleted").text();
            let mut next = vec![list];
            let (name, glob) = (path::name(self.path), literal(path::name(self.path)));
            if name == glob || std::str::from_utf8(name).is_ok() {
                next.push(self.session.command("find").bytes(&glob).word("--deleted").text());
            }
            return Ok(self.say(&said, next));
        };
        let names: Vec<String> = near
            .iter()
            .map(|near| format!("{}{}", escape(&near.path), if near.is_gone { " (deleted)" } else { "" }))
            .collect();
        let said = match names.as_slice() {
            [one] => format!("the nearest name is {one}"),
            all => format!("the nearest names are {}", all.join(", ")),
        };
        Ok(self.say(&said, vec![self.show(&nearest.path, nearest.seq)]))
    }

    /// The longest part of the path that is there, or was.
    fn known(&self, fate: &Fate) -> Result<Vec<u8>> {
        let len = match fate {
            Fate::Never { len } => *len,
            // Its directory is gone, and it was not in there.
            Fate::Ended(_) | Fate::There(_) => self.path.len(),
        };
        let mut known = path::parent(self.path.get(..len).unwrap_or(self.path));
        loop {
            match fate::fate(&self.view, known)? {
                Fate::Ended(Ended { last: Some((_, Kind::Dir)), .. }) | Fate::There(_) => break,
                _ if known == b"/" => break,
                _ => known = path::parent(known),
            }
        }
        Ok(known.to_vec())
    }

    /// The names in a directory that the next part of the path resembles, the nearest first.
    fn near(&self, dir: &[u8]) -> Result<Vec<Near>> {
        let rest = self.path.get(dir.len()..).unwrap_or_default();
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let end = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        let (wanted, below) = rest.split_at(end);
        let node = match fate::fate(&self.view, dir)? {
            Fate::There(entry) if entry.kind == Kind::Dir => entry.node,
            Fate::Ended(Ended { last: Some((node, Kind::Dir)), .. }) => node,
            _ => return Ok(Vec::new()),
        };
        let mut near = Vec::new();
        let there = self.view.list(node)?.into_iter().map(|entry| (entry, false));
        let gone = self.view.list_deleted(node)?.into_iter().map(|entry| (entry, true));
        for (Entry { name, since, .. }, is_gone) in there.chain(gone).take(NAMES_MAX) {
            let Some(distance) = distance(wanted, &name) else { continue };
            let seq = if is_gone { since.previous() } else { self.moment.seq };
            // The rest of the path is kept where it leads somewhere.
            let dir_named = path::join(dir, &name);
            let whole = [dir_named.as_slice(), below].concat();
            let view = self.reader.view(seq);
            let path = if view.resolve(&whole)?.is_some() { whole } else { dir_named };
            if view.resolve(&path)?.is_some() {
                near.push(Near { distance, path, seq, is_gone });
            }
        }
        near.sort_by(|one, other| {
            (one.distance, one.is_gone, &one.path).cmp(&(other.distance, other.is_gone, &other.path))
        });
        near.truncate(NEAR_MAX);
        Ok(near)
    }

    fn instant(&self, seq: Seq) -> Result<Instant> {
        Ok(self.reader.at_seq(seq)?.map_or(Instant(0), |moment| moment.instant))
    }

    fn say(&self, said: &str, mut next: Vec<String>) -> Advice {
        next.dedup();
        let what = format!("{}: nothing is there {}; {said}", escape(self.path), as_of(self.moment));
        Advice { what, next }
    }

    fn explain(&self) -> String {
        self.session.command("explain").path(self.path).at(self.moment.seq).text()
    }

    fn log(&self) -> String {
        self.session.command("log").path(self.path).text()
    }

    /// The command that does with another path and time what was asked for, or shows what would be got.
    fn show(&self, path: &[u8], seq: Seq) -> String {
        let command = |verb| self.session.command(verb);
        match self.verb {
            Verb::Cat(_) => command("cat").path(path).at(seq).text(),
            Verb::Log(_) => command("log").path(path).text(),
            Verb::Browse(_) => command("browse").path(path).at(seq).text(),
            Verb::Restore(args) => {
                let restore = command("restore").path(path).at(seq);
                match &args.to {
                    Some(to) => restore.word("--to").bytes(to.as_os_str().as_bytes()).text(),
                    None => restore.word("--in-place").text(),
                }
            }
            _ => command("ls").word("-l").path(path).at(seq).text(),
        }
    }
}

/// A GLOB that takes this name and no other.
fn literal(name: &[u8]) -> Vec<u8> {
    let mut glob = Vec::with_capacity(name.len());
    for &byte in name {
        if b"*?[]{}\\".contains(&byte) {
            glob.push(b'\\');
        }
        glob.push(byte);
    }
    glob
}

/// How far a name is from the one that was meant; `None` where nobody would take one for the other.
fn distance(wanted: &[u8], name: &[u8]) -> Option<usize> {
    let (wanted, name) = (String::from_utf8_lossy(wanted), String::from_utf8_lossy(name));
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    let (longer, shorter) = (wanted.len().max(name.len()), wanted.len().min(name.len()));
    let most = (wanted.chars().count() / 3).max(1);
    // As many letters differ at least as one has more than the other.
    if longer - shorter > 4 * most {
        return None;
    }
    let distance = strsim::damerau_levenshtein(&wanted, &name);
    (distance <= most && distance < longer).then_some(distance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_is_what_somebody_may_have_meant() {
        for (wanted, name, expected) in [
            ("notes.txt", "notes.txt", Some(0)),
            ("Notes.TXT", "notes.txt", Some(0)),
            ("notse.txt", "notes.txt", Some(1)),
            ("notes.md", "notes.txt", None),
            ("note.txt", "notes.txt", Some(1)),
            ("a", "b", None),
            ("ab", "ac", Some(1)),
            ("x", "xy", Some(1)),
            ("report", "budget", None),
            ("Größe", "größe", Some(0)),
        ] {
            assert_eq!(distance(wanted.as_bytes(), name.as_bytes()), expected, "{wanted} {name}");
        }
    }
}
