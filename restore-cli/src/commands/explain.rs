//! `explain`: why a path is there at a time, or is not.
//!
//! Answers from the journal alone: its names, its gaps, and the rules that it says were in force. Looks at nothing on
//! disk, asks no agent.

mod lines;

use asof_journal::fate::{self, Ended, Fate};
use asof_journal::quality;
use asof_journal::reader::{Moment, Reader};
use asof_journal::rules::{CACHEDIR_SIGNATURE, CACHEDIR_TAG, Rule, Rules};
use asof_journal::temporary::is_temporary;
use asof_journal::types::{Content, Gap, GapReason, Instant, Kind, NodeId, Place, Seq, Unbound, Version};
use asof_journal::view::{Entry, View, is_below};

use lines::{Answer, At, EndLine, ForgottenLine, GapLine, Matched, RuleLine, Verdict, VersionLine};

use super::restore::gap_text;
use crate::args::ExplainArgs;
use crate::content::{unread, whole_around};
use crate::errors::{Error, Result};
use crate::output::{Output, PathFields, as_of, escape, local};
use crate::path;
use crate::session::Session;

/// Prints why.
pub(crate) fn run(session: &Session, args: &ExplainArgs, out: &mut Output) -> Result<()> {
    let at = session.optional_time(args.at.as_deref())?;
    let (path, at) = session.path(&args.path, at)?;
    let reader = session.reader()?;
    let moment = session.moment(reader, at, out)?;
    out.note(&as_of(&moment));
    let case = Case::new(session, reader, &path, &moment)?;
    let mut answer = case.answer()?;
    if let Some(around) = reader.thinned_around(moment.seq)? {
        answer.kept_before = around.before.map_or(Ok(None), |at| case.at(at.seq))?;
        answer.kept_after = around.after.map_or(Ok(None), |at| case.at(at.seq))?;
    }
    if answer.version.is_none() || answer.verdict == Verdict::Thinned {
        answer.forgotten = case.forgotten()?;
    }
    if out.is_json() { out.object(&answer) } else { for_people(&answer, &path, out) }
}

fn for_people(answer: &Answer, path: &[u8], out: &mut Output) -> Result<()> {
    out.line(&format!("{}: {}", escape(path), answer.text))?;
    if let Some(At { local, seq, .. }) = &answer.since {
        out.line(&format!("  since    {local} (seq:{seq})"))?;
    }
    if let Some(VersionLine { at, kind, size, quality, error }) = &answer.version {
        let quality = if error.is_some() { "not read" } else { quality };
        out.line(&format!("  version  {} (seq:{}): {kind}, {size} bytes, {quality}", at.local, at.seq))?;
    }
    if let Some(At { local, seq, .. }) = &answer.first_seen {
        out.line(&format!("  first    {local} (seq:{seq})"))?;
    }
    for gap in &answer.gaps {
        out.line(&format!("  {}", gap.text))?;
    }
    for ForgottenLine { at: At { local, seq, .. }, by } in &answer.forgotten {
        let what = "something here was taken out of all history; whether this was part of it is not told";
        out.line(&format!("  note     {local} (seq:{seq}), by user {by}: {what}"))?;
    }
    match &answer.next {
        Some(next) => out.line(&format!("  next     {next}")),
        None => Ok(()),
    }
}

/// A question with all that the journal has on it.
struct Case<'c> {
    session: &'c Session,
    reader: &'c Reader,
    view: View<'c>,
    path: &'c [u8],
    moment: &'c Moment,
    rules: Rules,
    gaps: Vec<Gap>,
    fate: Fate,
}

