//! Sets of `Seq`s as spans. Pure.

/// Everything from here on.
pub(super) const END: u64 = u64::MAX;

/// Spans that do not touch, in order; the end of each lies behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// One span.
    pub(super) fn of(from: u64, until: u64) -> Spans {
        Spans(if from < until { vec![(from, until)] } else { Vec::new() })
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first of it.
    pub(super) fn first(&self) -> Option<u64> {
        self.0.first().map(|(from, _)| *from)
    }

    /// Whether a `Seq` is in it.
    pub(super) fn contains(&self, at: u64) -> bool {
        self.0.iter().any(|(from, until)| *from <= at && at < *until)
    }

    /// Adds another set; gives whether that brought anything.
    pub(super) fn add(&mut self, other: &Spans) -> bool {
        let before = self.0.clone();
        self.0.extend_from_slice(&other.0);
        self.0.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.0.len());
        for (from, until) in self.0.drain(..) {
            match merged.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(until),
                _ => merged.push((from, until)),
            }
        }
        self.0 = merged;
        self.0 != before
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Spans) -> Spans {
        let mut both = Vec::new();
        for (from, until) in &self.0 {
            for (other_from, other_until) in &other.0 {
                let (from, until) = (*from.max(other_from), *until.min(other_until));
                if from < until {
                    both.push((from, until));
                }
            }
        }
        Spans(both)
    }

    /// What is in this one and not in the other.
    pub(super) fn without(&self, other: &Spans) -> Spans {
        let mut left = self.0.clone();
        for (cut_from, cut_until) in &other.0 {
            left = left
                .into_iter()
                .flat_map(|(from, until)| [(from, until.min(*cut_from)), (from.max(*cut_until), until)])
                .filter(|(from, until)| from < until)
                .collect();
        }
        Spans(left)
    }

    /// Whether anything is in both.
    pub(super) fn meets(&self, other: &Spans) -> bool {
        !self.and(other).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(of: &[(u64, u64)]) -> Spans {
        let mut all = Spans::default();
        for (from, until) in of {
            all.add(&Spans::of(*from, *until));
        }
        all
    }

    /// Every operation on small sets does what it does on the numbers one by one.
    #[test]
    fn sets_behave_as_their_members_do() {
        let sets: Vec<Spans> = (0..64u64)
            .map(|bits| spans(&[(0, bits & 3), (2, 2 + (bits >> 2 & 3)), (6, 6 + (bits >> 4))]))
            .collect();
        let members = |set: &Spans| (0..12).map(|at| set.contains(at)).collect::<Vec<_>>();
        for one in &sets {
            for other in &sets {
                let by_member = |of: fn(bool, bool) -> bool| -> Vec<bool> {
                    members(one).into_iter().zip(members(other)).map(|(one, other)| of(one, other)).collect()
                };
                assert_eq!(members(&one.and(other)), by_member(|one, other| one && other));
                assert_eq!(members(&one.without(other)), by_member(|one, other| one && !other));
                let mut sum = one.clone();
                assert_eq!(sum.add(other), sum != *one);
                assert_eq!(members(&sum), by_member(|one, other| one || other));
                assert_eq!(one.meets(other), members(&one.and(other)).contains(&true));
            }
        }
        assert_eq!(spans(&[(0, 2), (2, 3)]), Spans::of(0, 3));
    }
}
