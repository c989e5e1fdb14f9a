//! Policies against a naive history: names, nodes and a clock that does what it likes, thinned again and again, and compared at
//! every instant that is kept.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::config::{Written, WrittenRule};
use super::*;
use crate::index::apply::next_clock;
use crate::index::keys::Applied;
use crate::types::Instant;

const MINUTE: i64 = time::MINUTE_NS;
const DAY: i64 = 24 * 60 * MINUTE;
const NAMES: [&str; 4] = ["/r/a0", "/r/a1", "/r/b2", "/r/b3"];

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A file is written, a new one where there is none.
    Write(usize),
    /// A new node takes the name.
    Save(usize),
    Rename(usize, usize),
    Delete(usize),
    /// Time passes.
    Pass(i64),
    /// The clock is set while the machine runs.
    Set(i64),
    /// The machine is off for so long, and its clock shows so much more when it is back.
    Boot(i64, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..NAMES.len();
    let jump = prop_oneof![Just(0), -5 * 365 * DAY..5 * 365 * DAY, -2 * DAY..2 * DAY];
    let step = prop_oneof![
        6 => name().prop_map(Step::Write),
        3 => name().prop_map(Step::Save),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => name().prop_map(Step::Delete),
        4 => (1..30 * MINUTE).prop_map(Step::Pass),
        2 => (1..9 * DAY).prop_map(Step::Pass),
        1 => jump.clone().prop_map(Step::Set),
        1 => (0..40 * DAY, jump).prop_map(|(off, jump)| Step::Boot(off, jump)),
    ];
    prop::collection::vec(step, 1..120)
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    To(u64),
    Gone { deleted: bool },
    Unknown,
}

/// A commit as the test sees it: with exact times.
#[derive(Clone, Copy, Debug)]
struct Committed {
    time: i64,
    seen: i64,
}

#[derive(Clone, Default)]
struct World {
    // The clocks.
    wall: i64,
    boottime: i64,
    boot: u8,
    applied: Applied,
    clock: JournalClock,
    commits: Vec<Committed>,
    /// True time that passed while the machine was on, and what can be credited at most for the times when it was not.
    on: i64,
    off: i64,
    // The tree.
    seq: u64,
    nodes: u64,
    now: BTreeMap<usize, u64>,
    names: BTreeMap<usize, Vec<(Seq, Name)>>,
    versions: BTreeMap<u64, Vec<(Seq, bool)>>,
    paths: BTreeMap<u64, BTreeSet<usize>>,
    ended: BTreeMap<u64, Ended>,
}

impl World {
    fn new() -> World {
        World { wall: 20_000 * DAY, boottime: DAY, ..World::default() }
    }

    fn commit(&mut self) -> Seq {
        // Walls do not stand still for ever: each commit is a moment later.
        self.pass(1_000_000);
        self.seq += 1;
        let (epoch, wall) =
            next_clock(&self.applied, Instant(self.wall), self.boottime as u64, [self.boot; 16]);
        let before = self.applied;
        self.applied = Applied {
            last_seq: Seq(self.seq),
            epoch,
            wall,
            boottime_ns: self.boottime as u64,
            boot_id: [self.boot; 16],
            ..before
        };
        self.clock.push(Tick { epoch, boot: Some([self.boot; 16]), wall, last_seq: Seq(self.seq) });
        // The same by the words of the design.
        let committed = match self.commits.last() {
            None => Committed { time: wall.0, seen: wall.0 },
            Some(last) => {
                let passed = wall.0 - before.wall.0;
                let (time, seen) = match epoch == before.epoch {
                    true => (passed, passed),
                    false if before.boot_id == self.applied.boot_id => (0, 0),
                    false => (if (1..=30 * DAY).contains(&passed) { passed } else { 0 }, 0),
                };
                Committed { time: last.time + time, seen: last.seen + seen }
            }
        };
        self.commits.push(committed);
        Seq(self.seq)
    }

    fn pass(&mut self, ns: i64) {
        self.wall += ns;
        self.boottime += ns;
        self.on += ns;
    }

