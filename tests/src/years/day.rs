//! What somebody does on one day, as a list of moments: pure.

use crate::random::Random;

/// Seconds of a day.
pub(super) const DAY: i64 = 86_400;

/// Something that is done. Which file it concerns, the workstation decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deed {
    /// A file of a project that is being worked on is saved; `session` says which project and files.
    Source {
        /// Of this day.
        session: u16,
    },
    /// Many files of a project change at once: another branch, a name changed everywhere.
    Burst {
        /// How many.
        files: u16,
    },
    /// A line is added to a note.
    Note,
    /// A document that somebody works on is saved.
    Document {
        /// Of this day.
        session: u16,
    },
    /// A project that is being worked on is built.
    Build {
        /// Of this day.
        session: u16,
        /// Object files that are made anew.
        files: u16,
    },
    /// A database is written: a browser's, a mail program's.
    Database,
    /// A log grows.
    Log,
    /// A program writes its settings.
    Settings,
    /// Something is downloaded.
    Download,
    /// A temporary file comes, and goes some seconds later.
    Temporary,
    /// A source file is created.
    Create,
    /// A source file gets another name.
    Rename,
    /// A file is deleted.
    Delete,
    /// A directory of a project gets another name.
    RenameDirectory,
    /// A whole project goes, and another comes.
    Replace,
    /// The log is put aside, a new one begins.
    Rotate,
}

/// A day's plan.
pub(super) struct Plan {
    /// When the machine starts, or wakes up; seconds of the day.
    pub(super) begins: i64,
    /// When it sleeps again.
    pub(super) ends: i64,
    /// Whether it was off before.
    pub(super) boots: bool,
    /// What is done, by second.
    pub(super) deeds: Vec<(i64, Deed)>,
}

/// Plans a day; `number` counts from a Wednesday on.
pub(super) fn plan(number: u64, saves: u64, random: &mut Random) -> Plan {
    let is_weekend = matches!(number % 7, 3 | 4);
    // Five days of much and two of little make the mean.
    let saves = if is_weekend { saves * 35 / 100 } else { saves * 126 / 100 };
    let begins = if is_weekend { 10 * 3600 } else { 8 * 3600 } + random.below(1800) as i64;
    let ends = 22 * 3600 + random.below(5400) as i64;
    let boots = random.below(3) == 0;
    let mut deeds = Vec::with_capacity(saves as usize + 64);
    let from = begins + 300;
    let until = if is_weekend { 21 * 3600 } else { 18 * 3600 };
    let sometime = |random: &mut Random| {
        // A pause at noon, and little in the evening.
        loop {
            let at = match random.below(12) {
                0 => from + random.below((ends - from - 300) as u64) as i64,
                _ => from + random.below((until - from) as u64) as i64,
            };
            if !(12 * 3600 + 900..13 * 3600).contains(&at) || random.below(8) == 0 {
                return at;
            }
        }
    };
    let share = |permille: u64| (saves * permille).div_ceil(1000);

    let mut session = 0;
    let mut left = share(490);
    while left > 0 {
        let start = sometime(random);
        let length = 1200 + random.below(4200);
        let count = (length / (20 + random.below(60))).clamp(1, left);
        let at_in = |random: &mut Random| (start + random.below(length) as i64).min(ends - 60);
        for _ in 0..count {
            deeds.push((at_in(random), Deed::Source { session }));
        }
        // Tried out now and then: for six saves one object file is made anew.
        let mut objects = count / 6;
        while objects > 0 {
            let files = objects.min(1 + random.below(6));
            deeds.push((at_in(random), Deed::Build { session, files: files as u16 }));
            objects -= files;
        }
        left -= count;
        session += 1;
    }
    // Documents are worked on for a while, too, and saved every few minutes.
    let mut left = share(15);
    while left > 0 {
        let start = sometime(random);
        let count = (5 + random.below(20)).min(left);
        let each = 60 + random.below(300);
        for n in 0..count {
            let at = start + (n * each + random.below(60)) as i64;
            deeds.push((at.min(ends - 60), Deed::Document { session }));
        }
        left -= count;
        session += 1;
    }
    let mut burst = share(100);
    while burst > 0 {
        let files = burst.min(30 + random.below(170));
        deeds.push((sometime(random), Deed::Burst { files: files as u16 }));
        burst -= files;
    }
    for (permille, deed) in [
        (40, Deed::Note),
        (30, Deed::Log),
        (60, Deed::Settings),
        (25, Deed::Database),
        (1, Deed::Download),
        (130, Deed::Temporary),
        (15, Deed::Create),
        (6, Deed::Rename),
        (10, Deed::Delete),
    ] {
        deeds.extend((0..share(permille)).map(|_| (sometime(random), deed)));
    }
    for (days, deed) in [(1, Deed::Rotate), (6, Deed::RenameDirectory), (60, Deed::Replace)] {
        if random.below(days) == 0 {
            deeds.push((sometime(random), deed));
        }
    }
    deeds.sort_unstable();
    Plan { begins, ends, boots, deeds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_have_as_many_saves_as_was_asked_for() {
        let mut random = Random::new(1);
        let mut saves = 0;
        for day in 0..70 {
            let plan = plan(day, 5000, &mut random);
            assert!(plan.deeds.iter().all(|(at, _)| (plan.begins..plan.ends).contains(at)));
            saves += plan
                .deeds
                .iter()
                .map(|(_, deed)| match deed {
                    Deed::Burst { files } | Deed::Build { files, .. } => u64::from(*files),
                    _ => 1,
                })
                .sum::<u64>();
        }
        assert!((4800..5200).contains(&(saves / 70)), "{}", saves / 70);
    }
}
