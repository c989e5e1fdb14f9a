//! Golden journals: a small journal of each format, and everything that a reader answers about it, as text.
//!
//! What is written here is the journal of the format that this program writes, as long as there is none. Those of released
//! formats are never written again: they are what people have. Answers hold no derived detail (places, lengths of frames).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use asof_journal::append::Limits;
use asof_journal::compact::Eagerness;
use asof_journal::content::{Piece, Source};
use asof_journal::history::{self, Change, What};
use asof_journal::landmarks::{Forgot, Holding, Restored};
use asof_journal::reader::{Moment, Reader};
use asof_journal::retention::{Ladder, Policy as RetentionPolicy};
use asof_journal::types::{
    Content, Extent, ForgetBegun, ForgetOutcome, Forgotten, Gap, GapReason, Held, Hold, Identity, Instant,
    Kind, LeftOut, Mark, MarkCause, MarkName, NodeId, Op, Place, Policy, Quality, Restore, RestoreBegun,
    RestoreOutcome, RootPolicy, Seq, Unbound, Version,
};
use asof_journal::view::View;

use crate::must::Must;
use crate::pen::{Pen, version};
use crate::random::Random;

/// Where golden journals are: `format-N/` with `journal/` and `answers.txt`.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Segments are short, so that a small journal has several.
const LIMITS: Limits = Limits { segment_bytes_max: 24 << 10, segment_age_ns_max: u64::MAX };

/// Data and holes by turns, which makes a file of many extents out of few bytes.
struct Sparse {
    pieces: Vec<(Vec<u8>, u64)>,
}

impl Source for Sparse {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Piece> {
        let Some((data, hole)) = self.pieces.first_mut() else { return Ok(Piece::End) };
        if !data.is_empty() {
            let len = data.len().min(buffer.len());
            buffer[..len].copy_from_slice(&data[..len]);
            data.drain(..len);
            return Ok(Piece::Data(len));
        }
        let hole = *hole;
        self.pieces.remove(0);
        Ok(Piece::Hole(hole))
    }
}

struct Writer {
    pen: Pen,
    random: Random,
}

/// Writes the golden journal of the present format.
pub fn write(dir: &Path) {
    let mut writer = Writer { pen: Pen::open(dir, 0, LIMITS), random: Random::new(11) };
    let home = writer.beginning();
    writer.aged(home);
    let files = writer.contents(home);
    writer.names(home, files);
    writer.states(home);
    writer.pen.close();

    // A second life, which ends without a goodbye: its segment stays open, and the index behind.
    let mut writer = Writer { pen: Pen::open(dir, 5000, LIMITS), random: Random::new(12) };
    writer.pen.boot = 2;
    writer.later(home);
    let Writer { pen, .. } = writer;
    drop(pen);
}

impl Writer {
    fn node(&self) -> NodeId {
        self.pen.journal.head.new_node()
    }

    fn bind(dir: NodeId, name: &[u8], node: NodeId, kind: Kind) -> Op {
        Op::Bind { dir, name: name.to_vec(), node, kind, succeeds: None }
    }

    fn unbind(dir: NodeId, name: &[u8], node: NodeId, why: Unbound) -> Op {
        Op::Unbind { dir, name: name.to_vec(), node, kind: Kind::File, why }
    }

    fn make(&mut self, dir: NodeId, name: &[u8], content: &[u8]) -> NodeId {
        let node = self.node();
        let handle = node.0.to_le_bytes().to_vec();
        let identity = Op::Identify { node, identity: Identity { filesystem: vec![1; 17], handle } };
        let ops = vec![Writer::bind(dir, name, node, Kind::File), identity];
        let mut content = content;
        self.pen.write(node, &mut content, ops, version(Kind::File, Content::None));
        node
    }

    fn rewrite(&mut self, node: NodeId, mut content: &[u8]) {
        self.pen.write(node, &mut content, Vec::new(), version(Kind::File, Content::None));
        self.pen.commit();
    }

    fn directory(&mut self, dir: NodeId, name: &[u8]) -> NodeId {
        let node = self.node();
        let version = version(Kind::Dir, Content::None);
        self.pen.submit(vec![Writer::bind(dir, name, node, Kind::Dir), Op::Version { node, version }]);
        node
    }

