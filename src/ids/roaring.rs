//! The portable serialisation of Roaring bitmaps (`RoaringFormatSpec`), as every Roaring library reads and writes it.
//!
//! A set of 32 bits is: a cookie, the pages with their numbers and sizes, where each begins, and then the pages: a list
//! of up to 4096 values, all bits, or runs; whichever is shortest. A set of 64 bits (the specification's extension) is
//! the number of its parts, and of each part the upper 32 bits and a set of 32 bits. All of it is little-endian.

use super::bitmap::Page;
use super::errors::Unreadable;
use super::page::{PAGE_WORDS, bits, window, zeroed};
use super::sparse::{Container, FEW};

const COOKIE: u32 = 12_346;
const COOKIE_WITH_RUNS: u32 = 12_347;
/// With runs, so few pages need no table of where they begin.
const NO_OFFSETS: usize = 4;
const BITS_BYTES: usize = PAGE_WORDS * 8;

/// A page that has something set, by its number: an id divided by 2^16, up to 48 bits.
pub type Numbered<'a> = (u64, Page<'a>);

/// How a page is written.
struct Shape {
    len: u32,
    runs: usize,
}

impl Shape {
    fn of(page: &Page<'_>) -> Self {
        let (mut len, mut runs, mut carry) = (0, 0, 0);
        let mut look = |word: u64| {
            len += word.count_ones();
            // A run begins at every bit whose lower neighbour is clear.
            runs += (word & !(word << 1 | carry)).count_ones() as usize;
            carry = word >> 63;
        };
        match page {
            Page::Bits(words) => words.iter().for_each(|&word| look(word)),
            Page::Far(Container::Many(words, _)) => words.iter().for_each(|&word| look(word)),
            Page::Far(Container::Few(list)) => {
                len = list.len() as u32;
                runs = list.iter().zip(list.iter().skip(1)).filter(|&(&one, &next)| one + 1 != next).count() + 1;
            }
        }
        Shape { len, runs }
    }

    fn without_runs(&self) -> usize {
        if self.len as usize <= FEW { 2 * self.len as usize } else { BITS_BYTES }
    }

    fn as_runs(&self) -> bool {
        2 + 4 * self.runs < self.without_runs()
    }

    fn bytes(&self) -> usize {
        if self.as_runs() { 2 + 4 * self.runs } else { self.without_runs() }
    }
}

