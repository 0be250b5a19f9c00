//! The bytes of the integer manager: what was dumped comes back, and nothing else gets in.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use opool::ids::{Ids, Order, Unreadable};
use proptest::collection::vec;
use proptest::prelude::*;

const HEAD: usize = 80;

/// The files of the corpus, by name.
fn corpus() -> &'static [(String, Vec<u8>)] {
    static CORPUS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    CORPUS.get_or_init(read_corpus)
}

fn read_corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/ids");
    let mut files: Vec<_> =
        fs::read_dir(folder).expect("it is there").map(|file| file.expect("it is").path()).collect();
    files.sort();
    assert!(files.len() > 40, "the corpus has moved");
    let name = |path: &Path| path.file_name().expect("it has one").to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), fs::read(path).expect("it can be read"))).collect()
}

/// What is read must be a state like any other: all that can be seen fits together, and it can be used.
fn use_it(bytes: &[u8]) -> Result<(), Unreadable> {
    let mut ids = Ids::load(bytes)?;
    // Not always `bytes` themselves: other libraries may write a bitmap in more words.
    let dump = ids.dump().expect("memory");
    assert_eq!(Ids::load(&dump).expect("it was dumped a moment ago").dump().expect("memory"), dump);
    let (given, available) = (ids.allocated_count(), ids.available());
    let first = ids.next_allocated(i64::MIN);
    assert_eq!(first.is_some(), given > 0);
    let taken = ids.take_quickly().or_else(|| ids.take().expect("memory"));
    assert_eq!(taken.is_some(), available > 0);
    if let Some(id) = taken {
        assert!(ids.has(id) && ids.is_allocated(id));
        assert_eq!(ids.available(), available - 1);
        ids.free(id).expect("it is out");
    }
    if let Some(id) = first {
        ids.free(id).expect("it is out");
        assert_eq!(ids.reserve(id), Ok(true));
    }
    assert_eq!((ids.allocated_count(), ids.available()), (given, available));
    let end = u64::try_from(ids.range().end - ids.range().start).expect("it is a range");
    ids.resize(end).expect("it ends there already");
    Ids::load(&ids.dump().expect("memory")).expect("it was dumped a moment ago");
    Ok(())
}

#[test]
fn every_file_of_the_corpus_is_read_or_refused_as_its_name_says() {
    for (name, bytes) in corpus() {
        let read = use_it(bytes);
        assert_eq!(read.is_ok(), name.starts_with("good"), "{name}: {read:?}");
    }
}

#[test]
fn what_is_cut_off_or_goes_on_is_refused_wherever_that_is() {
    for (name, bytes) in corpus().iter().filter(|(name, _)| name.starts_with("good")) {
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 2000) {
            let read = Ids::load(&bytes[..end]).err();
            assert!(matches!(read, Some(Unreadable::Broken(_))), "{name}, {end} bytes: {read:?}");
        }
        assert!(Ids::load(&[&bytes[..], &[0]].concat()).is_err(), "{name} and one byte more");
    }
}

/// A change to some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(usize, u8),
    Flip(usize, u8),
    Add(usize, i8),
    Number(usize, u64),
    Delete(usize, usize),
    Repeat(usize, usize),
    Join(usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = || prop_oneof![2 => 8..HEAD, 3 => HEAD..HEAD + 60, 2 => any::<usize>()];
    let number = prop_oneof![0..70_000_u64, Just(u64::MAX), any::<u64>(), (0..64_u32).prop_map(|bit| 1 << bit)];
    let change = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), -3..4_i8).prop_map(|(at, more)| Change::Add(at, more)),
        (at(), number).prop_map(|(at, number)| Change::Number(at & !7, number)),
        (at(), 1..40_usize).prop_map(|(at, len)| Change::Delete(at, len)),
        (at(), 1..40_usize).prop_map(|(at, len)| Change::Repeat(at, len)),
        (at(), any::<usize>()).prop_map(|(at, other)| Change::Join(at, other)),
    ];
    vec(change, 1..6)
}

fn changed(mut bytes: Vec<u8>, changes: Vec<Change>) -> Vec<u8> {
    for change in changes {
        let len = bytes.len();
        let place = |at: usize| at % len.max(1);
        match change {
            _ if len == 0 => {}
            Change::Set(at, byte) => bytes[place(at)] = byte,
            Change::Flip(at, bit) => bytes[place(at)] ^= 1 << bit,
            Change::Add(at, more) => bytes[place(at)] = bytes[place(at)].wrapping_add_signed(more),
            Change::Number(at, number) => {
                let place = place(at).min(len.saturating_sub(8));
                let end = len.min(place + 8);
                bytes[place..end].copy_from_slice(&number.to_le_bytes()[..end - place]);
            }
            Change::Delete(at, count) => drop(bytes.drain(place(at)..len.min(place(at) + count))),
            Change::Repeat(at, count) => {
                let piece = bytes[place(at)..len.min(place(at) + count)].to_vec();
                bytes.splice(place(at)..place(at), piece);
            }
            Change::Join(at, other) => {
                let other = &corpus()[other % corpus().len()].1;
                let at = place(at);
                bytes.truncate(at);
                bytes.extend(other.iter().skip(at));
            }
        }
    }
    bytes
}

proptest! {
    /// `PROPTEST_CASES` says how many; `make fuzz` takes some millions.
    #[test]
    fn whatever_the_bytes_are_they_are_a_state_or_an_error(which in any::<usize>(), changes in changes()) {
        let bytes = changed(corpus()[which % corpus().len()].1.clone(), changes);
        if let Err(unreadable) = use_it(&bytes) {
            prop_assert!(matches!(unreadable, Unreadable::Broken(_)), "{:?}", unreadable);
        }
    }

    #[test]
    fn any_set_of_ids_comes_back(
        first in prop_oneof![Just(0), Just(-70_000), Just((1_i64 << 32) - 70_000), any::<i64>()],
        chosen in vec((0..400_000_u64, 1..7_000_u64, 1..4_u64), 0..6),
        order in prop_oneof![Just(Order::Fifo), Just(Order::Lowest), any::<u64>().prop_map(Order::Random)],
    ) {
        let Ok(mut ids) = Ids::new(first, 500_000, order) else { return Ok(()) };
        let mut given = BTreeSet::new();
        for (start, len, step) in chosen {
            for distance in (start..start + len).step_by(step as usize) {
                let id = first.wrapping_add_unsigned(distance);
                prop_assert_eq!(ids.reserve(id), Ok(given.insert(id)));
            }
        }
        let dump = ids.dump().expect("memory");
        let again = Ids::load(&dump).expect("it was dumped a moment ago");
        prop_assert!(again.allocated().expect("memory").eq(given));
        prop_assert_eq!(again.dump().expect("memory"), dump);
    }
}