impl<'c> Case<'c> {
    fn new(session: &'c Session, reader: &'c Reader, path: &'c [u8], moment: &'c Moment) -> Result<Case<'c>> {
        let view = reader.view_at(moment);
        let rules = Rules::new(&view.policy()?).map_err(|error| {
            let what = format!("the rules in the journal are not understood: {error}");
            Error::failed(what, "use the version of asof that wrote the journal, or a newer one")
        })?;
        let mut gaps = view.gaps(path)?;
        gaps.retain(|gap| is_below(path, &gap.scope));
        let fate = fate::fate(&view, path)?;
        Ok(Case { session, reader, view, path, moment, rules, gaps, fate })
    }

    fn answer(&self) -> Result<Answer> {
        let mut answer = self.blank();
        let Some(root) = self.rules.root_of(self.path) else {
            return self.not_protected(answer);
        };
        answer.root = Some(String::from_utf8_lossy(root).into_owned());
        if let Some((rule, text)) = self.rule()? {
            answer.verdict = Verdict::Excluded;
            answer.text = text;
            answer.rule = Some(rule);
            return self.with_what_was_last(answer);
        }
        if let Some(gap) = self.worst_gap() {
            answer.verdict = match gap.reason {
                GapReason::RootMissing => Verdict::RootMissing,
                GapReason::Unreadable => Verdict::Unreadable,
                _ => Verdict::Gap,
            };
            answer.text = format!("nobody can say: {}", gap.reason.as_str());
            answer = self.with_what_was_last(answer)?;
            answer.next = Some(match gap.is_open() {
                true => self.session.command("status").text(),
                false => self.session.command("explain").path(self.path).instant(gap.until).text(),
            });
            return Ok(answer);
        }
        match &self.fate {
            Fate::There(entry) => self.there(entry, answer),
            Fate::Ended(ended) => self.ended(ended, answer),
            Fate::Never { .. } => self.not_there(answer),
        }
    }

    fn blank(&self) -> Answer {
        Answer {
            path: PathFields::new(self.path),
            verdict: Verdict::NeverSeen,
            text: String::new(),
            root: None,
            since: None,
            version: None,
            rule: None,
            ended: None,
            first_seen: None,
            kept_before: None,
            kept_after: None,
            forgotten: Vec::new(),
            gaps: self.gaps.iter().map(gap_line).collect(),
            next: None,
            instant: self.moment.instant.to_rfc3339(),
            seq: self.moment.seq.0,
        }
    }

    fn at(&self, seq: Seq) -> Result<Option<At>> {
        Ok(self.reader.at_seq(seq)?.map(|moment| At {
            instant: moment.instant.to_rfc3339(),
            seq: seq.0,
            local: local(moment.instant),
        }))
    }

    /// What was taken out of all history later, in a root that the path lies in.
    fn forgotten(&self) -> Result<Vec<ForgottenLine>> {
        let mut lines = Vec::new();
        for forgot in self.reader.forgotten()? {
            let here = forgot.what.roots.iter().any(|root| is_below(self.path, root));
            let ours = forgot.what.before.is_none_or(|before| self.moment.seq < before);
            if here
                && ours
                && forgot.begun.seq > self.moment.seq
                && let Some(at) = self.at(forgot.begun.seq)?
            {
                lines.push(ForgottenLine { at, by: forgot.what.by });
            }
        }
        Ok(lines)
    }

    fn log(&self) -> String {
        self.session.command("log").path(self.path).text()
    }

    fn restore(&self, seq: Seq) -> String {
        self.session.command("restore").path(self.path).at(seq).word("--to TARGET").text()
    }

    fn instant(&self, seq: Seq) -> Result<Instant> {
        Ok(self.reader.at_seq(seq)?.map_or(Instant(0), |moment| moment.instant))
    }

    fn version(&self, node: NodeId, until: Seq) -> Result<Option<(Version, VersionLine)>> {
        let Some(found) = self.reader.view(until).version(node)? else { return Ok(None) };
        let Some(at) = self.at(found.seq)? else { return Ok(None) };
        let version = found.version;
        let error = match version.content {
            Content::Unread(errno) => Some(unread(errno)),
            _ => None,
        };
        let (kind, quality) = (version.meta.kind.as_str(), quality::word(&version));
        let line = VersionLine { at, kind, size: version.meta.size, quality, error };
        Ok(Some((version, line)))
    }

    fn there(&self, entry: &Entry, mut answer: Answer) -> Result<Answer> {
        answer.since = self.at(entry.since)?;
        let seq = self.moment.seq;
        answer.next = Some(match entry.kind {
            Kind::Dir => self.session.command("ls").path(self.path).at(seq).text(),
            _ => self.restore(seq),
        });
        let Some((version, line)) = self.version(entry.node, seq)? else {
            answer.verdict = Verdict::Unreadable;
            answer.text = "unreadable: it was seen, and nothing of it could be captured".to_owned();
            answer.next = Some(self.log());
            return Ok(answer);
        };
        answer.verdict = Verdict::Captured;
        answer.text = format!("captured; this version is {}", line.quality);
        if let Content::Unread(errno) = version.content {
            answer.verdict = Verdict::Unreadable;
            answer.text =
                format!("unreadable: it is known to have been there, without its content: {}", unread(errno));
            answer.next = Some(self.log());
        }
        if version.content == Content::Thinned {
            answer.verdict = Verdict::Thinned;
            let how = self.how_it_went()?;
            let kept = self.kept()?.unwrap_or_default();
            answer.text = format!("thinned: it was there, and this version {how}{kept}");
            answer.next = Some(self.log());
        }
        answer.version = Some(line);
        Ok(answer)
    }

    /// What took something away. The marker that both leave is the same, but a policy leaves none at an instant that is whole.
    fn how_it_went(&self) -> Result<&'static str> {
        let is_whole = self.reader.thinned_around(self.moment.seq)?.is_none();
        Ok(match (is_whole, self.forgotten()?.is_empty()) {
            (true, _) => "was forgotten",
            (false, true) => "went by the retention policy",
            (false, false) => "went by the retention policy, or was forgotten",
        })
    }

    /// The nearest instants of which everything is kept, in words; `None` where this is one of them.
    fn kept(&self) -> Result<Option<String>> {
        Ok(self.reader.thinned_around(self.moment.seq)?.as_ref().map(whole_around))
    }

    fn ended(&self, ended: &Ended, mut answer: Answer) -> Result<Answer> {
        let Some((node, _)) = ended.last else { return self.not_there(answer) };
        let what = self.path.get(..ended.len).unwrap_or(self.path);
        let now_at = match ended.why {
            Unbound::Moved => self.view.path_of(node)?,
            Unbound::Deleted | Unbound::Uncovered | Unbound::Unread | Unbound::Thinned => None,
        };
        let (after, before) = self.bounds_of(ended, what)?;
        let (after_text, before_text) = (local(after), local(before));
        let subject =
            if what == self.path { String::new() } else { format!("its directory {} was ", escape(what)) };
        let then = ended.seq.previous();
        let kept = self.kept()?;
        (answer.verdict, answer.text, answer.next) = match (ended.why, &now_at) {
            (Unbound::Moved, Some(to)) => (
                Verdict::Moved,
                format!("{subject}renamed; it was {} then", escape(to)),
                Some(self.session.command("explain").path(to).at(self.moment.seq).text()),
            ),
            (Unbound::Moved, None) if kept.is_some() => (
                Verdict::Thinned,
                format!("{subject}renamed by {before_text}; what became of it by then is not kept"),
                Some(self.log()),
            ),
            (Unbound::Uncovered, _) => (
                Verdict::NotProtected,
                format!("{subject}not protected any more since {before_text}; it may have been there still"),
                Some(self.restore(then)),
            ),
            (Unbound::Thinned, _) => (
                Verdict::Thinned,
                format!("{subject}there until {after_text}; what came next {}", self.how_it_went()?),
                Some(self.log()),
            ),
            (Unbound::Unread, _) if self.reader.view(then).resolve(what)?.is_none() => (
                Verdict::Deleted,
                format!("{subject}there and gone by {before_text}, before it could be captured"),
                Some(self.log()),
            ),
            (Unbound::Unread, _) => (
                Verdict::Deleted,
                format!(
                    "{subject}deleted between {after_text} and {before_text}; what it held last was not captured"
                ),
                Some(self.restore(then)),
            ),
            _ => (
                Verdict::Deleted,
                format!("{subject}deleted between {after_text} and {before_text}"),
                Some(self.restore(then)),
            ),
        };
        match (&kept, answer.verdict) {
            (Some(kept), Verdict::Thinned) => answer.text.push_str(kept),
            (Some(kept), _) => {
                let more = format!("; what came and went around this time is not kept{kept}");
                answer.text.push_str(&more);
            }
            (None, _) => {}
        }
        let (moved_to, moved_to_b64) = match now_at.as_deref().map(PathFields::pair) {
            Some((text, base64)) => (Some(text), base64),
            None => (None, None),
        };
        answer.ended = Some(EndLine {
            path: PathFields::new(what),
            after: after.to_rfc3339(),
            before: before.to_rfc3339(),
            seq: ended.seq.0,
            moved_to,
            moved_to_b64,
        });
        answer.version = self.version(node, then)?.map(|(_, line)| line);
        Ok(answer)
    }

    /// Between which instants something ended: an event tells at once; a comparison finds what happened since it was
    /// last known to be covered.
    fn bounds_of(&self, ended: &Ended, what: &[u8]) -> Result<(Instant, Instant)> {
        let recorded = self.instant(ended.seq)?;
        let before = ended.seq.previous();
        let earlier = self.reader.view(before);
        let mut known = Instant(i64::MIN);
        if let Some(version) = earlier.version(ended.node)? {
            known = known.max(self.instant(version.seq)?);
        }
        if let Some(entry) = earlier.resolve(what)? {
            known = known.max(self.instant(entry.since)?);
        }
        if let Some(hinted) = fate::hinted_at(self.reader, ended.seq)? {
            return Ok((known.min(hinted), hinted.min(recorded)));
        }
        let gaps = self.view.all_gaps()?;
        // A gap may end a moment before what was found at its end is committed.
        let gap = gaps
            .iter()
            .filter(|gap| is_below(what, &gap.scope) && gap.from <= recorded && known <= gap.until)
            .max_by_key(|gap| gap.from);
        Ok((known.max(gap.map_or(known, |gap| gap.from)).min(recorded), recorded))
    }

    /// Nothing was there, and nothing had been, as far as is known.
    fn not_there(&self, mut answer: Answer) -> Result<Answer> {
        let later = fate::next_bound(self.reader, self.path, self.moment.seq)?;
        if let Some(seq) = later {
            answer.first_seen = self.at(seq)?;
        }
        answer.next = Some(match later {
            Some(seq) => self.session.command("explain").path(self.path).at(seq).text(),
            None => {
                let above = path::parent(self.path);
                self.session.command("ls").path(above).word("--deleted").text()
            }
        });
        (answer.verdict, answer.text) = match (later, self.kept()?) {
            (None, _) if is_temporary(path::name(self.path)) => (
                Verdict::NeverSeen,
                "never seen: only restores give such names, to what is not complete yet or is being replaced; \
                 they are not recorded"
                    .to_owned(),
            ),
            (_, Some(kept)) => {
                let how = self.how_it_went()?;
                let text = format!(
                    "thinned: nothing of that name is kept of this time; if it came and went around it, that {how}{kept}"
                );
                (Verdict::Thinned, text)
            }
            (Some(_), None) => {
                (Verdict::NotYetCreated, "not yet created: it was first seen later".to_owned())
            }
            (None, None) => (
                Verdict::NeverSeen,
                "never seen: nothing of that name was ever captured there".to_owned(),
            ),
        };
        Ok(answer)
    }

    fn not_protected(&self, mut answer: Answer) -> Result<Answer> {
        answer.verdict = Verdict::NotProtected;
        answer.text = match self.rules.is_root_or_above(self.path) {
            true => "not protected: it only leads to a root".to_owned(),
            false => "not protected: it lay below no root".to_owned(),
        };
        answer = self.with_what_was_last(answer)?;
        answer.next.get_or_insert_with(|| self.session.command("status").text());
        Ok(answer)
    }

    /// Adds what was captured of it before, to an answer that says why it is not captured.
    fn with_what_was_last(&self, mut answer: Answer) -> Result<Answer> {
        match &self.fate {
            Fate::There(entry) => {
                answer.version = self.version(entry.node, self.moment.seq)?.map(|(_, line)| line);
                if answer.version.is_some() {
                    answer.since = self.at(entry.since)?;
                    answer.next = Some(self.log());
                }
            }
            Fate::Ended(Ended { last: Some((node, _)), seq, .. }) => {
                answer.version = self.version(*node, seq.previous())?.map(|(_, line)| line);
                let then = seq.previous();
                answer.next = Some(self.restore(then));
            }
            Fate::Ended(_) | Fate::Never { .. } => {
                if let Some(seq) = fate::next_bound(self.reader, self.path, self.moment.seq)? {
                    answer.first_seen = self.at(seq)?;
                    answer.next = Some(self.session.command("explain").path(self.path).at(seq).text());
                }
            }
        }
        Ok(answer)
    }

    /// The gap that says most: what was wrong with the very path or its root before what was wrong with everything.
    fn worst_gap(&self) -> Option<&Gap> {
        let rank = |gap: &&Gap| match gap.reason {
            GapReason::RootMissing => (0, 0),
            GapReason::Unreadable => (1, 0),
            _ => (2, usize::MAX - gap.scope.len()),
        };
        self.gaps.iter().min_by_key(rank)
    }

    /// The rule that leaves the path out, and what to say of it.
    fn rule(&self) -> Result<Option<(RuleLine, String)>> {
        let dir = match &self.fate {
            Fate::There(entry) => Some(entry.kind == Kind::Dir),
            Fate::Ended(Ended { last: Some((_, kind)), .. }) => Some(*kind == Kind::Dir),
            Fate::Ended(_) | Fate::Never { .. } => None,
        };
        let line = |kind, pattern, of, matched: &[u8]| {
            let (matched, matched_b64) = PathFields::pair(matched);
            RuleLine { kind, pattern, of, matched: Matched { matched, matched_b64 } }
        };
        // What was never captured may have been either; where a rule is for directories only, that is said.
        let ask = |dir| self.rules.verdict(self.path, Some(dir));
        let (verdict, proviso) = match dir {
            Some(dir) => (ask(dir), ""),
            None => match ask(false) {
                Some(verdict) => (Some(verdict), ""),
                None => (ask(true), " (if it was a directory)"),
            },
        };
        if let Some(verdict) = verdict {
            let matched = match verdict.path == self.path {
                true => String::new(),
                false => format!(", which matches {}", escape(verdict.path)),
            };
            return Ok(Some(match verdict.rule {
                Rule::Pattern { text, root } => {
                    let (of, place) = match root {
                        Some(root) => ("root", format!("of root {}", escape(root))),
                        None => ("global", "for every root".to_owned()),
                    };
                    let why = format!("excluded by the pattern {text} {place}{matched}{proviso}");
                    (line("pattern", Some(text.to_owned()), Some(of), verdict.path), why)
                }
                Rule::Place(Place::Journal) => (
                    line("journal", None, None, verdict.path),
                    "excluded: it is part of the journal".to_owned(),
                ),
                Rule::Place(Place::OtherFilesystem) => {
                    let at = escape(verdict.path);
                    let why =
                        format!("excluded: another filesystem is mounted at {at}, and one_file_system is on");
                    (line("other_filesystem", None, None, verdict.path), why)
                }
            }));
        }
        let Some(dir) = self.tagged_above()? else { return Ok(None) };
        let why = format!("excluded by the CACHEDIR.TAG in {}", escape(dir));
        Ok(Some((line("cachedir_tag", None, None, dir), why)))
    }

    /// The directory above the path that had a valid `CACHEDIR.TAG`.
    fn tagged_above(&self) -> Result<Option<&[u8]>> {
        let mut dir = self.path;
        while dir != b"/" {
            let name = path::name(dir);
            dir = path::parent(dir);
            let is_tag = name == CACHEDIR_TAG && path::parent(self.path) == dir;
            if !is_tag && self.rules.heeds_cachedir_tag(dir) && self.has_tag(dir)? {
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    fn has_tag(&self, dir: &[u8]) -> Result<bool> {
        let Some(tag) = self.view.resolve(&path::join(dir, CACHEDIR_TAG))? else { return Ok(false) };
        let Some(found) = self.view.version(tag.node)? else { return Ok(false) };
        Ok(match &found.version.content {
            Content::Inline(bytes) => tag.kind == Kind::File && bytes.starts_with(CACHEDIR_SIGNATURE),
            Content::Extents(_) => match self.view.extents(&found.version)?.first() {
                Some(asof_journal::types::Extent::Block { id, .. }) => {
                    self.reader.block(*id)?.starts_with(CACHEDIR_SIGNATURE)
                }
                _ => false,
            },
            Content::None | Content::Unread(_) | Content::Thinned => false,
        })
    }
}

fn gap_line(gap: &Gap) -> GapLine {
    let (scope, scope_b64) = PathFields::pair(&gap.scope);
    GapLine {
        scope,
        scope_b64,
        from: gap.from.to_rfc3339(),
        until: (!gap.is_open()).then(|| gap.until.to_rfc3339()),
        reason: gap.reason.as_str(),
        detail: gap.detail.clone(),
        text: gap_text(gap),
    }
}