    /// Policy, directories above the root and the root, the gap of a first capture, a mark.
    fn beginning(&mut self) -> NodeId {
        let root = RootPolicy {
            path: b"/home/me".to_vec(),
            excludes: vec!["!/keep.o".into(), "/cache/".into()],
            one_file_system: true,
            cachedir_tag: true,
        };
        self.pen.submit(vec![Op::Policy(Policy {
            roots: vec![root],
            excludes: vec!["*.o".into()],
            left_out: vec![
                LeftOut { path: b"/home/me/.journal".to_vec(), what: Place::Journal },
                LeftOut { path: b"/home/me/mnt".to_vec(), what: Place::OtherFilesystem },
            ],
        })]);
        let above = self.node();
        self.pen.submit(vec![Writer::bind(NodeId::ROOT, b"home", above, Kind::Dir)]);
        let home = self.directory(above, b"me");
        self.pen.commit();
        let now = self.pen.clock().wall;
        let mark = Mark { covered_through: now, cause: MarkCause::Reconciled };
        let from = Instant(now.0 - 9_000_000_000);
        self.pen.submit(vec![gap(b"/home/me", from, now, GapReason::Starting), Op::Mark(mark)]);
        self.pen.commit();
        home
    }

    /// Three weeks of edits, saves, renames and deletions, most of which a policy lets go: what stays stands in a compacted segment.
    fn aged(&mut self, home: NodeId) {
        let dir = self.directory(home, b"aged");
        let text = self.random.text(5_000);
        let edited = self.make(dir, b"edited", &text);
        let mut saved = self.make(dir, b"saved", b"saved 0");
        self.pen.commit();
        for round in 1..110usize {
            self.pen.seconds += 5 * 3_600;
            let mut words = text.clone();
            words.splice(25 * round..25 * round, format!(" edit {round} ").into_bytes());
            self.rewrite(edited, &words);
            let node = self.node();
            let (name, kind, succeeds) = (b"saved".to_vec(), Kind::File, Some(saved));
            let bind = Op::Bind { dir, name, node, kind, succeeds };
            let version = version(kind, Content::Inline(format!("saved {round}").into_bytes()));
            self.pen.submit(vec![bind, Op::Version { node, version }]);
            saved = node;
            if round % 7 == 0 {
                let name = format!("brief-{round}").into_bytes();
                let brief = self.make(dir, &name, &lines_of(40, round));
                self.pen.commit();
                self.pen.submit(vec![Writer::unbind(dir, &name, brief, Unbound::Deleted)]);
            }
            if round == 40 {
                self.pen.submit(vec![Op::Name(MarkName::new("kept").must("a name"))]);
            }
            self.pen.commit();
        }
        self.pen.seconds += 3 * 86_400;
        self.make(dir, b"since", b"a segment that nothing goes from");
        self.pen.commit();
        let ladder = Ladder::parse(&["all for 1 day", "1 day"]).must("a ladder");
        let wall = self.pen.clock().wall;
        let compactor = &self.pen.journal.compactor;
        let done =
            compactor.compact(&RetentionPolicy::of(ladder, 0), &[], Eagerness::Anything, usize::MAX, wall);
        let done = done.must("a compaction");
        assert!(done.segments > 1 && done.versions > 60 && done.rebased > 0 && done.waiting == 0, "{done:?}");
    }

    /// Content of every form: inline, packed, a block of its own, cut into chunks, sparse with lists of extents, deltas.
    fn contents(&mut self, home: NodeId) -> Vec<NodeId> {
        let mut files = Vec::new();
        for (name, len) in [("empty", 0), ("tiny", 1), ("inline", 512), ("packed", 513), ("text", 9_000)] {
            let text = self.random.text(len);
            files.push(self.make(home, name.as_bytes(), &text));
        }
        self.pen.commit();
        // Long, and compressed to little: one word, again and again, with a number now and then.
        for (name, lines) in [("own-block", 9_000), ("chunks", 30_000)] {
            files.push(self.make(home, name.as_bytes(), &lines_of(lines, 0)));
        }
        self.pen.commit();
        let pieces = |random: &mut Random| {
            (0..60).map(|n| (random.text(600 + n), 1 << (12 + n % 20))).collect::<Vec<_>>()
        };
        let pieces = pieces(&mut self.random);
        let sparse = self.node();
        let bind = vec![Writer::bind(home, b"sparse", sparse, Kind::File)];
        self.pen.write(sparse, &mut Sparse { pieces }, bind, version(Kind::File, Content::None));
        let enormous = self.node();
        let bind = vec![Writer::bind(home, b"enormous", enormous, Kind::File)];
        let pieces = vec![(b"front".to_vec(), (1 << 62) + 4096), (b"back".to_vec(), 3 << 60)];
        self.pen.write(enormous, &mut Sparse { pieces }, bind, version(Kind::File, Content::None));
        self.pen.commit();
        for round in 1..20 {
            let [text, own] = [files[4], files[5]];
            let mut words = Random::new(11).text(9_000);
            words.splice(100 * round..100 * round, *b" edited ");
            self.rewrite(text, &words);
            if round < 4 {
                self.rewrite(own, &lines_of(9_000, round));
            }
        }
        files
    }

