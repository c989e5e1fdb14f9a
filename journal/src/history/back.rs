//! The batches of the log from the newest back, one look-up each: nothing is read before it is its turn.

use crate::error::Result;
use crate::index::Cf;
use crate::index::keys::{self, BatchAt};
use crate::reader::Reader;
use crate::types::Seq;

/// The batches with groups after `after` and up to `until`, the newest first, each looked up when it is its turn.
pub(super) struct Back<'r> {
    pub(super) reader: &'r Reader,
    pub(super) after: Seq,
    pub(super) until: Seq,
}

impl Back<'_> {
    fn step(&mut self) -> Result<Option<BatchAt>> {
        if self.until <= self.after {
            return Ok(None);
        }
        let records = self.reader.records();
        let damage = records.index_damage(Cf::Event);
        let key = keys::seq(self.until);
        let decode = |entry: Option<(Vec<u8>, Vec<u8>)>| -> Result<Option<(Seq, BatchAt)>> {
            let Some((key, value)) = entry else { return Ok(None) };
            Ok(Some((keys::parse_seq(&key).map_err(&damage)?, BatchAt::decode(&value).map_err(&damage)?)))
        };
        // The one that holds the place; where there is none, as at the end of the log, the last before it.
        let holding = decode(records.store.ceiling(Cf::Event, &[], &key)?)?;
        let found = match holding.filter(|(_, batch)| batch.first_seq <= self.until) {
            Some(found) => Some(found),
            None => decode(records.store.floor(Cf::Event, &[], &key)?)?,
        };
        let Some((last, batch)) = found.filter(|(last, _)| *last > self.after) else {
            return Ok(None);
        };
        // Whatever a damaged entry says, it goes backwards.
        self.until = batch.first_seq.min(last).min(self.until).previous();
        Ok(Some(batch))
    }
}

impl Iterator for Back<'_> {
    type Item = Result<BatchAt>;

    fn next(&mut self) -> Option<Result<BatchAt>> {
        self.step().transpose()
    }
}