    fn bind(&mut self, name: usize, to: Name, seq: Seq) {
        self.names.entry(name).or_default().push((seq, to));
        if let Name::To(node) = to {
            self.paths.entry(node).or_default().insert(name);
            self.now.insert(name, node);
        } else {
            self.now.remove(&name);
        }
    }

    fn take_over(&mut self, name: usize, node: u64, seq: Seq) {
        if let Some(old) = self.now.get(&name).copied().filter(|old| *old != node) {
            self.ended.insert(old, Ended::Replaced(seq));
        }
        self.bind(name, Name::To(node), seq);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Write(name) => {
                let seq = self.commit();
                let node = self.now.get(&name).copied().unwrap_or_else(|| {
                    self.nodes += 1;
                    self.take_over(name, self.nodes, seq);
                    self.nodes
                });
                self.versions.entry(node).or_default().push((seq, true));
            }
            Step::Save(name) => {
                let seq = self.commit();
                self.nodes += 1;
                self.take_over(name, self.nodes, seq);
                self.versions.entry(self.nodes).or_default().push((seq, true));
            }
            Step::Rename(from, to) if from != to && self.now.contains_key(&from) => {
                let (seq, node) = (self.commit(), self.now[&from]);
                self.bind(from, Name::Gone { deleted: false }, seq);
                self.take_over(to, node, seq);
            }
            Step::Delete(name) if self.now.contains_key(&name) => {
                let (seq, node) = (self.commit(), self.now[&name]);
                self.bind(name, Name::Gone { deleted: true }, seq);
                self.ended.insert(node, Ended::Deleted(seq));
            }
            Step::Rename(..) | Step::Delete(_) => {}
            Step::Pass(ns) => self.pass(ns),
            Step::Set(ns) => self.wall += ns,
            Step::Boot(off, jump) => {
                self.boot = self.boot.wrapping_add(1);
                self.wall += off + jump;
                self.boottime = 0;
                self.off += 30 * DAY;
            }
        }
    }

    /// What a name showed: the node, and the version.
    fn resolve(&self, name: usize, at: Seq) -> Option<Option<(u64, Seq)>> {
        let newest = self.names.get(&name)?.iter().rev().find(|(seq, _)| *seq <= at);
        Some(match newest.map(|(_, to)| *to) {
            None | Some(Name::Gone { .. }) => None,
            Some(Name::Unknown) => return None,
            Some(Name::To(node)) => {
                let version = self.versions.get(&node)?.iter().rev().find(|(seq, _)| *seq <= at)?;
                Some((node, version.1.then_some(version.0)?))
            }
        })
    }

    fn timeline(&self, name: usize) -> Vec<BindingAt> {
        let state = |to: &Name| match to {
            Name::To(_) => State::Present,
            Name::Gone { deleted } => State::Gone { deleted: *deleted },
            Name::Unknown => State::Thinned,
        };
        let records = self.names.get(&name).into_iter().flatten();
        records.map(|(seq, to)| BindingAt { seq: *seq, state: state(to) }).collect()
    }

    fn ladder_of_node(&self, policy: &Policy, node: u64) -> LadderId {
        let paths = self.paths.get(&node).into_iter().flatten();
        paths.map(|name| policy.ladder_of(NAMES[*name].as_bytes())).fold(LadderId::NONE, LadderId::union)
    }

    /// The verdicts of everything.
    fn decide(
        &self,
        keeper: &Keeper,
        policy: &Policy,
    ) -> (BTreeMap<usize, Vec<Verdict>>, BTreeMap<u64, Vec<Verdict>>) {
        let names = self.names.keys().map(|name| {
            let ladder = policy.ladder_of(NAMES[*name].as_bytes());
            (*name, bindings(keeper, ladder, false, &self.timeline(*name)))
        });
        let nodes = self.versions.iter().map(|(node, records)| {
            let seqs: Vec<Seq> = records.iter().map(|(seq, _)| *seq).collect();
            let ended = self.ended.get(node).copied().unwrap_or(Ended::NotYet);
            (*node, versions(keeper, self.ladder_of_node(policy, *node), false, &seqs, ended))
        });
        (names.collect(), nodes.collect())
    }

    /// The world without what goes.
    fn thinned(&self, keeper: &Keeper, policy: &Policy) -> World {
        self.thinned_within(keeper, policy, &|_| true)
    }

    /// The same where only some records can go.
    fn thinned_within(&self, keeper: &Keeper, policy: &Policy, can_go: &dyn Fn(Seq) -> bool) -> World {
        let (names, nodes) = self.decide(keeper, policy);
        let mut world = self.clone();
        for (name, mut verdicts) in names {
            confine(&self.timeline(name), &mut verdicts, can_go);
            let records = world.names.get_mut(&name).expect("a name");
            *records = records
                .iter()
                .zip(verdicts)
                .filter(|((seq, _), verdict)| *verdict != Verdict::Drop || !can_go(*seq))
                .map(|((seq, to), verdict)| {
                    (*seq, if verdict.keeps() || !can_go(*seq) { *to } else { Name::Unknown })
                })
                .collect();
        }
        for (node, mut verdicts) in nodes {
            let seqs: Vec<Seq> = self.versions[&node].iter().map(|(seq, _)| *seq).collect();
            confine_versions(&seqs, &mut verdicts, can_go);
            let records = world.versions.get_mut(&node).expect("a node");
            *records = records
                .iter()
                .zip(verdicts)
                .filter(|((seq, _), verdict)| *verdict != Verdict::Drop || !can_go(*seq))
                .map(|((seq, known), verdict)| (*seq, *known && (verdict.keeps() || !can_go(*seq))))
                .collect();
        }
        world
    }

    fn keeper(&self, policy: &Policy, named: &[Seq]) -> Keeper {
        Keeper::new(&self.clock, policy, named, Seq(self.seq))
    }
}