    /// Renames, an exchange, hard links, atomic saves, every way for a name to end, names of any bytes.
    fn names(&mut self, home: NodeId, files: Vec<NodeId>) {
        let (sub, other) = (self.directory(home, b"sub"), self.directory(home, b"other"));
        let inner = self.directory(sub, b"inner");
        let deep = self.make(inner, b"deep", b"far down");
        self.pen.commit();
        let moved = |from: NodeId, name: &[u8], to: NodeId, new: &[u8], node: NodeId, kind: Kind| {
            let (name, why) = (name.to_vec(), Unbound::Moved);
            vec![Op::Unbind { dir: from, name, node, kind, why }, Writer::bind(to, new, node, kind)]
        };
        self.pen.submit(moved(sub, b"inner", other, b"moved", inner, Kind::Dir));
        self.pen.commit();
        self.pen.submit(moved(home, b"tiny", home, b"renamed", files[1], Kind::File));
        self.pen.commit();
        self.pen.submit(vec![Writer::bind(other, b"link", deep, Kind::File)]);
        self.pen.commit();
        let exchange = [
            moved(home, b"inline", home, b"packed", files[2], Kind::File),
            moved(home, b"packed", home, b"inline", files[3], Kind::File),
        ];
        self.pen.submit(exchange.concat());
        self.pen.commit();
        for round in 0..3 {
            let before = self.pen.journal.head.view().resolve(b"/home/me/saved").must("a lookup");
            let node = self.node();
            let succeeds = before.map(|entry| entry.node);
            let (name, kind) = (b"saved".to_vec(), Kind::File);
            let bind = Op::Bind { dir: home, name, node, kind, succeeds };
            let content = format!("saved anew {round}");
            let version = version(kind, Content::Inline(content.into_bytes()));
            self.pen.submit(vec![bind, Op::Version { node, version }]);
            self.pen.commit();
        }
        for (n, why) in [Unbound::Deleted, Unbound::Uncovered, Unbound::Unread].into_iter().enumerate() {
            let name = format!("ends-{n}").into_bytes();
            let node = self.make(home, &name, b"short-lived");
            self.pen.commit();
            self.pen.submit(vec![Writer::unbind(home, &name, node, why)]);
            self.pen.commit();
        }
        let unread = self.node();
        self.pen.submit(vec![Writer::unbind(home, b"came-and-went", unread, Unbound::Unread)]);
        for name in [&b"\xff\xfe"[..], b"with\nnewline", b"a\x01", "\u{202e}abc".as_bytes(), &[b'n'; 255]] {
            self.make(home, name, b"named oddly");
        }
        self.pen.commit();
    }

    /// Kinds of nodes, qualities, attributes, times at the ends, what was not read.
    fn states(&mut self, home: NodeId) {
        let kinds = [Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice, Kind::BlockDevice];
        for kind in kinds {
            let node = self.node();
            let content = match kind {
                Kind::Symlink => Content::Inline(b"../else/\xff".to_vec()),
                _ => Content::None,
            };
            let mut version = version(kind, content);
            version.meta.rdev = if matches!(kind, Kind::CharDevice | Kind::BlockDevice) { 0x0801 } else { 0 };
            let bind = Writer::bind(home, kind.as_str().as_bytes(), node, kind);
            self.pen.submit(vec![bind, Op::Version { node, version }]);
        }
        self.pen.commit();
        let node = self.make(home, b"states", b"0");
        self.pen.commit();
        let base = || version(Kind::File, Content::Inline(b"state".to_vec()));
        let with = |change: &dyn Fn(&mut Version)| {
            let mut version = base();
            change(&mut version);
            version
        };
        let states = [
            with(&|version| version.quality = Quality::Provisional),
            with(&|version| version.quality = Quality::Torn),
            with(&|version| version.racy = true),
            with(&|version| version.meta.mode = 0o7777),
            with(&|version| (version.meta.uid, version.meta.gid) = (u32::MAX, 0)),
            with(&|version| version.meta.mtime = Instant(i64::MIN)),
            with(&|version| version.meta.mtime = Instant(i64::MAX)),
            with(&|version| {
                version.meta.xattrs = vec![(b"user.a".to_vec(), vec![0, 255]), (b"user.b".to_vec(), vec![])]
            }),
            with(&|version| version.content = Content::Unread(13)),
            base(),
        ];
        for version in states {
            self.pen.submit(vec![Op::Version { node, version }]);
            self.pen.commit();
        }
    }