/// Writes the pages, ascending, as a set of 32 bits if `narrow`, else of 64. None of them is empty.
pub fn write(pages: &[Numbered<'_>], narrow: bool, out: &mut Vec<u8>) -> Result<(), Unreadable> {
    if narrow {
        return write_part(pages, out);
    }
    let parts = || pages.chunk_by(|one, next| one.0 >> 16 == next.0 >> 16);
    append(out, &(parts().count() as u64).to_le_bytes())?;
    for part in parts() {
        append(out, &((part[0].0 >> 16) as u32).to_le_bytes())?;
        write_part(part, out)?;
    }
    Ok(())
}

fn write_part(pages: &[Numbered<'_>], out: &mut Vec<u8>) -> Result<(), Unreadable> {
    let begins = out.len();
    let mut shapes = Vec::new();
    shapes.try_reserve_exact(pages.len())?;
    shapes.extend(pages.iter().map(|(_, page)| Shape::of(page)));
    let any_runs = shapes.iter().any(Shape::as_runs);
    if any_runs {
        append(out, &(COOKIE_WITH_RUNS | (pages.len() as u32 - 1) << 16).to_le_bytes())?;
        let mut flags = vec![0_u8; pages.len().div_ceil(8)];
        for (place, _) in shapes.iter().enumerate().filter(|(_, shape)| shape.as_runs()) {
            flags[place / 8] |= 1 << (place % 8);
        }
        append(out, &flags)?;
    } else {
        append(out, &COOKIE.to_le_bytes())?;
        append(out, &(pages.len() as u32).to_le_bytes())?;
    }
    for ((number, _), shape) in pages.iter().zip(&shapes) {
        append(out, &(*number as u16).to_le_bytes())?;
        append(out, &((shape.len - 1) as u16).to_le_bytes())?;
    }
    if !any_runs || pages.len() >= NO_OFFSETS {
        let mut offset = out.len() - begins + 4 * pages.len();
        for shape in &shapes {
            append(out, &(offset as u32).to_le_bytes())?;
            offset += shape.bytes();
        }
    }
    for ((_, page), shape) in pages.iter().zip(&shapes) {
        out.try_reserve(shape.bytes())?;
        write_page(page, shape, out);
    }
    Ok(())
}

/// Writes one page; `out` has room for it.
fn write_page(page: &Page<'_>, shape: &Shape, out: &mut Vec<u8>) {
    let words = || (0..PAGE_WORDS).map(|index| page.word(index));
    let values = || words().zip((0_u64..).step_by(64)).flat_map(|(word, at)| bits(word).map(move |bit| at + bit));
    if shape.as_runs() {
        out.extend_from_slice(&(shape.runs as u16).to_le_bytes());
        let mut add = |start: u64, last: u64| {
            out.extend_from_slice(&(start as u16).to_le_bytes());
            out.extend_from_slice(&((last - start) as u16).to_le_bytes());
        };
        let mut run = None;
        for value in values_of_runs(words()) {
            match (run, value) {
                (None, start) => run = Some(start),
                (Some(start), end) => {
                    add(start, end - 1);
                    run = None;
                }
            }
        }
        if let Some(start) = run {
            add(start, u64::from(u16::MAX));
        }
        return;
    }
    match page {
        Page::Far(Container::Few(list)) => list.iter().for_each(|low| out.extend_from_slice(&low.to_le_bytes())),
        _ if shape.len as usize <= FEW => values().for_each(|low| out.extend_from_slice(&(low as u16).to_le_bytes())),
        _ => words().for_each(|word| out.extend_from_slice(&word.to_le_bytes())),
    }
}

/// Where runs begin and end, in turn: every place whose bit differs from the one before.
fn values_of_runs(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u64> {
    let mut carry = 0;
    words.zip((0_u64..).step_by(64)).flat_map(move |(word, at)| {
        let changes = word ^ (word << 1 | carry);
        carry = word >> 63;
        bits(changes).map(move |bit| at + bit)
    })
}

/// Reads a set of 32 bits if `narrow`, else of 64, which is all of `bytes`; `each` gets the pages, ascending.
pub fn read(
    bytes: &[u8],
    narrow: bool,
    mut each: impl FnMut(u64, Container) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let mut rest = Reader { bytes };
    if narrow {
        read_part(&mut rest, &mut |number, page| each(number.into(), page))?;
    } else {
        let parts = rest.u64()?;
        let mut before = None;
        for _ in 0..parts {
            let upper = rest.u32()?;
            if before.is_some_and(|before| before >= upper) {
                return Err(Unreadable::Broken("the parts of a set of 64 bits do not ascend"));
            }
            before = Some(upper);
            read_part(&mut rest, &mut |number, page| each(u64::from(upper) << 16 | u64::from(number), page))?;
        }
    }
    rest.ended()
}

fn read_part(
    rest: &mut Reader<'_>,
    each: &mut impl FnMut(u16, Container) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let whole = rest.bytes.len();
    let cookie = rest.u32()?;
    let (count, flags) = match cookie & 0xFFFF {
        COOKIE_WITH_RUNS => {
            let count = (cookie >> 16) as usize + 1;
            (count, Some(rest.take(count.div_ceil(8))?))
        }
        _ if cookie == COOKIE => (rest.u32()? as usize, None),
        _ => return Err(Unreadable::Broken("no Roaring bitmap: its cookie is wrong")),
    };
    if count > 1 << 16 {
        return Err(Unreadable::Broken("a Roaring bitmap has more pages than there are"));
    }
    let described = rest.take(4 * count)?;
    let offsets = if flags.is_none() || count >= NO_OFFSETS { Some(rest.take(4 * count)?) } else { None };
    let mut before = None;
    for (place, description) in described.as_chunks::<4>().0.iter().enumerate() {
        let [low, high, len_low, len_high] = *description;
        let number = u16::from_le_bytes([low, high]);
        let len = u32::from(u16::from_le_bytes([len_low, len_high])) + 1;
        if before.is_some_and(|before| before >= number) {
            return Err(Unreadable::Broken("the pages of a Roaring bitmap do not ascend"));
        }
        before = Some(number);
        let offset = offsets.and_then(|offsets| offsets.as_chunks().0.get(place));
        if offset.is_some_and(|&offset| u32::from_le_bytes(offset) as usize != whole - rest.bytes.len()) {
            return Err(Unreadable::Broken("a page of a Roaring bitmap lies elsewhere than its table says"));
        }
        let runs = flags.is_some_and(|flags| flags[place / 8] >> (place % 8) & 1 == 1);
        each(number, if runs { read_runs(rest, len)? } else { read_page(rest, len)? })?;
    }
    Ok(())
}

fn read_page(rest: &mut Reader<'_>, len: u32) -> Result<Container, Unreadable> {
    if len as usize > FEW {
        let bytes = rest.take(BITS_BYTES)?;
        let mut words = Vec::new();
        words.try_reserve_exact(PAGE_WORDS)?;
        words.extend(bytes.as_chunks().0.iter().map(|&word| u64::from_le_bytes(word)));
        if words.iter().map(|word| word.count_ones()).sum::<u32>() != len {
            return Err(Unreadable::Broken("a page of a Roaring bitmap holds another number of values than it says"));
        }
        return Ok(Container::Many(words.into_boxed_slice(), len));
    }
    let bytes = rest.take(2 * len as usize)?;
    let mut list = Vec::new();
    list.try_reserve_exact(len as usize)?;
    list.extend(bytes.as_chunks().0.iter().map(|&low| u16::from_le_bytes(low)));
    if !list.is_sorted_by(|one, next| one < next) {
        return Err(Unreadable::Broken("the values of a page of a Roaring bitmap do not ascend"));
    }
    Ok(Container::Few(list))
}

fn read_runs(rest: &mut Reader<'_>, len: u32) -> Result<Container, Unreadable> {
    let count = usize::from(u16::from_le_bytes(rest.array()?));
    let bytes = rest.take(4 * count)?;
    let runs = || {
        bytes.as_chunks::<4>().0.iter().map(|&[start_low, start_high, more_low, more_high]| {
            let start = u32::from(u16::from_le_bytes([start_low, start_high]));
            (start, start + u32::from(u16::from_le_bytes([more_low, more_high])) + 1)
        })
    };
    // The end is one too far, so neighbouring runs that touch are allowed, as the specification does.
    let (mut at, mut sum) = (0, 0);
    for (start, end) in runs() {
        if start < at || end > 1 << 16 {
            return Err(Unreadable::Broken("the runs of a page of a Roaring bitmap overlap"));
        }
        at = end;
        sum += end - start;
    }
    if sum != len {
        return Err(Unreadable::Broken("a page of a Roaring bitmap holds another number of values than it says"));
    }
    if len as usize <= FEW {
        let mut list = Vec::new();
        list.try_reserve_exact(len as usize)?;
        list.extend(runs().flat_map(|(start, end)| (start..end).map(|low| low as u16)));
        return Ok(Container::Few(list));
    }
    let mut words = zeroed(PAGE_WORDS)?;
    for (start, end) in runs() {
        for index in start / 64..end.div_ceil(64) {
            words[index as usize] |= window(u64::from(index) * 64, &(start.into()..end.into()));
        }
    }
    Ok(Container::Many(words, len))
}

/// Bytes that are read from the front.
pub struct Reader<'a> {
    pub bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Unreadable::Broken("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// The same, for as many bytes as the caller wants.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(Unreadable::Broken("it ends too early"))?;
        self.bytes = rest;
        Ok(*taken)
    }

    /// The next number of 32 bits.
    pub fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next number of 64 bits.
    pub fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_le_bytes)
    }

    /// Whether there is nothing more.
    pub fn ended(&self) -> Result<(), Unreadable> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Unreadable::Broken("something follows its end")) }
    }
}

fn append(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Unreadable> {
    out.try_reserve(bytes.len())?;
    out.extend_from_slice(bytes);
    Ok(())
}
