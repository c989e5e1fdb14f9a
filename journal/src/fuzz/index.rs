//! Keys and values of the index. RocksDB has checksums of its own; these decoders trust none.

use asof_fuzz::Random;

use super::{target, values};
use crate::format::wire::Result;
use crate::index::keys::{self, Applied, BatchAt, Bound, Linked, Located, StateThen};
use crate::types::{Identity, NodeId, Seq};

/// A target of an encoder and a decoder of a whole value.
fn both_ways<T: PartialEq + std::fmt::Debug>(
    name: &str,
    make: impl Fn(&mut Random) -> T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Result<T>,
) {
    let valid = |random: &mut Random| {
        let value = make(random);
        let bytes = encode(&value);
        assert_eq!(decode(&bytes), Ok(value), "a value comes back");
        bytes
    };
    let check = |bytes: &[u8]| match decode(bytes) {
        Ok(value) => {
            assert_eq!(decode(&encode(&value)), Ok(value), "what was decoded comes back");
            true
        }
        Err(_) => false,
    };
    target(name, &valid, &check).run();
}

#[test]
fn places_of_blocks() {
    let make = |random: &mut Random| {
        let frame = values::block_frame(random);
        let slot = (frame.pack).then(|| random.below(9000) as u32);
        Located {
            frame: values::position(random),
            stored_len: frame.stored_len,
            encoding: frame.encoding,
            base: frame.base,
            slot,
            raw_len: values::length(random),
        }
    };
    both_ways("located", make, Located::encode, Located::decode);
}

#[test]
fn bindings() {
    let make = |random: &mut Random| {
        let (node, kind) = (values::node(random), random.pick(&values::KINDS));
        match random.one_in(2) {
            true => {
                let succeeds = Some(values::node(random)).filter(|node| *node != NodeId::ROOT);
                Bound::To { node, kind, succeeds }
            }
            false => Bound::Gone { node, kind, why: random.pick(&values::REASONS) },
        }
    };
    both_ways("bound", make, Bound::encode, Bound::decode);
}

#[test]
fn links() {
    let make = |random: &mut Random| Linked {
        lost: random.one_in(2).then(|| random.pick(&values::REASONS)),
        dir: values::node(random),
        name: values::name(random),
    };
    both_ways("linked", make, Linked::encode, Linked::decode);
}

#[test]
fn places_of_batches() {
    let make = |random: &mut Random| BatchAt {
        frame: values::position(random),
        first_seq: Seq(random.number()),
        wall: values::instant(random),
        epoch: random.number() as u32,
        state: random.pick(&[StateThen::Whole, StateThen::Thinned, StateThen::Kept]),
    };
    both_ways("batch-at", make, BatchAt::encode, BatchAt::decode);
}

#[test]
fn how_far_an_index_has_come() {
    let make = |random: &mut Random| Applied {
        end: values::position(random),
        salt: random.bits() as u32,
        chain: values::chain(random),
        last_seq: Seq(random.number()),
        epoch: random.number() as u32,
        wall: values::instant(random),
        boottime_ns: random.number(),
        boot_id: random.array(),
        next_node: NodeId(random.number()),
        covered_through: random.one_in(2).then(|| values::instant(random)),
        gaps: random.number(),
    };
    both_ways("applied", make, Applied::encode, Applied::decode);
}

/// Keys of every family: they come back, they sort as what they are made of, and any bytes are taken.
#[test]
fn keys_of_every_family() {
    let valid = |random: &mut Random| {
        let (dir, name, seq) = (values::node(random), values::name(random), Seq(random.number()));
        let (dir2, name2, seq2) = (values::node(random), values::name(random), Seq(random.number()));
        let (one, other) = (keys::binding(dir, &name, seq), keys::binding(dir2, &name2, seq2));
        assert_eq!(keys::parse_binding(&one), Ok((name.as_slice(), seq)));
        assert_eq!(one.cmp(&other), (dir, &name, !seq.0).cmp(&(dir2, &name2, !seq2.0)), "order of bindings");
        let n = random.bits() as u16;
        let (at, at2) = (keys::filename(&name, dir), keys::filename(&name2, dir2));
        assert_eq!(keys::parse_filename(&at), Ok((name.as_slice(), dir)));
        assert_eq!(at.cmp(&at2), (&name, dir).cmp(&(&name2, dir2)), "order of file names");
        assert_eq!(keys::parse_node_seq(&keys::link(dir, seq, n)), Ok(seq));
        assert_eq!(keys::parse_seq(&keys::gap(seq, n)), Ok(seq));
        let (mark, mark2) = (values::mark_name(random), values::mark_name(random));
        let (named, named2) = (keys::named(&mark, seq), keys::named(&mark2, seq2));
        assert_eq!(keys::parse_named(&named), Ok((mark.clone(), seq)));
        assert_eq!(named.cmp(&named2), (&mark, seq).cmp(&(&mark2, seq2)), "order of names of instants");
        let (wall, wall2) = (values::instant(random), values::instant(random));
        assert_eq!(keys::parse_clock(&keys::clock(7, wall)), Ok((7, wall)));
        assert_eq!(keys::clock(7, wall).cmp(&keys::clock(7, wall2)), wall.cmp(&wall2), "order of walls");
        let identity =
            |random: &mut Random| Identity { filesystem: random.some_bytes(3), handle: random.some_bytes(3) };
        let (id, id2) = (identity(random), identity(random));
        assert_eq!(keys::identity(&id) == keys::identity(&id2), id == id2, "a key for each identity");
        random.pick(&[one, keys::link(dir, seq, n), keys::gap(seq, n), keys::clock(7, wall), named])
    };
    let check = |bytes: &[u8]| {
        let parsed = keys::parse_binding(bytes).map(|(name, _)| assert!(name.len() + 17 == bytes.len()));
        let _ = (keys::parse_node_seq(bytes), keys::parse_seq(bytes), keys::parse_clock(bytes));
        let _ = (keys::parse_named(bytes), keys::parse_filename(bytes));
        parsed.is_ok()
    };
    target("keys", &valid, &check).run();
}