    /// Another boot, a clock that is set back and forth, gaps that are open and closed, every cause of a mark.
    fn later(&mut self, home: NodeId) {
        let now = |writer: &Writer| writer.pen.clock().wall;
        let down = now(self);
        self.pen.submit(vec![gap(
            b"/home/me",
            Instant(down.0 - 4_000_000_000_000),
            down,
            GapReason::AgentDown,
        )]);
        self.pen.commit();
        let clocks: [(i64, &[u8]); 3] =
            [(-3600, b"an hour back"), (86_400, b"tomorrow"), (0, b"right again")];
        for (wrong_by, text) in clocks {
            self.pen.wrong_by = wrong_by;
            self.make(home, text, text);
            self.pen.commit();
        }
        let reasons = [
            GapReason::QueueOverflow,
            GapReason::Unwatched,
            GapReason::Unreadable,
            GapReason::RootMissing,
            GapReason::WatcherStalled,
            GapReason::VanishedUnread,
            GapReason::Unmounted,
        ];
        for reason in reasons {
            let from = now(self);
            self.pen.submit(vec![gap(b"/home/me/sub", from, Gap::OPEN, reason)]);
            self.pen.commit();
            if reason != GapReason::Unmounted {
                let until = now(self);
                self.pen.submit(vec![gap(b"/home/me/sub", from, until, reason)]);
                self.pen.commit();
            }
        }
        for cause in [MarkCause::Idle, MarkCause::Sync, MarkCause::Stopped] {
            let covered_through = now(self);
            self.pen.submit(vec![Op::Mark(Mark { covered_through, cause })]);
            self.pen.commit();
        }
        self.notes();
        self.make(home, b"last", b"what came last");
        self.pen.commit();
    }

    /// Names of instants, and restores: one that was not ended, one that was, one that takes it back.
    fn notes(&mut self) {
        for name in ["before the move", "v1", "gr\u{fc}n"] {
            let covered_through = self.pen.clock().wall;
            let mark = Mark { covered_through, cause: MarkCause::Sync };
            self.pen.submit(vec![Op::Name(MarkName::new(name).must("a name")), Op::Mark(mark)]);
            self.pen.commit();
        }
        let begin = |pen: &mut Pen, paths: Vec<Vec<u8>>, exact, undoes| {
            let begun = RestoreBegun { at: Seq(9), paths, exact, undoes };
            pen.submit(vec![Op::Restore(Restore::Begun(begun))]);
            pen.commit();
            pen.journal.appender.durable().seq
        };
        begin(&mut self.pen, vec![b"/home/me/\xff\xfe".to_vec()], false, None);
        let id = begin(&mut self.pen, vec![b"/home/me/sub".to_vec(), b"/home/me/text".to_vec()], true, None);
        let outcome = RestoreOutcome { created: 3, overwritten: 2, deleted: 1, failed: 4, bytes: 70_000 };
        self.pen.submit(vec![Op::Restore(Restore::Done { id, outcome })]);
        self.pen.commit();
        begin(&mut self.pen, vec![b"/home/me/sub".to_vec()], false, Some(id));
        self.holds();
    }

    /// What is held: a path, an instant until a time, and a path that is held no longer.
    fn holds(&mut self) {
        let path = |path: &[u8]| Held::Path(path.to_vec());
        let until = Some(Instant(self.pen.clock().wall.0.saturating_add(365 * 86_400_000_000_000)));
        for op in [
            Op::Hold(Hold { what: path(b"/home/me/sub"), until: None }),
            Op::Hold(Hold { what: Held::Mark(MarkName::new("v1").must("a name")), until }),
            Op::Hold(Hold { what: path(b"/home/me/text"), until: None }),
            Op::Release(path(b"/home/me/text")),
            Op::Forgotten(Forgotten::Begun(ForgetBegun {
                by: 1000,
                paths: 1,
                roots: vec![b"/home/me".to_vec()],
                ..ForgetBegun::default()
            })),
        ] {
            self.pen.submit(vec![op]);
            self.pen.commit();
        }
        let id = self.pen.journal.appender.durable().seq;
        let outcome = ForgetOutcome { bindings: 2, versions: 3, blocks: 4 };
        self.pen.submit(vec![Op::Forgotten(Forgotten::Done { id, outcome })]);
        self.pen.commit();
    }
}