fn ladders() -> impl Strategy<Value = Ladder> {
    let all = prop_oneof![Just(None), Just(Some("all for 1 day")), Just(Some("all for 20 minutes"))];
    let rest = prop_oneof![
        Just(vec![]),
        Just(vec!["10 minutes for 2 days", "1 hour for 4 days", "1 day for 30 days", "1 week"]),
        Just(vec!["3 minutes for 3 hours", "60 minutes"]),
        Just(vec!["1 day for 20 days"]),
        Just(vec!["7 minutes for 1 minute", "14 minutes for 1 day"]),
    ];
    (all, rest).prop_map(|(all, rest)| {
        let texts: Vec<&str> = all.into_iter().chain(rest).collect();
        Ladder::parse(if texts.is_empty() { &["all"] } else { &texts }).expect("a ladder")
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    let immutable = prop_oneof![Just(0u64), Just(60), Just(7 * 24 * 60)];
    (ladders(), ladders(), immutable).prop_map(|(keep, other, immutable_minutes)| {
        let rule = WrittenRule { patterns: vec!["b*".into()], keep: other };
        let written = Written { keep, immutable_minutes, rules: vec![rule], ..Written::default() };
        Policy::new(&written, &[b"/r".to_vec()]).expect("a policy")
    })
}

/// The instants of a ladder by its definition.
fn defined(world: &World, ladder: &Ladder) -> BTreeSet<Seq> {
    let mut kept = BTreeSet::from([Seq(world.seq)]);
    let Some(now) = world.commits.last().map(|commit| commit.time) else { return kept };
    let at = |time: i64| {
        let found = world.commits.iter().rposition(|commit| commit.time <= time);
        found.map(|at| Seq(at as u64 + 1))
    };
    for zone in ladder.zones() {
        let (newest, oldest) = (
            now - zone.from_minutes as i64 * MINUTE,
            zone.until_minutes.map_or(0, |minutes| now - minutes as i64 * MINUTE),
        );
        match zone.every {
            Every::All => kept.extend((at(oldest).map_or(1, |seq| seq.0)..=world.seq).map(Seq)),
            Every::Minutes(every) => {
                let every = every as i64 * MINUTE;
                let mut instant = newest.div_euclid(every) * every;
                let first = world.commits.first().map_or(0, |commit| commit.time);
                while instant >= oldest.max(first) {
                    kept.extend(at(instant));
                    instant -= every;
                }
            }
        }
    }
    kept
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Thinned as time goes on, the tree is exactly as it was at every kept instant, and deciding again changes nothing.
    #[test]
    fn every_kept_instant_is_as_it_was(
        steps in steps(),
        policy in policies(),
        every in 1..40usize,
        marked in prop::collection::vec(1..100u64, 0..3),
        is_whole in any::<bool>(),
    ) {
        let mut whole = World::new();
        let mut thin: Option<World> = None;
        for (at, step) in steps.iter().enumerate() {
            whole.step(*step);
            if let Some(thin) = &mut thin {
                thin.step(*step);
            }
            if at % every != every - 1 || whole.seq == 0 {
                continue;
            }
            let named: Vec<Seq> = marked.iter().map(|seq| Seq(*seq)).filter(|seq| seq.0 <= whole.seq).collect();
            let keeper = whole.keeper(&policy, &named);
            // Some parts of the past are thinned now and others later, as segments are; or everything is.
            let parts: Vec<u64> = if is_whole { vec![0, 1, 2] } else { vec![at as u64 % 3] };
            let is_part = |seq: Seq| parts.contains(&(seq.0 / 4 % 3));
            let next = thin.as_ref().unwrap_or(&whole).thinned_within(&keeper, &policy, &is_part);
            if is_whole {
                let again = next.thinned(&keeper, &policy);
                prop_assert_eq!(&again.names, &next.names);
                prop_assert_eq!(&again.versions, &next.versions);
            }
            for (name, path) in NAMES.iter().enumerate() {
                let ladder = policy.ladder_of(path.as_bytes());
                for seq in (1..=whole.seq).map(Seq).filter(|seq| keeper.is_kept(ladder, *seq)) {
                    // An instant that was named late may have been thinned before that.
                    if named.contains(&seq) && thin.is_some() {
                        continue;
                    }
                    let shown = |world: &World| world.resolve(name, seq).flatten();
                    prop_assert_eq!(shown(&next), shown(&whole), "{} at {}", path, seq);
                }
                // In between less may be known, but nothing else.
                for seq in (1..=whole.seq).map(Seq) {
                    if let Some(Some(shown)) = next.resolve(name, seq) {
                        prop_assert_eq!(Some(Some(shown)), whole.resolve(name, seq), "{} at {}", path, seq);
                    }
                }
            }
            thin = Some(next);
        }
    }

    /// What is kept of the past only ever gets less: nothing that went is asked for again.
    #[test]
    fn kept_instants_were_kept_before(steps in steps(), policy in policies()) {
        let mut world = World::new();
        let mut before: Option<(u64, Vec<BTreeSet<Seq>>)> = None;
        for step in steps {
            world.step(step);
            if world.seq == 0 {
                continue;
            }
            let keeper = world.keeper(&policy, &[]);
            let mut all = Vec::new();
            for (id, ladder) in policy.numbered() {
                let kept: BTreeSet<Seq> = (1..=world.seq).map(Seq).filter(|seq| keeper.is_kept(id, *seq)).collect();
                // By the definition, but for the minute to which the ends of stretches are rounded.
                prop_assert!(defined(&world, ladder).is_subset(&kept), "{:?} {:?}", ladder, kept);
                for seq in (1..=world.seq).map(Seq) {
                    let (older, newer) = keeper.nearest_kept(id, seq);
                    prop_assert_eq!(older, kept.range(..=seq).next_back().copied());
                    prop_assert_eq!(newer, kept.range(seq..).next().copied());
                    for until in seq.0 + 1..=world.seq {
                        let span = Span { from: seq, until: Some(Seq(until)) };
                        let meets = kept.range(seq..Seq(until)).next().is_some();
                        let recent = Seq(until) > keeper.immutable_after();
                        prop_assert_eq!(keeper.keeps(id, span).is_some(), meets || recent);
                    }
                }
                all.push(kept);
            }
            if let Some((seq, before)) = &before {
                for (old, new) in before.iter().zip(&all) {
                    let again: Vec<&Seq> = new.iter().filter(|at| at.0 <= *seq && !old.contains(at)).collect();
                    prop_assert!(again.is_empty(), "{:?} were not kept at {}", again, seq);
                }
            }
            before = Some((world.seq, all));
        }
    }

    /// Special rules, and no age that nobody saw, whatever the clock does.
    #[test]
    fn what_is_special_stays_and_clocks_age_nothing(steps in steps(), policy in policies()) {
        let mut world = World::new();
        let mut true_times = Vec::new();
        for step in steps {
            world.step(step);
            while true_times.len() < world.commits.len() {
                true_times.push((world.on, world.off));
            }
        }
        prop_assume!(world.seq > 0);
        let (now, last) = (world.clock.now().0, *world.commits.last().expect("a commit"));
        prop_assert_eq!(now, last.time);
        for (at, (on, off)) in true_times.iter().enumerate() {
            let seq = Seq(at as u64 + 1);
            let (on, off) = (world.on - on, world.off - off);
            let steps_of_a_second = 1_000_000_000 * world.commits.len() as i64;
            prop_assert!(now - world.clock.time_of(seq).0 <= on + off + steps_of_a_second);
            let seen = world.clock.seen_at(Seq(world.seq)).0 - world.clock.seen_at(seq).0;
            prop_assert!(seen <= on + steps_of_a_second);
        }
        let keeper = world.keeper(&policy, &[]);
        let (names, nodes) = world.decide(&keeper, &policy);
        let window = last.seen - policy.immutable_minutes() as i64 * MINUTE;
        let recent = |until: Option<Seq>| until.is_none_or(|until| world.commits[until.0 as usize - 1].seen > window);
        for (name, verdicts) in &names {
            let records = &world.names[name];
            for (at, verdict) in verdicts.iter().enumerate() {
                let next = records.get(at + 1);
                let (present, gone) = (
                    matches!(records[at].1, Name::To(_)),
                    matches!(next, Some((_, Name::Gone { deleted: true }))),
                );
                if present && (gone || recent(next.map(|(seq, _)| *seq))) {
                    prop_assert!(verdict.keeps(), "{} {:?}", NAMES[*name], records[at]);
                }
            }
        }
        for (node, verdicts) in &nodes {
            let records = &world.versions[node];
            for (at, verdict) in verdicts.iter().enumerate() {
                let next = records.get(at + 1).map(|(seq, _)| *seq);
                let ended = world.ended.get(node).copied().unwrap_or(Ended::NotYet);
                let (last, until) = match (next, ended) {
                    (Some(next), _) => (false, Some(next)),
                    (None, Ended::Replaced(seq)) => (false, Some(seq)),
                    (None, Ended::NotYet | Ended::Deleted(_)) => (true, None),
                };
                if last || recent(until) {
                    prop_assert!(verdict.keeps(), "node {} {:?}", node, records[at]);
                }
            }
        }
    }
}

/// A clock with a commit each so many minutes.
fn regular(commits: u64, minutes: i64) -> JournalClock {
    let mut clock = JournalClock::new();
    for seq in 1..=commits {
        let wall = Instant(20_000 * DAY + seq as i64 * minutes * MINUTE);
        clock.push(Tick { epoch: 1, boot: Some([1; 16]), wall, last_seq: Seq(seq) });
    }
    clock
}

#[test]
fn of_two_years_the_default_keeps_some_thousand_instants() {
    // One commit each minute.
    let clock = regular(2 * 365 * 24 * 60, 1);
    let policy = Policy::of(Ladder::default(), config::IMMUTABLE_MINUTES);
    let keeper = Keeper::new(&clock, &policy, &[], clock.newest());
    let stretches = keeper.stretches(policy.union());
    let instants: Vec<u64> = stretches.iter().map(|stretch| stretch.instants).collect();
    assert_eq!(instants, [0, 7 * 144 + 1, 30 * 24 + 1, 366, 46]);
    assert_eq!(stretches.first().map(|stretch| stretch.until), Some(clock.newest()));
    assert!(stretches.windows(2).all(|pair| pair[0].from == pair[1].until));
    // All within the immutability window, which is longer than the first step.
    let window = clock.newest().0 - 7 * 24 * 60;
    assert_eq!(keeper.exact_from(policy.union()), Seq(window));
}

#[test]
fn reasons_are_told_apart() {
    let clock = regular(1000, 60);
    let policy = Policy::of(Ladder::parse(&["all for 1 day", "4 hours for 10 days"]).expect("a ladder"), 60);
    let keeper = Keeper::new(&clock, &policy, &[Seq(5)], Seq(1000));
    let keeps = |from, until: Option<u64>| {
        keeper.keeps(policy.union(), Span { from: Seq(from), until: until.map(Seq) })
    };
    assert_eq!(keeps(1, None), Some(Why::Current));
    assert_eq!(keeps(1, Some(1000)), Some(Why::Immutable));
    assert_eq!(keeps(979, Some(980)), Some(Why::All));
    assert_eq!(keeps(900, Some(901)), Some(Why::Grid { every_minutes: 240, at: Seq(900) }));
    assert_eq!(keeps(901, Some(904)), None);
    assert_eq!(keeps(700, Some(704)), None, "behind the last step");
    assert_eq!(keeps(4, Some(6)), Some(Why::Mark(Seq(5))));
    assert_eq!(keeps(6, Some(6)), None);
    assert_eq!(keeper.nearest_kept(policy.union(), Seq(902)), (Some(Seq(900)), Some(Seq(904))));
    assert_eq!(keeper.nearest_kept(policy.union(), Seq(990)), (Some(Seq(990)), Some(Seq(990))));
    assert_eq!(keeper.nearest_kept(policy.union(), Seq(3)), (None, Some(Seq(5))));
    assert_eq!(keeper.nearest_kept(policy.union(), Seq(7)).0, Some(Seq(5)));
}

#[test]
fn a_run_that_goes_leaves_one_marker_behind_what_is_kept() {
    let clock = regular(2000, 60);
    let policy = Policy::of(Ladder::parse(&["1 day for 20 days"]).expect("a ladder"), 0);
    let keeper = Keeper::new(&clock, &policy, &[], Seq(2000));
    let kept = (1500..2000).map(Seq).find(|seq| keeper.is_kept(policy.union(), *seq)).expect("one").0;
    let at = |seq: u64, state| BindingAt { seq: Seq(seq), state };
    let gone = State::Gone { deleted: true };
    let moved = State::Gone { deleted: false };
    let words = |timeline: &[BindingAt], held| -> String {
        let verdicts = bindings(&keeper, policy.union(), held, timeline);
        verdicts
            .iter()
            .map(|verdict| match verdict {
                Verdict::Keep(_) => 'k',
                Verdict::Drop => '-',
                Verdict::Marker => 'm',
            })
            .collect()
    };
    let present = State::Present;
    let after = |n| kept + n;
    assert_eq!(
        words(
            &[at(kept, present), at(after(1), present), at(after(2), present), at(after(20), present)],
            false
        ),
        "km-k"
    );
    assert_eq!(
        words(
            &[at(kept, present), at(after(1), State::Thinned), at(after(2), present), at(after(20), present)],
            false
        ),
        "km-k"
    );
    assert_eq!(words(&[at(1, present), at(2, present), at(3, moved), at(after(30), present)], false), "---k");
    assert_eq!(words(&[at(1, present), at(2, gone)], false), "kk", "the last state before a deletion");
    assert_eq!(words(&[at(1, present), at(2, moved)], false), "--", "it is under another name");
    assert_eq!(
        words(&[at(1, present), at(2, gone), at(3, present), at(4, moved), at(5, present)], false),
        "kk--k"
    );
    assert_eq!(words(&[at(1, present), at(2, present), at(3, present)], true), "kkk");
    assert_eq!(words(&[], false), "");
    let seqs = [Seq(1), Seq(2), Seq(3)];
    let of = |ended| versions(&keeper, policy.union(), false, &seqs, ended);
    assert_eq!(of(Ended::NotYet), [Verdict::Drop, Verdict::Drop, Verdict::Keep(Why::Current)]);
    assert_eq!(of(Ended::Replaced(Seq(4))), [Verdict::Drop; 3]);
    assert_eq!(
        of(Ended::Deleted(Seq(4))),
        [Verdict::Drop, Verdict::Drop, Verdict::Keep(Why::BeforeDeletion)]
    );
}
