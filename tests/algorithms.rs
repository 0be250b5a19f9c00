//! The algorithms against their definitions, written down as plainly as possible.

use std::ops::ControlFlow;

use opool::algorithms::palindrome::bytes;
use opool::algorithms::palindrome::wide::{self, BLOCK, Block, CONTEXT, Fold, FoldTable, SKIPPED, Stop};
use opool::algorithms::triplets::{Hit, Search, Value, Wide};
use proptest::prelude::*;

fn latin_folds() -> bytes::Folds {
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        if byte.is_ascii_alphanumeric() || byte >= 0xE0 {
            byte.to_ascii_lowercase()
        } else if byte >= 0xC0 {
            byte + 0x20
        } else {
            0
        }
    })
}

/// Like the interpreter's, but small: letters and digits of Rust's tables, and two that need context.
fn fold(code_point: u32) -> Fold {
    match char::from_u32(code_point) {
        Some('Σ' | 'İ') => CONTEXT,
        Some(c) if c.is_alphanumeric() => c.to_lowercase().next().map_or(SKIPPED, u32::from),
        _ => SKIPPED,
    }
}

fn learn(table: &FoldTable, block: Block) {
    let mut folds = [SKIPPED; BLOCK];
    for (slot, code_point) in folds.iter_mut().zip(block.code_points()) {
        *slot = fold(code_point);
    }
    table.learn(block, folds);
}

fn mirrored<T: PartialEq>(counted: &[T]) -> bool {
    counted.iter().eq(counted.iter().rev())
}

fn judge_bytes(text: &[u8], budget: usize) -> bool {
    let folds = latin_folds();
    let mut scan = bytes::Scan::new(text, &folds);
    loop {
        if let ControlFlow::Break(verdict) = scan.advance(budget) {
            return verdict;
        }
    }
}

/// Texts of which many are palindromes, or nearly so.
fn nearly_mirrored<T: Clone + std::fmt::Debug>(
    unit: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<T>> {
    let half = prop::collection::vec(unit.clone(), 0..700);
    let flaw = prop::option::of((any::<prop::sample::Index>(), unit));
    (half, any::<bool>(), flaw).prop_map(|(half, odd, flaw)| {
        let back = half.iter().rev().skip(usize::from(odd));
        let mut text: Vec<T> = half.iter().chain(back).cloned().collect();
        if let Some((place, unit)) = flaw.filter(|_| !text.is_empty()) {
            let place = place.index(text.len());
            text[place] = unit;
        }
        text
    })
}

fn letters_with_noise() -> impl Strategy<Value = u8> + Clone {
    prop_oneof![8 => b'a'..=b'c', 2 => b'A'..=b'C', 1 => any::<u8>(), 1 => Just(b' ')]
}

proptest! {
    #[test]
    fn bytes_are_judged_as_defined(text in nearly_mirrored(letters_with_noise()), budget in 1_usize..3000) {
        let folds = latin_folds();
        let counted: Vec<u8> = text.iter().map(|&byte| folds[usize::from(byte)]).filter(|&fold| fold != 0).collect();
        prop_assert_eq!(bytes::is_palindrome(&text, &folds), mirrored(&counted));
        prop_assert_eq!(judge_bytes(&text, budget), mirrored(&counted));
    }

    #[test]
    fn clean_bytes_are_judged_as_defined(text in nearly_mirrored(b'a'..=b'z'), budget in 1_usize..3000) {
        prop_assert_eq!(judge_bytes(&text, budget), mirrored(&text));
    }

    #[test]
    fn code_points_are_judged_as_defined(
        text in nearly_mirrored(prop_oneof![Just('a' as u32), Just('Ж' as u32), Just('ж' as u32), Just('Σ' as u32),
            any::<char>().prop_map(u32::from), any::<u32>()]),
        budget in 1_usize..3000,
    ) {
        let table = FoldTable::new();
        let counted: Vec<Fold> = text.iter().map(|&unit| fold(unit)).filter(|&fold| fold != SKIPPED).collect();
        let mut scan = wide::Scan::new(&text, &table);
        loop {
            match scan.advance(budget) {
                Stop::Verdict(verdict) => {
                    prop_assert_eq!(verdict, mirrored(&counted));
                    prop_assert!(!verdict || !counted.contains(&CONTEXT));
                    break;
                }
                Stop::NeedsContext => {
                    prop_assert!(counted.contains(&CONTEXT));
                    break;
                }
                Stop::Unlearnt(block) => learn(&table, block),
                Stop::Paused => {}
            }
        }
    }

    #[test]
    fn integers_lead_to_the_triplets_of_the_definition(
        values in prop_oneof![
            prop::collection::vec(-8_i32..8, 0..60),
            prop::collection::vec(-300_i32..300, 0..200),
            prop::collection::vec(-(1_i32 << 29)..=1 << 29, 0..60),
            prop::collection::btree_set(-2000_i32..2000, 0..500).prop_map(|set| set.into_iter().collect()),
        ],
        steps in 1_usize..10_000,
    ) {
        let mut values = values;
        values.sort_unstable();
        let expected = defined(&values, |a, b, c| i64::from(a) + i64::from(b) + i64::from(c));
        let longs: Vec<i64> = values.iter().copied().map(i64::from).collect();
        let wides: Vec<Wide> = longs.iter().copied().map(Wide).collect();
        let floats: Vec<f64> = values.iter().copied().map(f64::from).collect();
        prop_assert_eq!(&search(values, steps), &expected);
        prop_assert_eq!(&search(longs, steps), &expected);
        prop_assert_eq!(&search(wides, steps), &expected);
        prop_assert_eq!(&search(floats, steps), &expected);
    }

    #[test]
    fn integers_at_the_edges_do_not_overflow(
        values in prop::collection::vec(prop::sample::select(vec![i64::MIN, i64::MIN + 1, -1, 0, 1, 2, i64::MAX]), 0..30),
    ) {
        let mut values = values;
        values.sort_unstable();
        let expected = defined(&values, |a, b, c| i128::from(a) + i128::from(b) + i128::from(c));
        prop_assert_eq!(search(values.into_iter().map(Wide).collect(), 1000), expected);
    }

    #[test]
    fn floats_are_searched_in_any_order(
        values in prop::collection::vec(
            prop_oneof![
                8 => (-4_i8..4).prop_map(f64::from),
                2 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e308, -1e308, 0.1]),
                1 => any::<f64>(),
            ],
            0..40,
        ),
        sorted in any::<bool>(),
    ) {
        let mut values = values;
        if sorted {
            values.sort_by(f64::total_cmp);
        }
        let expected = defined(&values, |a, b, c| a + b + c);
        prop_assert_eq!(search(values, 1000), expected);
    }
}

fn search<V: Value>(values: Vec<V>, steps: usize) -> Vec<Hit> {
    let mut found = Vec::new();
    let mut search = Search::new(values);
    while search.advance(steps, 5, &mut found) {}
    assert!(!search.advance(steps, 5, &mut found), "a search that is over stays over");
    found
}

fn defined<V: Copy, S: Default + PartialOrd>(values: &[V], sum: impl Fn(V, V, V) -> S) -> Vec<Hit> {
    let mut hits = Vec::new();
    for at in 0..values.len() {
        let (mut left, mut right) = (at + 1, values.len() - 1);
        while left < right {
            let sum = sum(values[at], values[left], values[right]);
            if sum == S::default() {
                hits.push([at, left, right]);
                left += 1;
                right -= 1;
            } else if sum < S::default() {
                left += 1;
            } else {
                right -= 1;
            }
        }
    }
    hits
}