fn gap(scope: &[u8], from: Instant, until: Instant, reason: GapReason) -> Op {
    Op::Gap(Gap { scope: scope.to_vec(), from, until, reason, detail: format!("{} here", reason.as_str()) })
}

fn lines_of(lines: usize, edited: usize) -> Vec<u8> {
    let line = |n: usize| match n % 1000 == edited {
        true => format!("line {n} is edit {edited}\n"),
        false => "the same old line\n".to_owned(),
    };
    (0..lines).flat_map(|n| line(n).into_bytes()).collect()
}

/// Everything that a reader answers, up to a `Seq`.
pub fn answers(reader: &Reader, until: Seq) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let mut line = |text: String| {
        let _ = writeln!(out, "{text}");
    };
    line(format!("head {until}"));
    for seq in (1..=until.0).map(Seq) {
        let moment = reader.at_seq(seq).must("a moment").must("a Seq of the journal");
        line(format!("{seq} at {} epoch {}", moment.instant.to_rfc3339(), moment.epoch));
        let tree = tree(&reader.view(seq));
        line(format!("  tree {}", &blake3::hash(tree.as_bytes()).to_hex()[..16]));
        let asked = reader.at_instant(moment.instant).must("an instant").must("an instant of the journal");
        let others: Vec<u64> = asked.others.iter().map(|moment| moment.seq.0).collect();
        line(format!("  that instant is {} or {others:?}", asked.moment.seq));
        if let Some(around) = reader.thinned_around(seq).must("what went") {
            let seq = |moment: &Option<Moment>| moment.as_ref().map(|moment| moment.seq.0);
            line(format!(
                "  something went; whole are {:?} and {:?}",
                seq(&around.before),
                seq(&around.after)
            ));
        }
        for gap in reader.view_at(&moment).gaps(b"/home/me").must("gaps") {
            line(format!("  in {}", gap_line(&gap)));
        }
    }
    let view = reader.view(until);
    line(format!("tree at {until}\n{}", tree(&view)));
    let mut paths = Vec::new();
    walk(&view, NodeId::ROOT, b"", &mut |path, entry, _| paths.push((path.to_vec(), entry)));
    for (path, _) in &paths {
        line(format!("log of {}", path.escape_ascii()));
        for change in history::of_path(reader, path, until).must("a history") {
            line(format!("  {}", change_line(&change)));
        }
    }
    line("log of everything".into());
    history::below(reader, b"/", Seq::ZERO, until, &mut |change| {
        line(format!("  {}", change_line(&change)));
        true
    })
    .must("a history");
    for mark in reader.marks().must("marks") {
        line(format!("mark {} is {}", mark.name, mark.moment.seq));
    }
    for Restored { begun, what, done } in reader.restores().must("restores") {
        let RestoreBegun { at, paths, exact, undoes } = what;
        let paths: Vec<String> = paths.iter().map(|path| path.escape_ascii().to_string()).collect();
        line(format!("restore {} to {at} of {paths:?} exact {exact} undoes {undoes:?}", begun.seq));
        let done = done.map(|(moment, outcome)| (moment.seq.0, outcome));
        line(format!("  done {done:?}"));
    }
    for Holding { what, since, until } in reader.holds().must("holds") {
        line(format!("held since {} until {until:?}: {what:?}", since.seq));
    }
    for Forgot { begun, what, done } in reader.forgotten().must("what was forgotten") {
        let done = done.map(|(moment, outcome)| (moment.seq.0, outcome));
        line(format!("forgotten {}: {what:?}, done {done:?}", begun.seq));
    }
    for seq in [Seq(1), until] {
        line(format!("policy at {seq}: {}", policy_line(&reader.view(seq).policy().must("a policy"))));
    }
    out
}

type Visit<'v> = &'v mut dyn FnMut(&[u8], NodeId, bool);

/// Every name that there is or was, in order; whether it is gone.
fn walk(view: &View<'_>, dir: NodeId, path: &[u8], visit: Visit<'_>) {
    let mut entries: Vec<_> = view.list(dir).must("a list").into_iter().map(|entry| (entry, false)).collect();
    entries.extend(view.list_deleted(dir).must("a list").into_iter().map(|entry| (entry, true)));
    entries.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    for (entry, gone) in entries {
        let path = [path, b"/", &entry.name].concat();
        visit(&path, entry.node, gone);
        if entry.kind == Kind::Dir && !gone {
            walk(view, entry.node, &path, visit);
        }
    }
}

fn tree(view: &View<'_>) -> String {
    let mut out = String::new();
    walk(view, NodeId::ROOT, b"", &mut |path, node, gone| {
        let _ = write!(out, "{} {node}{}", path.escape_ascii(), if gone { " gone" } else { "" });
        if let Some(at) = view.version(node).must("a version") {
            let Version { meta, quality, racy, .. } = &at.version;
            let _ = write!(
                out,
                " since {} {} {:o} {}:{} size {} mtime {} ctime {} rdev {} {}{}",
                at.seq,
                meta.kind.as_str(),
                meta.mode,
                meta.uid,
                meta.gid,
                meta.size,
                meta.mtime.0,
                meta.ctime.0,
                meta.rdev,
                quality.as_str(),
                if *racy { " racy" } else { "" }
            );
            for (name, value) in &meta.xattrs {
                let _ = write!(out, " {}={}", name.escape_ascii(), value.escape_ascii());
            }
            let _ = write!(out, " {}", content(view, &at.version));
        }
        out.push('\n');
    });
    out
}

/// What a version holds: its bytes' hash, and how long its holes are.
fn content(view: &View<'_>, version: &Version) -> String {
    match &version.content {
        Content::None => "no content".into(),
        Content::Unread(errno) => format!("unread {errno}"),
        Content::Thinned => "thinned".to_string(),
        Content::Inline(bytes) => format!("inline {}", &blake3::hash(bytes).to_hex()[..16]),
        Content::Extents(_) => {
            let (mut hasher, mut holes, mut len) = (blake3::Hasher::new(), 0u64, 0u64);
            for extent in view.extents(version).must("extents") {
                len += extent.len();
                match extent {
                    Extent::Hole { len } => {
                        hasher.update(&len.to_le_bytes());
                        holes += len;
                    }
                    Extent::Block { id, .. } => {
                        hasher.update(&view.block(id).must("a block"));
                    }
                    Extent::List { .. } => panic!("a list among flattened extents"),
                }
            }
            assert_eq!(len, version.meta.size, "extents cover the file");
            format!("bytes {} holes {holes}", &hasher.finalize().to_hex()[..16])
        }
    }
}

fn gap_line(gap: &Gap) -> String {
    let Gap { scope, from, until, reason, detail } = gap;
    format!("gap {} of {} from {} until {}: {detail}", reason.as_str(), scope.escape_ascii(), from.0, until.0)
}

fn policy_line(policy: &Policy) -> String {
    let Policy { roots, excludes, left_out } = policy;
    let roots: Vec<String> = roots
        .iter()
        .map(|root| {
            let (fs, tag) = (root.one_file_system, root.cachedir_tag);
            format!("{} {:?} one filesystem {fs} tags {tag}", root.path.escape_ascii(), root.excludes)
        })
        .collect();
    let places: Vec<String> =
        left_out.iter().map(|place| format!("{} {:?}", place.path.escape_ascii(), place.what)).collect();
    format!("{roots:?} {excludes:?} {places:?}")
}

fn change_line(change: &Change) -> String {
    let what = match &change.what {
        What::Created { kind } => format!("created {}", kind.as_str()),
        What::Replaced { predecessor } => format!("replaced {predecessor}"),
        What::Renamed { from } => format!("renamed from {}", from.escape_ascii()),
        What::Linked => "linked".into(),
        What::Modified { size, quality, unread } => {
            format!("modified {size} {}{}", quality.as_str(), if *unread { " unread" } else { "" })
        }
        What::Attributes => "attributes".into(),
        What::Deleted { unread, .. } => format!("deleted{}", if *unread { " unread" } else { "" }),
        What::Vanished { kind } => format!("vanished {}", kind.as_str()),
        What::Crowd { detail } => format!("crowd {detail}"),
        What::Uncovered => "uncovered".into(),
        What::Thinned { kind } => format!("thinned {}", kind.as_str()),
        What::Named { name } => format!("named {name}"),
        What::Damaged { detail } => format!("damaged {detail}"),
    };
    format!("{} {} {} {what}", change.seq, change.path.escape_ascii(), change.node)
}
